// Menus: popovers beside the button that opened them, with arrow keys; and the menu of a row, fetched when wanted.

import { get, icon, make } from "./dom.js";
import { perform } from "./verbs.js";

const GAP = 4;

function place(menu, button) {
  const at = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const left = at.right - width < GAP ? at.left : at.right - width;
  const below = at.bottom + GAP + height <= innerHeight;
  menu.style.left = `${Math.max(GAP, Math.min(left, innerWidth - width - GAP))}px`;
  menu.style.top = `${below ? at.bottom + GAP : Math.max(GAP, at.top - GAP - height)}px`;
}

const entries = (menu) => [...menu.querySelectorAll("a, button:not(:disabled)")];

document.addEventListener(
  "toggle",
  (event) => {
    const menu = event.target;
    if (!(menu instanceof HTMLElement) || !menu.matches("[data-menu]") || event.newState !== "open") return;
    const button = menu.opener ?? document.querySelector(`[popovertarget="${menu.id}"]`);
    if (button) place(menu, button);
    entries(menu)[0]?.focus({ preventScroll: true });
  },
  true,
);

document.addEventListener("keydown", (event) => {
  const menu = event.target.closest?.("[data-menu]");
  if (!menu || !["ArrowDown", "ArrowUp", "Home", "End"].includes(event.key)) return;
  event.preventDefault();
  const all = entries(menu);
  const here = all.indexOf(document.activeElement);
  const next = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: all.length - 1 }[event.key];
  all[(next + all.length) % all.length]?.focus();
});

addEventListener("scroll", () => document.querySelector("#row-menu:popover-open")?.hidePopover(), { passive: true });

const rowMenu = make("div", { id: "row-menu", className: "menu", popover: "auto", "data-menu": true });
document.body.append(rowMenu);

function entry(offer, name) {
  const parts = [icon(offer.icon), make("span", {}, offer.asks ? `${offer.label}…` : offer.label), offer.reason ? make("small", {}, offer.reason) : null];
  if (offer.asks && !offer.reason) return make("a", { href: offer.url }, ...parts);
  return make(
    "button",
    {
      type: "button",
      className: offer.danger ? "dangerous" : "",
      disabled: Boolean(offer.reason),
      onclick: () => {
        rowMenu.hidePopover();
        perform({ ...offer, target: name });
      },
    },
    ...parts,
  );
}

async function openRowMenu(button) {
  const found = await get(`${button.closest("tr, .tile").querySelector(".main-link").getAttribute("href")}menu/`);
  if (!found) return;
  const lines = [make("div", { className: "menu-title" }, found.name)];
  found.offers.forEach((offer, at) => {
    if (at && offer.group !== found.offers[at - 1].group) lines.push(make("hr"));
    lines.push(entry(offer, found.name));
  });
  if (!found.offers.length) lines.push(make("div", { className: "menu-title" }, gettext("You may only look at it.")));
  rowMenu.replaceChildren(...lines);
  rowMenu.opener = button;
  rowMenu.showPopover();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-row-menu]");
  if (!button) return;
  event.preventDefault();
  openRowMenu(button);
});
