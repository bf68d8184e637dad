// Tonight: did it work, for every store; and while it runs, how far it is.
import { chart } from "../charts.js";
import { badge, card, details, h, kpi, kpis, longTable, note, table } from "../dom.js";
import { ago, clock, counted, duration, number, percent, time, title, words } from "../format.js";
import { download, get, link } from "../main.js";
import { columns, inAirflow, kindOf, runbook, stateBadge, stateOf, store } from "../parts.js";

export const TITLE = "Tonight";

const COLUMNS = ["read", "out_of_scope", "merged_away", "collapsed", "rejected", "unchanged", "suspended", "in_doubt", "held", "planned", "sent", "unsent", "acknowledged", "refused", "failed", "unknown"];
const ARCHIVES = ["due", "suspended", "in_doubt", "held", "planned", "asked", "unsent", "archived", "refused", "failed", "unknown"];
const ARCHIVE_TONES = { archived: "ok", refused: "bad", held: "held", unsent: "warn", failed: "warn", unknown: "warn" };
const NAMED = { acknowledged: "settled", reported: "reported, not settled" };
// Hours after which a night is missing.
const MISSING = 26;

export async function show(query) {
  const asked = { name: query.get("run") || "", dag: query.get("dag") || "", dag_run: query.get("dag_run") || "" };
  const newest = !asked.name && !asked.dag_run;
  const [told, seen] = await Promise.all([newest ? get("data/alerts") : null, get("data/run", asked).catch(missing)]);
  const alarms = told ? alerts(told) : null;
  if (seen.missing) return { live: false, content: [alarms, note("info", "Nothing to show yet", h("p", {}, seen.missing))] };
  return {
    live: seen.live && stateOf(seen.record, seen.now)[0] === "Running",
    content: [alarms, head(seen, newest), ...warnings(seen, newest), figures(seen), progress(seen), pictures(seen), archives(seen), stores(seen), more(seen, query.get("show") === "uploads")],
  };
}

// Alerts are shown before the first run, too.
function missing(error) {
  if (error.status !== 404) throw error;
  return { missing: error.message };
}

function alerts({ open, recent, silences, now }) {
  const over = recent.length ? details(`${counted(recent.length, "alert")} over in the last 7 days`, table("Alerts that are over", OVER, recent)) : null;
  const silent = silences.map((one) => h("p", { class: "muted" }, `Silent until `, time(one.until), `: ${one.name}, by ${one.by}${one.reason ? ` (${one.reason})` : ""}`));
  if (!open.length) return h("section", { class: "alerts quiet-alerts" }, h("p", {}, badge("No alert is open", "ok")), silent, over);
  return h("section", { class: "alerts", "aria-label": "Open alerts" }, open.map((one) => alert(one, now)), silent, over);
}

function alert(one, now) {
  const [tone, name] = one.severity === "critical" ? ["bad", "Critical"] : ["warn", "Warning"];
  return note(tone, `${name}: ${one.title}${one.subject ? ` (${one.subject})` : ""}`,
    h("p", {}, one.what),
    h("p", {}, "Since ", time(one.since), ` (${ago(one.since, now)})`, one.silent ? ", silent" : "", " · ", runbook(one.runbook, one.page, "What to do"), " · ", h("code", {}, one.name)));
}

const OVER = [
  { title: "Alert", of: (one) => `${one.title}${one.subject ? ` (${one.subject})` : ""}`, head: true },
  { title: "Since", of: (one) => time(one.since) },
  { title: "Until", of: (one) => time(one.recovered_at) },
  { title: "What", of: (one) => one.what, class: "long" },
];

function head({ record, now, live, total, stores: lines, archives: skus }, newest) {
  const began = ["Began ", time(record.started_at), ` (${ago(record.started_at, now)})`];
  const ended = record.ended_at ? [`, took ${duration(record.ended_at - record.started_at)}`] : [`, ${duration(now - record.started_at)} so far`];
  return h("div", { class: "headline" },
    h("div", {}, h("p", { class: "eyebrow" }, newest ? "The newest night" : kindOf(record)),
      h("h2", { class: "state" }, stateBadge(record, now), " ", sentence(total, live, Object.keys(lines).length, skus)),
      h("p", { class: "muted" }, began, ended, record.by ? ` · started by ${record.by}` : "", record.reason ? ` · “${record.reason}”` : "")),
    h("p", { class: "actions" }, inAirflow(record.origin), h("code", { class: "muted" }, record.run_id)));
}

function sentence(total, live, stores, skus) {
  if (!total.read) return live ? "reading the sources" : "nothing was read";
  const parts = [`${number(total.read)} rows of ${counted(stores, "store")} read`];
  if (total.acknowledged) parts.push(`${number(total.acknowledged)} acknowledged`);
  else if (total.planned) parts.push(`${number(total.planned)} to send`);
  else if (!skus.planned) parts.push("nothing to send");
  if (skus.archived) parts.push(`${counted(skus.archived, "SKU")} archived`);
  else if (skus.planned) parts.push(`${counted(skus.planned, "SKU")} to archive`);
  return parts.join(", ");
}

function warnings({ problems, alarms, waits, guards, held, record, now, schedule }, newest) {
  const found = [];
  if (newest && record.state && now - record.started_at > MISSING * 3600) {
    found.push(note("bad", `No run has begun for ${duration(now - record.started_at)}`, h("p", {}, `The schedule says ${schedule.at}, ${schedule.timezone}. Look whether the DAG is paused and the scheduler is healthy.`)));
  }
  if (waits.length) found.push(note("warn", "Sending waits", list(waits)));
  if (problems.length) found.push(note(record.state === "unbalanced" ? "bad" : "warn", "What is missing", list(problems)));
  if (alarms.length) found.push(note("warn", "Alarms", list(alarms)));
  if (guards.length) {
    found.push(note("held", held.rows ? `${counted(held.rows, "row")} held` : "Guards tripped", list(guards.map((one) => `${one.code}: ${one.message}`)),
      held.rows ? h("p", {}, link("Look at what is held", "stuck")) : null));
  }
  return found;
}

const list = (texts) => h("ul", {}, texts.map((text) => h("li", {}, text)));

function figures({ total, pace, rate }) {
  const { took } = pace;
  const get = (name) => total[name] || 0;
  return kpis(
    kpi("Read", number(get("read"))),
    kpi("Unchanged", number(get("unchanged")), percent(get("unchanged"), get("read"))),
    kpi("To send", number(get("planned")), counted(Object.values(pace.batches).reduce((sum, one) => sum + one, 0), "batch", "batches")),
    kpi("Acknowledged", number(get("acknowledged")), percent(get("acknowledged"), get("planned")), get("acknowledged") ? "ok" : ""),
    kpi("Refused", number(get("refused")), "by Amazon", get("refused") ? "bad" : ""),
    kpi("Rejected", number(get("rejected")), "by the contract", get("rejected") ? "warn" : ""),
    kpi("Held", number(get("held")), "by guards", get("held") ? "held" : ""),
    kpi("Missing", number(get("unsent") + get("failed") + get("unknown")), "unsent, failed, unknown", get("unsent") + get("failed") + get("unknown") ? "warn" : ""),
    kpi("Amazon took", took.p50 === null ? "–" : duration(took.p50), took.p95 === null ? "no result yet" : `median; 95\u00a0% within ${duration(took.p95)}`),
    kpi("Requests", number(pace.requests), `busiest second ${number(pace.busiest)} of ${number(rate)}; ${counted(pace.polls, "status call")}`));
}

function progress({ pace, live }) {
  const whole = Object.values(pace.batches).reduce((sum, one) => sum + one, 0);
  if (!whole) return null;
  const shown = Object.entries(pace.batches).filter(([, batches]) => batches);
  const name = (phase) => NAMED[phase] || words(phase);
  const told = shown.map(([phase, batches]) => `${number(batches)} ${name(phase)}`).join(", ");
  return card("Batches",
    h("div", { class: "bar", role: "img", "aria-label": `Of ${counted(whole, "batch", "batches")}: ${told}` },
      shown.map(([phase, batches]) => segment(phase, batches / whole))),
    h("ul", { class: "legend" }, shown.map(([phase, batches]) => h("li", {}, h("span", { class: `dot phase-${phase}` }), `${name(phase)} ${number(batches)}`))),
    h("p", { class: "muted" }, live ? `${number(pace.items_done)} of ${counted(pace.items, "item")} are through (${percent(pace.items_done, pace.items)}).` : `${counted(pace.items, "item")} in ${counted(whole, "batch", "batches")}.`));
}

// The policy forbids style attributes in markup; a property that is set here is none.
function segment(phase, share) {
  const part = h("span", { class: `phase-${phase}`, title: title(phase) });
  part.style.flexGrow = String(share);
  return part;
}

function pictures({ pace, rate }) {
  if (!pace.requests) return null;
  const edges = pace.took.edges;
  const labels = [...edges.map((edge) => `≤ ${duration(edge)}`), `> ${duration(edges.at(-1))}`];
  const last = pace.took.bars.reduce((found, rows, index) => (rows ? index : found), 0);
  const times = filled(pace.minutes);
  const took = pace.took.p50 === null ? null : chart("How long Amazon took, from sending to its end, in batches", labels.slice(0, last + 1),
    [{ label: "batches", tone: "--ok", data: pace.took.bars.slice(0, last + 1) }]);
  return h("div", { class: "pair" },
    card("Requests against the limit", chart("Requests a second that send, on average and in the busiest second; status calls come besides", times.map((one) => clock(one.at)), [
      { label: "on average", tone: "--s1", data: times.map((one) => Math.round((100 * one.uploads) / one.seconds) / 100) },
      { label: "busiest second", tone: "--s2", data: times.map((one) => one.busiest), type: "line" },
    ], { limit: { label: `limit ${number(rate)}`, value: rate }, y: "requests a second" })),
    took ? card("Time to acknowledged", took) : null);
}

// Minutes without a request are minutes, too; of a long night every few minutes are one bar.
function filled(minutes) {
  const [first, last] = [minutes[0][0], minutes.at(-1)[0]];
  const step = Math.max(1, Math.ceil((last - first) / 60 / 120)) * 60;
  const bars = [];
  for (let at = first; at <= last; at += step) bars.push({ at, seconds: step, uploads: 0, busiest: 0 });
  for (const [minute, uploads, busiest] of minutes) {
    const bar = bars[Math.floor((minute - first) / step)];
    bar.uploads += uploads;
    bar.busiest = Math.max(bar.busiest, busiest);
  }
  return bars;
}

// SKUs, not rows: Amazon archives in every store or in none.
function archives({ archives: line, leaving }) {
  const waiting = Object.entries(leaving.waiting || {});
  if (!line.due && !waiting.length) return null;
  const runs = waiting.map(([missed, skus]) => `${counted(skus, "SKU")} absent from ${counted(Number(missed), "run")}`).join(", ");
  return card("Archives, in SKUs",
    line.due ? kpis(ARCHIVES.filter((column) => line[column]).map((column) => kpi(title(column), number(line[column]), "", ARCHIVE_TONES[column] || ""))) : null,
    waiting.length ? h("p", {}, `Waiting to be archived, which takes ${counted(leaving.after, "complete run")} without them: ${runs}.`) : null,
    leaving.why_not ? h("p", { class: "muted" }, `This run does not count who is absent: ${leaving.why_not}.`) : null);
}

function verdict(line) {
  if (line.failed || line.unsent) return badge("Not all sent", "bad");
  if (line.unknown || line.in_doubt) return badge("Results missing", "warn");
  if (line.held) return badge("Rows held", "held");
  if (line.refused) return badge("Some refused", "warn");
  if (line.rejected) return badge("Some rejected", "warn");
  return badge("In step", "ok");
}

const WEIGHT = ["failed", "unsent", "unknown", "in_doubt", "held", "refused", "rejected"];
const weight = (line) => { const at = WEIGHT.findIndex((name) => line[name]); return at < 0 ? WEIGHT.length : at; };

function stores({ stores: lines, total, live }) {
  const rows = Object.entries(lines).map(([id, line]) => ({ id, ...line })).sort((one, other) => weight(one) - weight(other) || one.id.localeCompare(other.id));
  const shown = COLUMNS.filter((column) => column === "read" || total[column]);
  const heads = [
    { title: "Store", of: (row) => (row.id === "–" ? "not told" : store(row.id)), head: true },
    { title: "State", of: (row) => (row.all ? "" : live ? badge("Under way", "info") : verdict(row)) },
    ...columns(shown),
  ];
  return card(`Books of ${counted(rows.length, "store")}`, longTable("The books by store", heads, rows, { foot: { id: "All", all: true, ...total }, empty: "No store has been read yet." }, 100));
}

function more(seen, unfolded) {
  const { record, files, remarks } = seen;
  const name = { name: record.run_id };
  const items = [
    files.plan && h("a", { href: download("download/plan.md", name), download: "" }, "The plan (Markdown)"),
    files.changes && h("a", { href: download("download/changes.csv", name), download: "" }, "Every change (CSV)"),
    (files.rejects || seen.total.refused) && h("a", { href: download("download/refused.csv", name), download: "" }, "Rejected and refused rows (CSV)"),
    files.leaving && h("a", { href: download("download/leaving.csv", name), download: "" }, "SKUs that leave (CSV)"),
    files.tasks && h("a", { href: download("download/tasks.csv", name), download: "" }, "What stores must do before an archive (CSV)"),
    (files.rejects || seen.total.refused) && link("Rejected and refused, by code", "refused", { run: record.run_id }),
  ].filter(Boolean);
  const box = h("div", {});
  const batches = details("Uploads and reports, one by one", box);
  batches.addEventListener("toggle", () => batches.open && !box.childElementCount && uploads(box, record.run_id));
  if (unfolded) {
    batches.open = true;
    requestAnimationFrame(() => batches.scrollIntoView({ block: "nearest" }));
  }
  return card("More", remarks.length ? list(remarks) : null, items.length ? h("ul", { class: "links" }, items.map((item) => h("li", {}, item))) : null,
    seen.pace.requests ? batches : null);
}

async function uploads(box, run) {
  box.replaceChildren(h("p", { class: "muted" }, "Reading …"));
  try {
    const { all, attempts } = await get("data/batches", { name: run });
    box.replaceChildren(
      longTable("Uploads of this run", ATTEMPTS, attempts),
      all > attempts.length ? h("p", { class: "muted" }, `The first ${number(attempts.length)} of ${number(all)}.`) : "");
  } catch (error) {
    box.replaceChildren(h("p", {}, error.message));
  }
}

export const ATTEMPTS = [
  { title: "Batch", of: (one) => `${one.batch}${one.attempt > 1 ? ` (try ${one.attempt})` : ""}`, head: true },
  { title: "State", of: (one) => badge(title(one.state.toLowerCase()), one.state === "DONE" ? "ok" : ["FATAL", "CANCELLED", "FAILED", "REFUSED"].includes(one.state) ? "bad" : ["UNKNOWN", "REJECTED"].includes(one.state) ? "warn" : "info") },
  { title: "Rows", number: true, of: (one) => number(one.rows) },
  { title: "Sent", of: (one) => time(one.sent_at) },
  { title: "Took", number: true, of: (one) => (one.ended_at ? duration(one.ended_at - one.sent_at) : "–") },
  { title: "Ingestion", of: (one) => h("code", {}, one.ingestion_id || "–"), class: "long" },
  { title: "Report", of: (one) => (one.report ? h("a", { href: download("download/report.json", { ingestion_id: one.ingestion_id }), download: "" }, "JSON") : "–") },
  { title: "Amazon said", of: (one) => one.said, class: "long" },
];
