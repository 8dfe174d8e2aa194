// Keys: places by `g` and a letter, rows by `j` and `k`, and the list of them all by `?`.

import { openPalette } from "./palette.js";
import { ours } from "./site.js";

const PREFIX_MS = 1200;
let prefixAt = -Infinity;

const typing = (target) => target.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable], dialog, [data-raw-keys]");
const rows = () => [...document.querySelectorAll("tr:has(.main-link), .tile")];
const here = () => document.querySelector("tr.here, .tile.here");

function move(step) {
  const all = rows();
  if (!all.length) return;
  const at = all.indexOf(here());
  const next = all[Math.max(0, Math.min(all.length - 1, at + step))] ?? all[0];
  here()?.classList.remove("here");
  next.classList.add("here");
  next.querySelector(".tile-shot, .main-link")?.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

function go(letter) {
  const link = document.querySelector(`[data-keys="g ${letter}"]`);
  if (link) location.href = link.href;
  else if (letter === "m") location.href = ours("/me/");
}

const ACTIONS = {
  "/": openPalette,
  "?": () => document.getElementById("help").showModal(),
  j: () => move(1),
  k: () => move(-1),
  x: () => here()?.querySelector('[name="ids"]')?.click(),
  ".": () => here()?.querySelector("[data-row-menu]")?.click(),
  g: () => (prefixAt = performance.now()),
};

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k" && !event.target.closest?.("[data-raw-keys]")) {
    event.preventDefault();
    return openPalette();
  }
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if (performance.now() - prefixAt < PREFIX_MS) {
    prefixAt = -Infinity;
    return go(event.key);
  }
  const action = ACTIONS[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

document.addEventListener("live", () => {
  const link = document.activeElement?.closest?.("tr, .tile");
  if (link && document.activeElement.matches(".main-link, .tile-shot")) link.classList.add("here");
});
document.querySelector("[data-help]")?.addEventListener("click", () => ACTIONS["?"]());
