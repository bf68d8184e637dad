// Refused: what the contract rejected and what Amazon refused, why, and what to do.
import { chart, SERIES } from "../charts.js";
import { card, details, empty, h, kpi, kpis, note, table } from "../dom.js";
import { number, stamps, time } from "../format.js";
import { download, get, go, link } from "../main.js";

export const TITLE = "Refused";

export async function show(query) {
  const [seen, { runs }] = await Promise.all([get("data/refused", { name: query.get("run") || "" }), get("data/runs", { limit: 40 })]);
  const rows = (lines) => lines.reduce((sum, line) => sum + line.rows, 0);
  const [rejected, refused] = [rows(seen.rejected), rows(seen.refused)];
  return {
    live: false,
    content: [
      h("div", { class: "headline" }, h("div", {}, h("p", { class: "eyebrow" }, "Rejected and refused"), h("h2", { class: "state" }, `${number(rejected + refused)} findings in the run of `, time(seen.started_at))), picker(seen, runs)),
      kpis(kpi("Rejected by the contract", number(rejected), "a row may break several rules", rejected ? "warn" : ""), kpi("Refused by Amazon", number(refused), "", refused ? "bad" : "")),
      rejected + refused ? h("p", {}, h("a", { href: download("download/refused.csv", { name: seen.run_id }), download: "", class: "button" }, "Download all as CSV")) : null,
      trend(seen.trend),
      kind("Rejected by the contract", "Never sent: the row breaks a rule.", seen, seen.rejected, true),
      kind("Refused by Amazon", "Sent, and Amazon's report says no.", seen, seen.refused, false),
    ],
  };
}

function picker(seen, runs) {
  const choice = h("select", { id: "run", onchange: (event) => go("refused", { run: event.target.value }) },
    runs.filter((one) => one.state || one.run_id === seen.run_id).map((one) => h("option", { value: one.run_id, selected: one.run_id === seen.run_id }, `${new Date(one.started_at * 1000).toLocaleString()}${one.dry_run ? " (dry run)" : ""}`)));
  return h("p", { class: "actions" }, h("label", { for: "run" }, "Run "), choice, link("Its books", "tonight", { run: seen.run_id }));
}

function trend(nights) {
  if (nights.length < 2) return null;
  const totals = {};
  for (const night of nights) for (const [code, rows] of [...Object.entries(night.rejected), ...Object.entries(night.refused)]) totals[code] = (totals[code] || 0) + rows;
  const codes = Object.keys(totals).sort((one, other) => totals[other] - totals[one]);
  if (!codes.length) return null;
  const shown = codes.slice(0, SERIES.length - 1);
  const rest = codes.slice(SERIES.length - 1);
  const of = (night, code) => (night.rejected[code] || 0) + (night.refused[code] || 0);
  const sets = shown.map((code, index) => ({ label: code, tone: SERIES[index], data: nights.map((night) => of(night, code)), stack: "codes" }));
  if (rest.length) sets.push({ label: `${rest.length} more`, tone: SERIES.at(-1), data: nights.map((night) => rest.reduce((sum, code) => sum + of(night, code), 0)), stack: "codes" });
  return card("Over the nights", chart("Findings by code, night by night", stamps(nights.map((night) => night.started_at)), sets, { stacked: true, onpick: (index) => go("refused", { run: nights[index].run_id }) }));
}

function kind(title, text, seen, lines, contract) {
  if (!lines.length) return card(title, empty("None in this run", text));
  return card(title, h("p", { class: "muted" }, text), h("div", { class: "findings" }, lines.map((line) => finding(seen, line, contract))));
}

function finding(seen, line, contract) {
  const samples = [
    { title: "Store", of: (one) => one.store_id || "–", head: true },
    { title: "SKU", of: (one) => (one.item_sku ? link(one.item_sku, "sku", { sku: one.item_sku, store: one.store_id }) : "–"), class: "key" },
    { title: "Value", of: (one) => h("code", {}, one.value || "–"), hide: !contract, class: "long" },
    { title: "Message", of: (one) => one.message, class: "long" },
    { title: "Source", of: (one) => (one.source ? `${one.source}, row ${number(one.source_row)}` : "–"), hide: !contract, class: "long" },
    { title: "Ingestion", of: (one) => h("code", {}, one.ingestion_id), hide: contract, class: "long" },
  ];
  return h("article", { class: "finding" },
    h("header", {}, h("h3", {}, h("code", {}, line.code || "no code"), line.field ? h("span", { class: "muted" }, ` in ${line.field}`) : null), h("span", { class: "count" }, number(line.rows))),
    line.advice ? note("info", "What to do", h("p", {}, line.advice)) : null,
    details(`Samples of ${line.code || "no code"}${line.field ? `, ${line.field}` : ""}`, table(`Samples of ${line.code}`, samples, line.samples)),
    line.code ? h("p", {}, h("a", { href: download("download/refused.csv", { name: seen.run_id, code: line.code }), download: "" }, `All rows with ${line.code} (CSV)`)) : null);
}
