// Charts, each with a sentence that says what it shows and a table of the same numbers for who would rather read.
import { details, h, table } from "./dom.js";
import { number } from "./format.js";
import { colour } from "./theme.js";

const drawn = new Set();

export const TONES = { acknowledged: "--ok", refused: "--bad", rejected: "--warn", held: "--held", failed: "--bad-strong", unknown: "--quiet" };
export const SERIES = ["--s1", "--s2", "--s3", "--s4", "--s5", "--s6", "--s7", "--s8"];

// Give a chart, or what it is made from, the colours of the theme.
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
    chart.update(); // not "none", with which what is drawn keeps its colours
  }
}

// A line across the whole chart, with its name on it: also where there is one bar only.
const LIMIT = {
  id: "limit",
  afterDatasetsDraw({ ctx, chartArea: { left, right }, scales: { y } }, _, { value, label }) {
    if (!value) return;
    const at = y.getPixelForValue(value);
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour("--bad");
    ctx.lineWidth = 1.5;
    ctx.setLineDash([6, 4]);
    ctx.beginPath();
    ctx.moveTo(left, at);
    ctx.lineTo(right, at);
    ctx.stroke();
    ctx.textAlign = "right";
    ctx.font = "12px sans-serif";
    ctx.fillText(label, right - 4, at - 7);
    ctx.restore();
  },
};

// datasets: [{label, tone: a colour variable, data, type}]; what: the sentence.
export function chart(what, labels, datasets, { stacked = false, unit = "", y = "", limit = null, parts = false, onpick = null } = {}) {
  const canvas = h("canvas", { role: "img", "aria-label": limit ? `${what}; ${limit.label}` : what });
  const axis = (options) => ({ stacked, ticks: {}, grid: {}, title: {}, ...options });
  const settings = {
    type: "bar",
    plugins: limit ? [LIMIT] : [],
    data: { labels, datasets: datasets.map((set) => ({ borderWidth: set.type === "line" ? 2 : 0, maxBarThickness: 36, tension: 0.25, pointRadius: 2, ...set })) },
    options: {
      animation: false,
      maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      scales: {
        x: axis({ grid: { display: false }, ticks: { maxRotation: 0, autoSkipPadding: 12 } }),
        y: axis({ beginAtZero: true, suggestedMax: limit ? 1.2 * limit.value : undefined, title: { display: Boolean(y), text: y }, ticks: { precision: parts ? undefined : 0, callback: (value) => number(value), maxTicksLimit: 6 } }),
      },
      plugins: {
        limit: limit || {},
        legend: { display: datasets.length > 1, position: "bottom", labels: { boxWidth: 12, boxHeight: 12 } },
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
    look(settings);
    drawn.add(new window.Chart(canvas, settings));
  });
  return box;
}
