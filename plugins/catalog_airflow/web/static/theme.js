// Airflow's colours and fonts, read from the page around us, and followed when the reader changes them.

const NAMES = {
  "--bg": "--chakra-colors-bg",
  "--bg-subtle": "--chakra-colors-bg-subtle",
  "--bg-muted": "--chakra-colors-bg-muted",
  "--fg": "--chakra-colors-fg",
  "--fg-muted": "--chakra-colors-fg-muted",
  "--border": "--chakra-colors-border",
  "--font": "--chakra-fonts-body",
};
const own = document.documentElement;
// What stands before /catalog/ in the address, where Airflow is served below a path.
const BASE = location.pathname.replace(/\/catalog\/.*$/, "");

function outside() {
  try {
    return window.parent !== window ? window.parent.document.documentElement : null;
  } catch {
    return null; // framed by another origin: the policy forbids that, but a reader must not lose the page for it
  }
}

export const colour = (name) => getComputedStyle(own).getPropertyValue(name).trim();

export function follow(changed) {
  const frame = outside();
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const dark = frame ? frame.classList.contains("dark") : system.matches;
    own.classList.toggle("dark", dark);
    own.classList.toggle("light", !dark);
    if (frame) {
      const style = getComputedStyle(frame);
      for (const [mine, theirs] of Object.entries(NAMES)) {
        const value = style.getPropertyValue(theirs).trim();
        if (value) own.style.setProperty(mine, value);
      }
    }
    changed();
  };
  if (frame) new MutationObserver(apply).observe(frame, { attributes: true, attributeFilter: ["class", "style", "data-theme"] });
  system.addEventListener("change", apply);
  apply();
}

// Airflow frames this page in a sandbox that may neither open windows nor leave its frame: an anchor outside may.
function leading(href, text, target) {
  const link = document.createElement("a");
  link.href = href;
  link.textContent = text;
  link.addEventListener("click", (event) => {
    const frame = outside();
    if (!frame || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const anchor = window.parent.document.createElement("a");
    anchor.href = link.getAttribute("href");
    anchor.target = target;
    anchor.rel = "noopener noreferrer";
    window.parent.document.body.append(anchor);
    anchor.click();
    anchor.remove();
  });
  return link;
}

// A page of Airflow.
export function airflow(href, text) {
  const link = leading(BASE + href, text, "");
  link.className = "airflow";
  return link;
}

// A page of somebody else's, in a window of its own.
export const elsewhere = (href, text) => leading(href, text, "_blank");
