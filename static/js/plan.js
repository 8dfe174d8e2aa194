// A form with choices that decide which fields it has, and the plan beside it: the commands that would do the same.

import { make, post } from "./dom.js";

const TYPING_MS = 300;

/** Shows the fields of the ticked choice; those of the others are neither seen nor sent. */
function adapt(form) {
  const ticked = [...form.querySelectorAll("[data-shows]:checked")];
  if (!ticked.length) return;
  const shown = new Set(ticked.flatMap((choice) => choice.dataset.shows.split(" ")));
  for (const part of form.querySelectorAll("[data-part]")) {
    part.hidden = !shown.has(part.dataset.part);
    for (const field of part.querySelectorAll("input, select, textarea")) field.disabled = part.hidden;
  }
}

/** What is wrong with what was typed so far; a field that is still empty is not wrong yet. */
function wrong(form, fields) {
  const typed = Object.entries(fields).find(([name]) => !name || form.querySelector(`[name="${CSS.escape(name)}"]`)?.value);
  return typed ? typed[1] : gettext("Shown when the form is filled in.");
}

const KINDS = { "+": "added", "-": "removed", "@": "place" };

/** What would become of a definition, a line each. */
function compare(lines) {
  const code = document.querySelector("[data-plan-diff]");
  if (!code) return;
  const parts = lines.map((line) => make("span", { className: KINDS[line[0]] ?? "" }, line));
  code.replaceChildren(...(parts.length ? parts : [make("span", { className: "place" }, gettext("Nothing changes."))]));
}

/** What is made, a line each; what is worth knowing before; and the definition. */
function foretell(data) {
  const steps = document.querySelector("[data-plan-steps]");
  if (!steps) return;
  const notes = document.querySelector("[data-plan-notes]");
  notes.hidden = !data.warnings?.length;
  notes.querySelector(".card-body").replaceChildren(...(data.warnings ?? []).map((text) => make("p", {}, text)));
  if (!data.steps) return;
  document.querySelector("[data-plan-empty]").hidden = true;
  steps.hidden = false;
  steps.replaceChildren(...data.steps.flatMap(([label, text]) => [make("dt", {}, label), make("dd", {}, text)]));
  const definition = document.querySelector("[data-plan-xml]");
  definition.textContent = data.xml;
  definition.closest("details").hidden = !data.xml;
}

/** What is used of a project's quota after this, a bar each. */
function quota(found) {
  const card = document.querySelector("[data-plan-quota]");
  if (!card) return;
  // Until the form is filled in, it stays as it is now.
  if (!found) return;
  card.hidden = !found.lines.length;
  card.querySelector("h2").textContent = gettext("After this, in project %(name)s").replace("%(name)s", found.project);
  card.querySelector("dl").replaceChildren(
    ...found.lines.flatMap(({ label, percent, text, over }) => {
      const full = over || percent >= 90 ? " full" : "";
      const bar = percent === null ? "" : make("progress", { className: `bar${full}`, max: 100, value: Math.min(percent, 100) });
      const words = make("span", { className: over ? "bad" : "" }, over ? `${text} · ${gettext("too much")}` : text);
      return [make("dt", {}, label), make("dd", {}, bar, words)];
    }),
  );
}

async function show(form) {
  const fields = new FormData(form);
  fields.set("plan", "1");
  const answer = await post(form.getAttribute("action") || location.pathname, fields);
  if (!answer.ok) return;
  const code = document.querySelector("[data-plan-virsh] code");
  code.textContent = answer.data.virsh || wrong(form, answer.data.fields);
  code.classList.toggle("muted", !answer.data.virsh);
  compare(answer.data.diff ?? []);
  foretell(answer.data);
  quota(answer.data.quota);
}

const form = document.querySelector("[data-plan]");
if (form) {
  let timer = 0;
  const changed = () => {
    adapt(form);
    clearTimeout(timer);
    timer = setTimeout(() => show(form), TYPING_MS);
  };
  form.addEventListener("input", changed);
  form.addEventListener("change", changed);
  changed();
}
