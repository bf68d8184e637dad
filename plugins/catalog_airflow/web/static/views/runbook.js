// A runbook: what an alert means and what to do, without leaving the page.
import { h } from "../dom.js";
import { get, link } from "../main.js";
import { markdown } from "../markdown.js";

export const TITLE = "Runbook";

export async function show(query) {
  const asked = query.get("page") || "README.md";
  const { text, page } = await get("data/runbook", { page: asked });
  return { live: false, content: [h("article", { class: "card prose" }, markdown(text, follow), page === "README.md" ? null : h("p", {}, link("All runbooks", "runbook")))] };
}

// Pages beside this one open here; others lie in the project's folder docs.
function follow(text, address) {
  if (/^[a-z0-9-]+\.md$/.test(address)) return link(text, "runbook", { page: address });
  return h("span", {}, text, " (", h("code", {}, address.replace(/^\.\.\//, "docs/")), ")");
}
