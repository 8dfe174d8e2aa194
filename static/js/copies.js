// Copying to the clipboard, also where the browser grants it only to https; and colours for XML.

import { make } from "./dom.js";

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = make("textarea", { value: text, className: "visually-hidden" });
  // Beside an open dialog nothing can be chosen.
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-from]");
  if (!button) return;
  const text = button.dataset.copy ?? document.getElementById(button.dataset.copyFrom).textContent;
  await copy(text);
  const use = button.querySelector("use");
  const before = use?.getAttribute("href");
  use?.setAttribute("href", before.replace(/#.*/, "#check"));
  setTimeout(() => use?.setAttribute("href", before), 1200);
});

const TOKEN = /(<!--[^]*?-->)|(<\/?[\w:.-]+|\/?>|\?>|<\?[\w-]+)|([\w:.-]+)(?==)|('[^']*'|"[^"]*")/g;
const CLASSES = ["x-note", "x-name", "x-key", "x-value"];

function colour(code) {
  const text = code.textContent;
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(TOKEN)) {
    parts.push(text.slice(at, match.index));
    const kind = match.slice(1).findIndex((group) => group !== undefined);
    parts.push(make("span", { className: CLASSES[kind] }, match[0]));
    at = match.index + match[0].length;
  }
  code.replaceChildren(...parts, text.slice(at));
}

const colourAll = () => document.querySelectorAll("code[data-xml]").forEach((code) => code.firstElementChild || colour(code));
document.addEventListener("live", colourAll);
colourAll();
