// Lists: the row is the link, ticks and their bar, filters that act while one types.

import { refresh } from "./live.js";
import { ours } from "./site.js";

const TYPING_MS = 250;
let lastTicked = null;

const ticks = () => [...document.querySelectorAll('[name="ids"]')];

function count() {
  const all = ticks();
  const ticked = all.filter((box) => box.checked).length;
  const words = document.querySelector("[data-ticked]");
  if (words) words.textContent = interpolate(ngettext("%s ticked", "%s ticked", ticked), [ticked]);
  const consoles = document.querySelector("[data-consoles]");
  if (consoles) {
    const most = Number(consoles.dataset.consoles);
    consoles.disabled = ticked > most;
    consoles.title = ticked > most ? interpolate(gettext("At most %s side by side."), [most]) : "";
  }
  const head = document.querySelector("[data-tick-all]");
  if (head) {
    head.checked = ticked > 0 && ticked === all.length;
    head.indeterminate = ticked > 0 && ticked < all.length;
  }
}

function tickRange(box) {
  const all = ticks();
  const [from, to] = [all.indexOf(lastTicked), all.indexOf(box)].sort((a, b) => a - b);
  if (from >= 0) for (const one of all.slice(from, to + 1)) one.checked = box.checked;
}

document.addEventListener("click", (event) => {
  if (event.target.matches('[name="ids"]')) {
    if (event.shiftKey) tickRange(event.target);
    lastTicked = event.target;
    return;
  }
  if (event.target.closest("[data-untick]")) {
    for (const box of ticks()) box.checked = false;
    return count();
  }
  if (event.target.closest("[data-consoles]")) {
    const ids = ticks().filter((box) => box.checked).map((box) => box.value);
    location.href = ours(`/vms/consoles/?ids=${ids}`);
    return;
  }
  const link = event.target.closest("tr")?.querySelector(".main-link");
  if (!link || event.target.closest("a, button, input, label, select, .c-tick") || String(getSelection())) return;
  if (event.ctrlKey || event.metaKey) open(link.href, "_blank");
  else location.href = link.href;
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-tick-all]")) for (const box of ticks()) box.checked = event.target.checked;
  if (event.target.matches('[name="ids"], [data-tick-all]')) count();
  const form = event.target.closest("[data-filters]");
  if (form) apply(form);
});
document.addEventListener("ticked", count);
document.addEventListener("live", count);

let typing = 0;
document.addEventListener("input", (event) => {
  const form = event.target.closest("[data-filters]");
  if (!form || !event.target.matches("[data-search]")) return;
  clearTimeout(typing);
  typing = setTimeout(() => apply(form), TYPING_MS);
});
document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-filters]")) return;
  event.preventDefault();
  apply(event.target);
});

/** Puts the filters into the address and brings the list up to date, without losing the place in the form. */
function apply(form) {
  clearTimeout(typing);
  const values = [...new FormData(form)].filter(([, value]) => value);
  const address = values.length ? `?${new URLSearchParams(values)}` : location.pathname;
  if (address === (location.search || location.pathname)) return;
  history.replaceState(null, "", address);
  refresh();
}

count();
