// Charts, each with a sentence that says what it shows and a table of the same numbers for who would rather read.
import { details, h, table } from "./dom.js";
import { number } from "./format.js";
import { colour } from "./theme.js";

const drawn = new Set();

export const TONES = { acknowledged: "--ok", refused: "--bad", rejected: "--warn", held: "--held", failed: "--bad-strong", unknown: "--quiet" };
export const SERIES = ["--s1", "--s2", "--s3", "--s4", "--s5", "--s6", "--s7", "--s8"];

function look(chart) {
  const [fg, line] = [colour("--fg-muted"), colour("--grid")];
  for (const set of chart.data.datasets) {
    const shade = colour(set.tone);
    Object.assign(set, { backgroundColor: shade, borderColor: shade });
  }
  for (const axis of Object.values(chart.options.scales)) {
    axis.ticks.color = fg;
    axis.grid = { ...axis.grid, color: line };
    axis.title = { ...axis.title, color: fg };
  }
  chart.options.plugins.legend.labels.color = fg;
}

export function repaint() {
  for (const chart of drawn) {
    if (!chart.canvas?.isConnected) {
      chart.destroy();
      drawn.delete(chart);
      continue;
    }
    look(chart);
    chart.update("none");
  }
}

// datasets: [{label, tone: a colour variable, data, type}]; what: the sentence.
export function chart(what, labels, datasets, { stacked = false, unit = "", y = "", limit = null, onpick = null } = {}) {
  const canvas = h("canvas", { role: "img", "aria-label": what });
  const lines = limit ? [{ label: limit.label, tone: "--bad", data: labels.map(() => limit.value), type: "line", pointRadius: 0, borderDash: [6, 4], borderWidth: 1.5, stack: "limit" }] : [];
  const axis = (options) => ({ stacked, ticks: {}, grid: {}, title: {}, ...options });
  const settings = {
    type: "bar",
    data: { labels, datasets: [...datasets, ...lines].map((set) => ({ borderWidth: set.type === "line" ? 2 : 0, maxBarThickness: 36, tension: 0.25, pointRadius: 2, ...set })) },
    options: {
      animation: false,
      maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      scales: {
        x: axis({ grid: { display: false }, ticks: { maxRotation: 0, autoSkipPadding: 12 } }),
        y: axis({ beginAtZero: true, title: { display: Boolean(y), text: y }, ticks: { precision: 0, callback: (value) => number(value), maxTicksLimit: 6 } }),
      },
      plugins: {
        legend: { display: datasets.length + lines.length > 1, position: "bottom", labels: { boxWidth: 12, boxHeight: 12 } },
        tooltip: { callbacks: { label: (item) => ` ${item.dataset.label}: ${number(item.raw)}${unit}` } },
      },
      onClick: (event, hits) => hits.length && onpick?.(hits[0].index),
    },
  };
  const box = h("figure", { class: "chart" }, h("div", { class: "canvas" }, canvas), h("figcaption", { class: "muted" }, what),
    details("Show as a table", table(what, [
      { title: "", of: (row) => String(labels[row]), head: true },
      ...datasets.map((set) => ({ title: set.label, number: true, of: (row) => number(set.data[row]) })),
    ], labels.map((_, row) => row))));
  // A canvas has a size only once it stands in the page.
  requestAnimationFrame(() => {
    if (!canvas.isConnected) return;
    const made = new window.Chart(canvas, settings);
    drawn.add(made);
    look(made);
    made.update("none");
  });
  return box;
}
