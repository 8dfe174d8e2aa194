// The palette: every object and every verb, by a few letters.

import { get, icon, make } from "./dom.js";
import { ours } from "./site.js";
import { perform } from "./verbs.js";

const WAIT_MS = 90;
const dialog = document.getElementById("palette");
const input = dialog.querySelector("input");
const list = document.getElementById("palette-list");
let entries = [];
let chosen = 0;
let asked = 0;
let timer = 0;

export function openPalette() {
  if (dialog.open) return;
  input.value = "";
  dialog.showModal();
  load();
}

async function load() {
  const mine = ++asked;
  const on = document.body.dataset.on ?? "";
  const found = await get(ours(`/palette/?${new URLSearchParams({ q: input.value, on })}`));
  if (mine !== asked || !found) return;
  entries = found.entries;
  chosen = Math.max(0, entries.findIndex((entry) => !entry.reason));
  draw();
}

function draw() {
  const lines = [];
  entries.forEach((entry, at) => {
    if (!at || entry.section !== entries[at - 1].section) lines.push(make("div", { className: "section" }, entry.section));
    lines.push(option(entry, at));
  });
  list.replaceChildren(...(lines.length ? lines : [make("div", { className: "nothing" }, gettext("Nothing found."))]));
  choose(chosen);
}

function option(entry, at) {
  return make(
    "div",
    { id: `option-${at}`, role: "option", "aria-disabled": entry.reason ? "true" : null, onclick: () => act(entry), onpointermove: () => choose(at) },
    icon(entry.icon),
    make("span", {}, entry.label),
    entry.hint ? make("small", {}, entry.hint) : null,
  );
}

function choose(at) {
  chosen = at;
  for (const element of list.querySelectorAll("[role=option]")) {
    const here = element.id === `option-${at}`;
    element.setAttribute("aria-selected", String(here));
    if (here) element.scrollIntoView({ block: "nearest" });
  }
  input.setAttribute("aria-activedescendant", entries.length ? `option-${at}` : "");
}

function act(entry) {
  if (!entry || entry.reason) return;
  dialog.close();
  if (entry.verb && !entry.asks) perform(entry);
  else location.href = entry.url;
}

input.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(load, WAIT_MS);
});
input.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && entries.length) {
    event.preventDefault();
    choose((chosen + step + entries.length) % entries.length);
  } else if (event.key === "Enter") {
    event.preventDefault();
    act(entries[chosen]);
  }
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});
for (const button of document.querySelectorAll("[data-palette]")) button.addEventListener("click", openPalette);
