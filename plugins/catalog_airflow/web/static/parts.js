// What several views show alike.
import { badge, h } from "./dom.js";
import { number, title, words } from "./format.js";
import { link } from "./main.js";
import { airflow, elsewhere } from "./theme.js";

const STATES = { complete: ["Complete", "ok"], incomplete: ["Incomplete", "warn"], unbalanced: ["Does not balance", "bad"] };
// A run without books is taken for dead after this many seconds (the DAG's own time limit is 20 hours).
const LONGEST = 20 * 3600;

export function stateOf(record, now) {
  if (record.state) return STATES[record.state] || [title(record.state), "plain"];
  return now - record.started_at > LONGEST ? ["Ended without books", "bad"] : ["Running", "info"];
}

export const stateBadge = (record, now) => badge(...stateOf(record, now));

export function kindOf(record) {
  const names = { night: "Night", backfill: "Backfill", rollback: "Rollback", command: "Command line" };
  return `${record.release ? "Release" : names[record.kind] || title(record.kind)}${record.dry_run ? ", dry run" : ""}`;
}

// The run in Airflow: ``origin`` is <DAG>/<run id>.
export function inAirflow(origin, text = "Open in Airflow") {
  const cut = (origin || "").indexOf("/");
  if (cut < 1) return null;
  return airflow(`/dags/${encodeURIComponent(origin.slice(0, cut))}/runs/${encodeURIComponent(origin.slice(cut + 1))}`, text);
}

export const dagLink = (dag, text = dag) => airflow(`/dags/${encodeURIComponent(dag)}`, text);

// A runbook: where the deployment publishes them, else here.
export const runbook = (address, page, text) => (/^https?:/.test(address) ? elsewhere(address, text) : link(text, "runbook", { page }));

export function columns(names) {
  return names.map((name) => ({ title: title(name), number: true, of: (row) => number(row[name] ?? 0) }));
}

export const store = (id) => (id === "" ? "no store" : id);

export { words };
