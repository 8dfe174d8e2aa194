// Verbs without leaving the page: the button turns at once, and a note follows the operation.

import { icon, post, sure, wordToType } from "./dom.js";
import { refresh } from "./live.js";
import { complain, follow, followAll } from "./toasts.js";

/** Asks for a verb on one object; `danger` is asked about first. Resolves to true when it was accepted. */
export async function perform({ url, label, target, danger, byName = "", fields = {}, button = null }) {
  if (danger && !(await sure(label, danger, [{ name: byName || target }], Boolean(byName)))) return false;
  const restore = turn(button, label);
  const answer = await post(url, byName ? { ...fields, confirm: byName } : fields);
  if (answer.status === 202) {
    follow(answer.data);
    // The page stays, since it is a file; where there is none, it leads to what is known of it.
    if (answer.data.file) location.assign(answer.data.file);
  } else complain(answer.data.error || gettext("It was not accepted."));
  restore();
  refresh();
  return answer.ok;
}

/** Shows on the button itself that it was pressed; returns what undoes that. */
function turn(button, label) {
  if (!button) return () => {};
  const before = [...button.childNodes];
  button.setAttribute("aria-busy", "true");
  button.replaceChildren(icon("loader-2"), document.createTextNode(`${label}…`));
  return () => {
    if (!button.isConnected) return;
    button.removeAttribute("aria-busy");
    button.replaceChildren(...before);
  };
}

async function bulk(form, button) {
  const ticked = [...form.querySelectorAll('[name="ids"]:checked')];
  const things = ticked.map((box) => ({ name: box.getAttribute("aria-label"), more: box.dataset.more }));
  const { bulkVerb: label, danger } = button.dataset;
  const typed = "byName" in button.dataset;
  if (!ticked.length || (danger && !(await sure(label, danger, things, typed)))) return;
  const fields = new FormData(form, button);
  if (typed) fields.set("confirm", wordToType(things));
  const answer = await post(form.action, fields);
  if (!answer.ok) return complain(answer.data.error);
  followAll(label, answer.data.results);
  for (const box of ticked) box.checked = false;
  form.dispatchEvent(new Event("ticked", { bubbles: true }));
  refresh();
}

function pageObject() {
  return document.querySelector(".head.object h1")?.textContent.trim() ?? "";
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  const button = event.submitter;
  if (button?.dataset.bulkVerb) {
    event.preventDefault();
    bulk(form, button);
  } else if (button?.dataset.verb || form.dataset.verb) {
    event.preventDefault();
    button.closest("[popover]")?.hidePopover();
    perform({
      url: button.dataset.verb ? button.getAttribute("formaction") : form.getAttribute("action"),
      label: button.dataset.verb || form.dataset.verb,
      target: button.dataset.name || form.dataset.name || pageObject(),
      danger: form.dataset.danger,
      byName: form.dataset.byName,
      fields: button.dataset.verb ? {} : Object.fromEntries(new FormData(form)),
      button: button.closest("[popover]") ? null : button,
    });
  }
});
