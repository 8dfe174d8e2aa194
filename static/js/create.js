// The forms of new machines: rows of disks and cards, flavours, the system that an image tells, and how many it is.

import { ours } from "./site.js";

const RANGE = /\{(\d{1,4})\.\.(\d{1,4})\}/;

function changed(element) {
  element.dispatchEvent(new Event("change", { bubbles: true }));
}

/** Another row like the template's, or one row less. */
function rows(form) {
  form.addEventListener("click", (event) => {
    const adds = event.target.closest("[data-add-row]");
    const drops = event.target.closest("[data-drop-row]");
    if (adds) adds.before(adds.parentElement.querySelector("template").content.cloneNode(true));
    if (drops) drops.closest(".row-of").remove();
    if (adds || drops) changed(form);
  });
}

/** A flavour's button fills in its figures, and the size of the first disk where there is one. */
function flavours(form) {
  for (const button of form.querySelectorAll("[data-flavour]")) {
    button.addEventListener("click", () => {
      const { vcpus, memory, memoryUnit, disk, diskUnit } = button.dataset;
      const fields = { vcpus, memory, memory_unit: memoryUnit };
      if (disk) Object.assign(fields, { disk_size: disk, disk_size_unit: diskUnit });
      for (const [name, value] of Object.entries(fields)) {
        const field = form.querySelector(`[name="${name}"]`);
        if (field) field.value = value;
      }
      changed(form);
    });
  }
}

/** The image tells its system, until the person says otherwise. */
function system(form) {
  const choice = form.querySelector("[data-os-choice]");
  const mark = form.querySelector("[data-os-mark]");
  let own = Boolean(choice.value);
  const draw = () => {
    const { className, dataset } = choice.selectedOptions[0];
    mark.className = `mark ${className || "os-none"}`;
    mark.textContent = dataset.mark ?? "";
  };
  const adopt = (image) => {
    if (own || image.disabled) return;
    const { os = "", osName } = image.selectedOptions[0]?.dataset ?? {};
    // What is newer than the list of systems is told by the image alone.
    if (![...choice.options].some((option) => option.value === os)) choice.add(new Option(osName, os), 1);
    choice.value = os;
    draw();
  };
  choice.addEventListener("change", (event) => {
    own = own || event.isTrusted;
    draw();
  });
  form.addEventListener("change", (event) => event.target.matches("[data-image]") && adopt(event.target));
  for (const image of form.querySelectorAll("[data-image]")) if (image.value) adopt(image);
  draw();
}

/** The page anew at another address, with these fields as they are. */
function go(form, path, names) {
  const fields = new FormData(form);
  location.assign(`${path}?${new URLSearchParams(names.map((name) => [name, fields.get(name) ?? ""]))}`);
}

const ANYWHERE = ["name", "os", "begins", "vcpus", "memory", "memory_unit", "project"];

/** Another host has other pools and networks: the page is asked for anew, with what does not depend on the host. */
function place(form) {
  const hosts = form.querySelector("[data-place]");
  hosts.addEventListener("change", () => go(form, ours(`/hosts/${hosts.value}/create-domain/`), ANYWHERE));
}

/** A clone on another host goes to other pools and networks: the page is asked for anew for that one. */
function elsewhere(form) {
  const hosts = form.querySelector("[data-elsewhere]");
  hosts?.addEventListener("change", () => go(form, "", ["host", "name", "title", "project"]));
}

/** So is another project's, where one may use but what is a project's. */
function within(form) {
  const projects = form.querySelector("[data-within]");
  projects.addEventListener("change", () => go(form, location.pathname, projects.dataset.within.split(" ")));
}

/** A box that opens what follows from it. */
function openers(form) {
  for (const box of form.querySelectorAll("[data-opens]")) {
    const part = document.getElementById(box.dataset.opens);
    const adapt = () => {
      part.hidden = !box.checked || box.disabled;
      for (const field of part.querySelectorAll("input, textarea, select")) field.disabled = part.hidden;
    };
    form.addEventListener("change", adapt);
    adapt();
  }
}

/** The button says how many are made. */
function count(form) {
  const label = form.querySelector("[data-submit]");
  const one = label.textContent;
  form.elements.name.addEventListener("input", () => {
    const range = RANGE.exec(form.elements.name.value);
    const many = range ? Number(range[2]) - Number(range[1]) + 1 : 1;
    label.textContent = many > 1 ? gettext("Create %(n)s machines").replace("%(n)s", many) : one;
  });
}

const form = document.querySelector("form [data-submit], form [data-rows]")?.closest("form");
if (form?.querySelector("[data-submit]")) for (const part of [openers, count, elsewhere]) part(form);
if (form?.querySelector("[data-rows]")) rows(form);
const inside = document.querySelector("[data-within]");
if (inside) within(inside.form);
if (form?.querySelector("[data-place]")) for (const part of [flavours, system, place]) part(form);
