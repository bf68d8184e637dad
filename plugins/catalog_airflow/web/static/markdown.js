// The Markdown of our own runbooks as elements: headings, paragraphs, lists, tables, and code.
import { h } from "./dom.js";

const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*|\[([^\]]+)\]\(([^)\s]+)\)/g;
const ITEM = /^(?:- |\d+\. )(.*)$/;
// What begins a block of its own, and so ends a paragraph.
const BLOCK = /^(?:#{1,4} |\| |- |\d+\. | {4}|$)/;

// follow: (text, address) → what a link to it becomes.
function inline(text, follow) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(INLINE)) {
    const [all, code, strong, soft, label, address] = found;
    parts.push(text.slice(end, found.index));
    if (code) parts.push(h("code", {}, code));
    else if (strong) parts.push(h("strong", {}, strong));
    else if (soft) parts.push(h("em", {}, soft));
    else parts.push(follow(label, address));
    end = found.index + all.length;
  }
  return [...parts, text.slice(end)];
}

function cells(line) {
  return line.replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
}

function tableOf(lines, follow) {
  const [head, , ...rows] = lines.map(cells);
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": head.filter(Boolean).join(", ") },
    h("table", {},
      h("thead", {}, h("tr", {}, head.map((cell) => h("th", { scope: "col" }, inline(cell, follow))))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, inline(cell, follow))))))));
}

function listOf(lines, follow) {
  const items = [];
  for (const line of lines) {
    const item = ITEM.exec(line);
    if (item) items.push(item[1]);
    else items[items.length - 1] += ` ${line.trim().replace(/^- /, "– ")}`;
  }
  return h(/^\d/.test(lines[0]) ? "ol" : "ul", {}, items.map((item) => h("li", {}, inline(item, follow))));
}

// Takes lines from the front while they go on; the first one always does.
function taken(lines, goesOn) {
  const found = [lines.shift()];
  while (lines.length && goesOn(lines[0])) found.push(lines.shift());
  return found;
}

export function markdown(text, follow) {
  const lines = text.split("\n");
  const blocks = [];
  while (lines.length) {
    const heading = /^(#{1,4}) (.*)$/.exec(lines[0]);
    if (!lines[0].trim()) lines.shift();
    else if (heading) {
      lines.shift();
      blocks.push(h(`h${Math.min(heading[1].length + 1, 4)}`, {}, inline(heading[2], follow)));
    } else if (/^ {4}/.test(lines[0])) {
      const code = taken(lines, (line) => /^ {4}/.test(line)).map((line) => line.slice(4)).join("\n");
      blocks.push(h("pre", { tabindex: "0" }, h("code", {}, code)));
    } else if (lines[0].startsWith("|")) blocks.push(tableOf(taken(lines, (line) => line.startsWith("|")), follow));
    else if (ITEM.test(lines[0])) blocks.push(listOf(taken(lines, (line) => ITEM.test(line) || /^ {2,}\S/.test(line)), follow));
    else blocks.push(h("p", {}, inline(taken(lines, (line) => !BLOCK.test(line)).join(" "), follow)));
  }
  return blocks;
}
