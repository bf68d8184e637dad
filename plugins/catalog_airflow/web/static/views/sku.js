// SKU: why is this item, or is it not, at Amazon?
import { badge, card, details, empty, h, longTable, note, table } from "../dom.js";
import { counted, duration, number, time, title, words } from "../format.js";
import { download, get, go, link } from "../main.js";
import { inAirflow, store } from "../parts.js";

export const TITLE = "SKU";

const TONES = { in_step: "ok", due: "info", sent: "info", under_way: "info", in_doubt: "info", held: "held", archived: "plain", absent: "plain", left: "warn", leaving: "info", archive_refused: "bad", suspended: "warn", rejected: "warn", refused: "bad", overdue: "bad", failed: "bad", unknown: "warn", unsent: "bad" };

export async function show(query) {
  const asked = { sku: (query.get("sku") || "").trim(), store: (query.get("store") || "").trim() };
  if (!asked.sku) return { live: false, content: [form(asked), empty("Why is an item not in a store?", "Type its SKU, and the store if it is about one.")] };
  const story = await get("data/why", asked);
  return { live: false, content: [form(asked), ...answer(story)] };
}

function form(asked) {
  const field = (name, label, hint, value) => h("p", {}, h("label", { for: name }, label), h("input", { id: name, name, value, maxlength: "255", autocomplete: "off", spellcheck: "false", placeholder: hint }));
  const submit = (event) => {
    event.preventDefault();
    const data = new FormData(event.target);
    go("sku", { sku: data.get("sku").trim(), store: data.get("store").trim() });
  };
  return h("form", { class: "ask", role: "search", onsubmit: submit }, field("sku", "SKU", "e.g. SKU-1001", asked.sku), field("store", "Store (or leave empty)", "all stores", asked.store), h("button", { type: "submit" }, "Why?"));
}

function answer(story) {
  const run = story.run ? h("p", { class: "muted" }, story.stores.length ? "The last run that read it began " : "The last run that read the sources began ", time(story.run.started_at), ` and is ${story.run.state}. `, link("Its books", "tonight", { run: story.run.run_id }), story.run.origin ? [" · ", inAirflow(story.run.origin)] : "") : null;
  if (!story.stores.length) {
    return [note("warn", `Nothing is known of ${story.sku} in any store`, h("p", {}, "Look at the spelling. If the source has it, name the store, too: rows that were never sent are found by their store.")), run, events(story)];
  }
  return [h("h2", {}, story.sku, story.asked_store ? ` in ${story.asked_store}` : ""), run, absence(story.absent), ...alike(story.stores).map((mine) => (mine[0].steps ? place(mine[0]) : places(story, mine))), events(story)];
}

function absence(absent) {
  if (!absent) return null;
  const { runs_missed: missed, after, left } = absent;
  return note("info", "No source has it, in any store",
    h("p", {}, "Since ", time(absent.since), " (", link("the first run that missed it", "tonight", { run: absent.first_run }), `): ${counted(missed, "complete run")} without it; `,
      left ? `it is archived after ${number(after)}.` : `${number(after)} were enough, so it is due to be archived.`));
}

// Stores of which the same is said stand together.
function alike(stores) {
  const groups = new Map();
  for (const one of stores) {
    const key = JSON.stringify([one.verdict, one.codes, one.said, one.advice]);
    groups.set(key, [...(groups.get(key) || []), one]);
  }
  return [...groups.values()];
}

const verdict = (one) => badge(one.title, TONES[one.verdict] || "plain");
const said = (one) => [
  one.codes.length ? h("p", {}, one.codes.map((code) => [h("code", {}, code), " "])) : null,
  one.said ? h("blockquote", {}, one.said) : null,
  h("p", {}, h("strong", {}, `Who acts: ${one.who}. `), one.advice),
];

function place(one) {
  return h("section", { class: "card story" }, h("header", {}, h("h3", {}, store(one.store_id)), verdict(one)), said(one), way(one));
}

function places(story, mine) {
  // Where a run about some stores came since, others are told of by an earlier one.
  const elder = mine.some((one) => one.run_id && one.run_id !== story.run?.run_id);
  return h("section", { class: "card story" },
    h("header", {}, h("h3", {}, counted(mine.length, "store")), verdict(mine[0])), said(mine[0]),
    longTable(`${mine[0].title}: stores`, [
      { title: "Store", of: (one) => link(store(one.store_id), "sku", { sku: story.sku, store: one.store_id }), head: true },
      { title: "Name at Amazon", of: (one) => one.acknowledged?.item_name || "–", class: "long" },
      { title: "Barcode", of: (one) => (one.acknowledged ? `${one.acknowledged.external_product_id} (${one.acknowledged.external_product_id_type})` : "–") },
      { title: "Price", number: true, of: (one) => one.acknowledged?.standard_price || "–" },
      { title: "State", of: (one) => (one.acknowledged ? title(one.acknowledged.state.toLowerCase()) : "–") },
      { title: "Acknowledged", of: (one) => time(one.acknowledged?.acknowledged_at) },
      { title: "And", of: notes, class: "long" },
      ...(elder ? [{ title: "Run", of: (one) => (one.run_id ? link(one.run_id, "tonight", { run: one.run_id }) : "–"), class: "long" }] : []),
    ], mine));
}

function way(one) {
  const { steps } = one;
  const items = [
    step("Source", steps.source.length ? "" : "no source has it in this run", steps.source.map((row) => fields(row))),
    step("Contract", steps.rejects.length ? "rejected" : steps.repairs.length ? "repaired" : steps.source.length ? "passed" : "–", [...lines("Rejected", steps.rejects), ...repairs(steps.repairs), ...lines("Warned", steps.warnings)]),
    step("Compared with Amazon", steps.candidate.action ? words(steps.candidate.action) : steps.source.length && !steps.rejects.length ? "unchanged, or not due" : "–", steps.candidate.hold ? [h("p", {}, "Held: ", h("code", {}, steps.candidate.hold))] : []),
    step("Plan", steps.batch ? `${steps.batch.archive ? "archive, " : ""}batch ${number(steps.batch.number)}, position ${number(steps.batch.position)}` : "not in a batch", []),
    step("Requests", steps.attempts.length ? "" : "none", steps.attempts.map(request)),
    step("Amazon has", one.acknowledged ? words(one.acknowledged.state.toLowerCase()) : "nothing that it acknowledged to us", [now(one)]),
  ];
  return h("ol", { class: "way" }, items);
}

const step = (name, text, content) => h("li", {}, h("h4", {}, name, text ? h("span", { class: "muted" }, ` ${text}`) : null), content);

function fields(row) {
  const { source, source_row: number_, ...rest } = row;
  return h("div", {}, h("p", { class: "muted" }, `${source}, row ${number(number_)}`), pairs(Object.entries(rest)));
}

const pairs = (entries) => h("dl", { class: "pairs" }, entries.map(([name, value]) => h("div", {}, h("dt", {}, title(name)), h("dd", {}, value ?? "–"))));

const lines = (what, found) => found.map((line) => h("p", {}, `${what} `, h("code", {}, line.code), line.field ? ` in ${line.field}` : "", line.value ? [" = ", h("code", {}, line.value)] : "", `: ${line.message}`));
const repairs = (found) => found.map((line) => h("p", {}, "Repaired ", h("code", {}, line.code), ` in ${line.field}: `, h("code", {}, line.before), " became ", h("code", {}, line.after)));

function request(one) {
  return h("div", { class: "request" },
    h("p", {}, badge(title(one.state.toLowerCase()), one.state === "DONE" ? "ok" : "info"), " sent ", time(one.sent_at), one.ended_at ? `, took ${duration(one.ended_at - one.sent_at)}` : ", no end yet", one.outcome ? [". The item: ", h("strong", {}, one.outcome), one.code ? [" ", h("code", {}, one.code)] : ""] : ""),
    one.message ? h("blockquote", {}, one.message) : one.said ? h("blockquote", {}, one.said) : null,
    h("p", { class: "muted" }, "Ingestion ", h("code", {}, one.ingestion_id || "–"), one.report ? [" · ", h("a", { href: download("download/report.json", { ingestion_id: one.ingestion_id }), download: "" }, "Amazon's report")] : ""));
}

function now(one) {
  const row = one.acknowledged;
  return h("div", {},
    row ? pairs([["name", row.item_name], ["barcode", `${row.external_product_id} (${row.external_product_id_type})`], ["price", row.standard_price || "–"], ["state", title(row.state.toLowerCase())], ["acknowledged", time(row.acknowledged_at)], ["ingestion", h("code", {}, row.ingestion_id)]]) : null,
    notes(one));
}

function notes(one) {
  return [
    one.acknowledged?.dirty_until ? h("p", {}, "Something about it is unproven: the next run sends it again.") : null,
    one.held ? h("p", {}, "Held since ", time(one.held.first_held_at), " for ", h("code", {}, one.held.code), ".") : null,
    one.refusals.map((refusal) => h("p", {}, `Refused ${refusal.ingestion_ids.length} × with one content, last `, time(refusal.last_seen), ": ", h("code", {}, refusal.code), ` ${refusal.message}`)),
  ];
}

function events(story) {
  if (!story.events.length) return null;
  return card("What happened", h("p", { class: "muted" }, "Events of the last 30 runs; a run that found it unchanged leaves none."),
    longTable("Events of this SKU", [
      { title: "When", of: (one) => time(one.at), head: true },
      { title: "Store", of: (one) => store(one.store_id) },
      { title: "What", of: (one) => title(one.what) },
      { title: "Code", of: (one) => h("code", {}, one.code || "–") },
      { title: "Message", of: (one) => one.message, class: "long" },
      { title: "Run", of: (one) => link(one.run_id, "tonight", { run: one.run_id }), class: "long" },
    ], story.events, {}, 20));
}
