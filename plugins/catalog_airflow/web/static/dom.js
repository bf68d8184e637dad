// Elements are made here and nowhere else. Every text becomes a text node: nothing that a source, a person or Amazon
// wrote is ever read as HTML.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else element.setAttribute(name, String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function card(title, ...children) {
  return h("section", { class: "card" }, title ? h("h2", {}, title) : null, ...children);
}

export function badge(text, tone = "plain") {
  return h("span", { class: `badge ${tone}` }, text);
}

export function note(tone, title, ...children) {
  return h("div", { class: `note ${tone}` }, h("strong", {}, title), ...children);
}

export function empty(title, text) {
  return h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), text ? h("p", { class: "muted" }, text) : null);
}

// A table. A column: {title, of: row → text or node, number: align right, head: the row's header, hide: leave it out}.
export function table(caption, columns, rows, { foot = null, empty: nothing = "Nothing." } = {}) {
  const shown = columns.filter((column) => !column.hide);
  if (!rows.length) return h("p", { class: "muted" }, nothing);
  const cell = (column, row) =>
    h(column.head ? "th" : "td", { class: column.number ? "number" : column.class, scope: column.head ? "row" : null }, column.of(row) ?? "");
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {},
      h("caption", { class: "hidden" }, caption),
      h("thead", {}, h("tr", {}, shown.map((column) => h("th", { scope: "col", class: column.number ? "number" : null }, column.title)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, shown.map((column) => cell(column, row))))),
      foot ? h("tfoot", {}, h("tr", {}, shown.map((column) => cell(column, foot)))) : null));
}

// A list that is long is shown in parts.
export function longTable(caption, columns, rows, options = {}, step = 50) {
  const box = h("div", {});
  let shown = step;
  const draw = () => {
    const more = rows.length - shown;
    box.replaceChildren(
      table(caption, columns, rows.slice(0, shown), options),
      more > 0 ? h("button", { class: "quiet", onclick: () => { shown += step; draw(); } }, `Show ${Math.min(step, more)} more of ${more}`) : "");
  };
  draw();
  return box;
}

export function details(summary, ...children) {
  return h("details", {}, h("summary", {}, summary), ...children);
}

export function kpi(title, value, hint = "", tone = "") {
  return h("div", { class: `kpi ${tone}` }, h("dt", {}, title), h("dd", {}, value, hint ? h("span", { class: "hint" }, hint) : null));
}

export function kpis(...items) {
  return h("dl", { class: `kpis of-${items.length}` }, items);
}
