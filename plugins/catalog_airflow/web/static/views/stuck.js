// Stuck and held: what waits, for whom, since when.
import { chart, SERIES } from "../charts.js";
import { badge, card, details, empty, h, kpi, kpis, longTable, note, table } from "../dom.js";
import { ago, counted, duration, number, time, title } from "../format.js";
import { get, link } from "../main.js";
import { dagLink } from "../parts.js";

export const TITLE = "Stuck and held";

export async function show() {
  const seen = await get("data/stuck");
  const held = seen.held.reduce((sum, one) => sum + one.rows, 0);
  const suspended = seen.suspended.reduce((sum, one) => sum + one.rows, 0);
  const dead = seen.dead_letters.waiting;
  return {
    live: seen.open > 0,
    content: [
      kpis(
        kpi("Uploads overdue", number(seen.overdue), `of ${number(seen.open)} open; expected within ${duration(seen.expect)}`, seen.overdue ? "bad" : "ok"),
        kpi("Rows held", number(held), "by guards", held ? "held" : "ok"),
        kpi("Rows suspended", number(suspended), "refused again and again", suspended ? "warn" : "ok"),
        kpi("Dead letters", dead === null ? "?" : number(dead), dead === null ? "the queue cannot be asked" : "in the dead-letter queue", dead ? "warn" : dead === null ? "" : "ok"),
        kpi("Circuit breaker", seen.breaker ? "Open" : "Closed", seen.breaker ? "nobody calls Amazon" : "requests go out", seen.breaker ? "bad" : "ok"),
        kpi("Notices", seen.unsubscribed_since ? "None" : "Subscribed", seen.unsubscribed_since ? "results come by polling" : "", seen.unsubscribed_since ? "bad" : "ok")),
      seen.breaker ? note("bad", "The circuit breaker is open", h("p", {}, `${title(seen.breaker)}. `, link("What to do", "runbook", { page: "breaker-open.md" }))) : null,
      seen.unsubscribed_since ? note("bad", "The queue is not subscribed", h("p", {}, "Since ", time(seen.unsubscribed_since), ". Results come by polling only. ", link("What to do", "runbook", { page: "unsubscribed.md" }))) : null,
      seen.sending ? note("info", "A run is sending", h("p", {}, link(seen.sending, "tonight", { run: seen.sending }))) : null,
      uploads(seen), heldRows(seen), suspendedRows(seen), letters(seen),
    ],
  };
}

function uploads(seen) {
  if (!seen.uploads.length) return card("Uploads that wait", empty("No upload waits", "Every upload of every run has its result."));
  return card("Uploads that wait",
    h("p", { class: "muted" }, `The status API is asked after ${duration(seen.poll_after)}; after ${duration(seen.give_up_after)} the rows count as unknown and are sent again by the next run.`),
    longTable("Uploads without a settled result, the oldest first", [
      { title: "Waits", of: (one) => badge(duration(one.waited), one.overdue ? "bad" : "info"), head: true },
      { title: "State", of: (one) => title(one.state.toLowerCase()) },
      { title: "Run", of: (one) => link(one.run_id, "tonight", { run: one.run_id }), class: "long" },
      { title: "Batch", number: true, of: (one) => number(one.batch) },
      { title: "Rows", number: true, of: (one) => number(one.rows) },
      { title: "Sent", of: (one) => time(one.sent_at) },
      { title: "Ingestion", of: (one) => h("code", {}, one.ingestion_id || "–"), class: "long" },
      { title: "Amazon said", of: (one) => one.said, class: "long" },
    ], seen.uploads),
    seen.open > seen.uploads.length ? h("p", { class: "muted" }, `The oldest ${number(seen.uploads.length)} of ${number(seen.open)}.`) : null);
}

const ofRun = (seen) => (seen.of_run ? h("p", { class: "muted" }, "As of the run of ", time(seen.of_run.started_at), ".") : null);
const sku = { title: "SKU", of: (one) => link(one.item_sku, "sku", { sku: one.item_sku, store: one.store_id }), class: "key" };
const place = { title: "Store", of: (one) => one.store_id, head: true };

function heldRows(seen) {
  if (!seen.held.length) return card("Held changes", empty("Nothing is held", "No guard tripped in the last run."));
  return card("Held changes", ofRun(seen),
    h("p", {}, "A person decides in ", dagLink("release_held_changes"), " (Required Actions). Or mend the source: the next night derives them again."),
    table("Held changes by guard", [
      { title: "Guard", of: (one) => h("code", {}, one.code), head: true },
      { title: "Action", of: (one) => title(one.action) },
      { title: "Rows", number: true, of: (one) => number(one.rows) },
      { title: "Stores", number: true, of: (one) => number(one.stores) },
      { title: "Oldest", of: (one) => [time(one.since), ` (${ago(one.since, seen.now)})`] },
    ], seen.held),
    ages(seen.held_ages),
    details("The longest held", longTable("The longest held rows", [place, sku, { title: "Action", of: (one) => title(one.action) }, { title: "Guard", of: (one) => h("code", {}, one.code) }, { title: "Held", of: (one) => [time(one.first_held_at), ` (${ago(one.first_held_at, seen.now)})`] }], seen.held_rows)));
}

const days = (number_) => `${number_} ${number_ === 1 ? "day" : "days"}`;

function ages({ edges, rows }) {
  const guards = Object.entries(rows);
  if (!guards.length) return null;
  const labels = [...edges.map((edge) => `up to ${days(edge)}`), `over ${days(edges.at(-1))}`];
  return chart("Held rows by how long they have been held, by guard", labels, guards.map(([code, counts], index) => ({ label: code, tone: SERIES[index % SERIES.length], data: counts, stack: "guards" })), { stacked: true, y: "rows" });
}

function suspendedRows(seen) {
  if (!seen.suspended.length) return card("Suspended rows", empty("Nothing is suspended", "No row rests because Amazon refused it."));
  return card("Suspended rows", ofRun(seen),
    h("p", {}, "Amazon refused them as they are. Mended in the source they are sent by the next run; ", dagLink("backfill_catalog"), " with ‘resend’ tries them as they are."),
    table("Suspended rows by Amazon's code", [
      { title: "Amazon's code", of: (one) => h("code", {}, one.code || "no code"), head: true },
      { title: "Rows", number: true, of: (one) => number(one.rows) },
      { title: "Stores", number: true, of: (one) => number(one.stores) },
      { title: "First refused", of: (one) => time(one.since) },
    ], seen.suspended),
    details("The longest suspended", longTable("The longest suspended rows", [place, sku, { title: "Code", of: (one) => h("code", {}, one.code) }, { title: "Times", number: true, of: (one) => number(one.times) }, { title: "Last refused", of: (one) => time(one.last_seen) }, { title: "Amazon said", of: (one) => one.message, class: "long" }], seen.suspended_rows)));
}

function letters(seen) {
  const { waiting, by_reason: reasons } = seen.dead_letters;
  const lines = Object.entries(reasons);
  if (!waiting && !lines.length) return card("Dead letters", empty("No dead letters", "Every message of the queue was understood."));
  return card("Dead letters",
    h("p", {}, waiting === null ? "The dead-letter queue cannot be asked; the API server's log says why." : `About ${counted(waiting, "message")} in the dead-letter queue. `, dagLink("redrive_dead_letters"), " shows them, as a dry run, and sends them back. ", link("What to do", "runbook", { page: "dead-letters.md" })),
    lines.length ? table("Dead letters of the last runs by reason", [{ title: "Reason", of: ([why]) => h("code", {}, why), head: true }, { title: "Messages", number: true, of: ([, count]) => number(count) }], lines) : null);
}
