// Runs: how the nights went.
import { chart, TONES } from "../charts.js";
import { card, empty, h, longTable } from "../dom.js";
import { duration, number, stamps, time } from "../format.js";
import { download, get, go, link } from "../main.js";
import { inAirflow, kindOf, stateBadge } from "../parts.js";

export const TITLE = "Runs";

const SHOWN = 60;

export async function show(query) {
  const { runs, now, more } = await get("data/runs");
  if (!runs.length) return { live: false, content: [empty("No run has begun yet", "Start nightly_catalog_sync, or wait for the night.")] };
  const kind = query.get("kind") || "";
  const mine = runs.filter((one) => !kind || one.kind === kind || (kind === "bad" && one.state && one.state !== "complete"));
  return { live: runs.some((one) => !one.state && now - one.started_at < 72000), content: [pictures(runs), list(mine, kind, now, more)] };
}

function pictures(runs) {
  const last = runs.filter((one) => one.state && !one.dry_run).slice(0, SHOWN).reverse();
  if (last.length < 2) return null;
  const labels = stamps(last.map((one) => one.started_at));
  const pick = (index) => go("tonight", { run: last[index].run_id });
  const rows = (name) => ({ label: name, tone: TONES[name], data: last.map((one) => one.total?.[name] || 0), stack: "rows" });
  return h("div", { class: "pair" },
    card("Rows", chart("What became of the rows that were not unchanged, run by run", labels, ["acknowledged", "rejected", "refused", "held", "failed", "unknown"].map(rows).filter((set) => set.data.some(Boolean)), { stacked: true, onpick: pick })),
    card("Duration", chart("How long each run took, in minutes", labels, [{ label: "minutes", tone: "--s1", data: last.map((one) => Math.round((one.ended_at - one.started_at) / 6) / 10) }], { onpick: pick, parts: true })));
}

function list(runs, kind, now, more) {
  const choice = h("select", { id: "kind", onchange: (event) => go("runs", { kind: event.target.value }) },
    [["", "All runs"], ["night", "Nights"], ["backfill", "Backfills and releases"], ["command", "Command line"], ["bad", "Not complete"]].map(([value, text]) => h("option", { value, selected: value === kind }, text)));
  const count = (name, text = name) => ({ title: text, number: true, of: (one) => number(one.total?.[name] || 0) });
  return card("Runs", h("p", {}, h("label", { for: "kind" }, "Show "), choice),
    longTable("Runs, the newest first", [
      { title: "Began", of: (one) => time(one.started_at), head: true },
      { title: "State", of: (one) => stateBadge(one, now) },
      { title: "Kind", of: kindOf },
      { title: "Took", number: true, of: (one) => (one.ended_at ? duration(one.ended_at - one.started_at) : "–") },
      count("read", "Read"), count("rejected", "Rejected"), count("held", "Held"), count("sent", "Sent"), count("acknowledged", "Acknowledged"), count("refused", "Refused"),
      { title: "Archived", number: true, of: (one) => number(one.archives?.archived || 0), hide: !runs.some((one) => one.archives?.archived) },
      { title: "What was missing", of: (one) => [...(one.problems || []), ...(one.alarms || [])].join(" · "), class: "long" },
      { title: "Look at", of: links, class: "links" },
    ], runs, { empty: "No run of this kind." }),
    more ? h("p", { class: "muted" }, "Older runs stand in the lake: python -m catalog_sync runs --limit.") : null);
}

function links(one) {
  const run = { run: one.run_id };
  const name = { name: one.run_id };
  const found = [
    link("Books", "tonight", run),
    one.batches && link("Batches and reports", "tonight", { ...run, show: "uploads" }),
    (one.total?.refused || Object.keys(one.rejected || {}).length) && link("Refused", "refused", run),
    Object.keys(one.rejected || {}).length && h("a", { href: download("download/refused.csv", name), download: "" }, "Rejects (CSV)"),
    one.plan_number !== undefined && one.plan_number !== null && h("a", { href: download("download/plan.md", name), download: "" }, "Plan"),
    one.origin && inAirflow(one.origin, "Airflow"),
  ].filter(Boolean);
  return h("div", { class: "actions" }, found);
}
