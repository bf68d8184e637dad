// Which view is shown, how it gets its data, and when it asks again. The address carries all of it, so that it can be sent.
import { repaint } from "./charts.js";
import { h, note } from "./dom.js";
import { time } from "./format.js";
import { follow } from "./theme.js";
import * as refused from "./views/refused.js";
import * as runbook from "./views/runbook.js";
import * as runs from "./views/runs.js";
import * as sku from "./views/sku.js";
import * as stuck from "./views/stuck.js";
import * as tonight from "./views/tonight.js";

const VIEWS = { tonight, runs, refused, stuck, sku, runbook };
// Opened from others only.
const WITHOUT_TAB = ["runbook"];
// Seconds between two looks: while something is at work, and otherwise.
const LIVE = 5, STILL = 60;

const place = document.getElementById("view");
const fresh = document.getElementById("fresh");
let turn = 0;
let timer = 0;

function asked() {
  const query = new URLSearchParams(location.search);
  const name = query.get("view") || (query.get("sku") ? "sku" : "tonight");
  return { name: name in VIEWS ? name : "tonight", query };
}

export function address(view, values = {}) {
  const query = new URLSearchParams({ view, ...Object.fromEntries(Object.entries(values).filter(([, value]) => value)) });
  return `?${query}`;
}

export function go(view, values = {}) {
  history.pushState(null, "", address(view, values));
  show();
  place.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

export function link(text, view, values = {}) {
  return h("a", {
    href: address(view, values),
    onclick: (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      go(view, values);
    },
  }, text);
}

export async function get(path, values = {}) {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  let answer;
  try {
    answer = await fetch(`${path}?${query}`, { headers: { accept: "application/json" } });
  } catch {
    throw new Error("The API server does not answer.");
  }
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const told = {
    401: "Your session has ended: reload the page to log in again.",
    403: "You may not read the runs of nightly_catalog_sync, so this page shows you nothing.",
    422: "That is no name that could exist here.",
  };
  const error = new Error(told[answer.status] || body.error || `The page could not be read (HTTP ${answer.status}).`);
  error.status = answer.status;
  throw error;
}

export const download = (path, values) => `${path}?${new URLSearchParams(values)}`;

async function show({ again = false } = {}) {
  const mine = ++turn;
  clearTimeout(timer);
  const { name, query } = asked();
  const view = VIEWS[name];
  for (const tab of document.querySelectorAll("#tabs a")) {
    if (tab.dataset.view === name) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  document.title = `${view.TITLE} – Catalog`;
  if (!again) place.setAttribute("aria-busy", "true");
  let live = false;
  try {
    const made = await view.show(query);
    if (mine !== turn) return;
    if (again && made.same) return void wait(made.live, mine);
    keep(() => place.replaceChildren(...made.content.filter(Boolean)));
    fresh.replaceChildren("As of ", time(Date.now() / 1000), made.live ? ", live" : "");
    live = made.live;
  } catch (error) {
    if (mine !== turn) return;
    const text = error.status ? error.message : `${error.message}`;
    const gentle = error.status === 404;
    place.replaceChildren(gentle ? note("info", "Nothing to show yet", h("p", {}, text)) : note("bad", "This could not be shown", h("p", {}, text)));
    if (error.status === 401 || error.status === 403) return void place.removeAttribute("aria-busy");
  }
  place.removeAttribute("aria-busy");
  wait(live, mine);
}

// What was unfolded, scrolled or focused stays so when the numbers change.
function keep(draw) {
  const open = new Set([...place.querySelectorAll("details[open] > summary")].map((one) => one.textContent));
  const top = window.scrollY;
  const focused = document.activeElement?.id;
  draw();
  for (const summary of place.querySelectorAll("details > summary")) {
    if (open.has(summary.textContent)) summary.parentElement.open = true;
  }
  window.scrollTo(0, top);
  if (focused && focused !== "view") document.getElementById(focused)?.focus({ preventScroll: true });
}

function wait(live, mine) {
  const { name } = asked();
  if (name === "sku" || name === "runbook") return; // what was typed, or is read, is not asked again by itself
  timer = setTimeout(() => {
    if (mine !== turn) return;
    if (document.hidden) wait(live, mine);
    else show({ again: true });
  }, 1000 * (live ? LIVE : STILL));
}

document.getElementById("tabs").append(...Object.entries(VIEWS).filter(([name]) => !WITHOUT_TAB.includes(name)).map(([name, view]) => {
  const tab = link(view.TITLE, name);
  tab.dataset.view = name;
  return h("li", {}, tab);
}));
window.addEventListener("popstate", () => show());
follow(repaint);
show();
