// What was asked for and what became of it: one note for each request, which follows its operations to their end.

import { bar, get, icon, make, post } from "./dom.js";
import { watch } from "./live.js";
import { ours } from "./site.js";

const KEPT = "webvirt.following";
const QUIET_MS = 3000;
const LOOK_MS = 2000;
const box = document.getElementById("toasts");
const notes = new Set();
let looking = false;
let again = false;

class Note {
  /** `ids` are the operations it follows; `refused` what was not even accepted: [{name, refused}]. */
  constructor(label, target, ids, refused = []) {
    Object.assign(this, { label, target, ids, refused, known: new Map() });
    this.element = make("div", { className: "toast-note working", role: "status" });
    this.unwatch = ids.map((id) => watch(`operation:${id}`, look));
    box.append(this.element);
    notes.add(this);
    this.draw();
  }

  get open() {
    return this.ids.filter((id) => this.known.get(id)?.active ?? true);
  }

  get failed() {
    return [...this.known.values()].filter((one) => !one.active && one.state !== "succeeded");
  }

  take(found) {
    for (const one of found) if (this.ids.includes(one.id)) this.known.set(one.id, one);
    this.draw();
    if (!this.open.length) this.end();
  }

  draw() {
    const wrong = this.failed.length + this.refused.length;
    const busy = this.open.length > 0;
    this.element.className = `toast-note ${busy ? "working" : wrong ? "wrong" : "good"}`;
    const symbol = busy ? "loader-2" : wrong ? "alert-circle" : "circle-check";
    const close = make("button", { type: "button", className: "close", "aria-label": gettext("Close"), onclick: () => this.close() }, icon("x", "small"));
    this.element.replaceChildren(icon(symbol), make("div", { className: "words" }, ...this.words()), close);
  }

  words() {
    const title = make("b", {}, this.target ? `${this.label}: ${this.target}` : this.label);
    return this.ids.length + this.refused.length === 1 ? [title, ...this.one()] : [title, ...this.several()];
  }

  one() {
    const operation = this.known.get(this.ids[0]);
    if (!operation) return [make("p", {}, this.refused.length ? this.refused[0].refused : gettext("asked for…"))];
    const parts = [];
    if (operation.active) parts.push(make("p", {}, operation.phase || operation.state_label));
    else if (operation.state !== "succeeded") parts.push(make("p", {}, operation.error || operation.state_label), make("p", {}, operation.remedy));
    else parts.push(make("p", {}, operation.state_label));
    if (operation.active && operation.percent !== null) parts.push(bar(operation.percent));
    parts.push(this.links(operation));
    return parts;
  }

  links(operation) {
    const links = make("div", { className: "links" }, make("a", { href: operation.url }, gettext("Details")));
    if (operation.cancellable) links.append(make("button", { type: "button", onclick: () => cancel(operation) }, gettext("Cancel")));
    return links;
  }

  several() {
    const ended = this.ids.length - this.open.length;
    const done = ended - this.failed.length;
    const parts = [make("p", {}, interpolate(gettext("%s of %s done"), [done, this.ids.length + this.refused.length]))];
    if (this.open.length) parts.push(bar((100 * ended) / this.ids.length));
    const lines = [
      ...this.refused.map((one) => make("li", {}, `${one.name}: ${one.refused}`)),
      ...this.failed.map((one) => make("li", {}, make("a", { href: one.url }, one.target), `: ${one.error || one.state_label}`)),
    ];
    if (lines.length) parts.push(make("ul", {}, ...lines));
    return parts;
  }

  /** All its operations have ended: success goes by itself, failure waits to be read. */
  end() {
    for (const stop of this.unwatch.splice(0)) stop();
    if (!this.failed.length && !this.refused.length) setTimeout(() => this.close(), QUIET_MS);
    keep();
  }

  close() {
    for (const stop of this.unwatch.splice(0)) stop();
    notes.delete(this);
    this.element.remove();
    keep();
  }
}

async function cancel(operation) {
  const answer = await post(`${operation.url}cancel/`, {});
  if (!answer.ok) complain(answer.data.error);
  look();
}

/** Follows one accepted operation. */
export function follow(operation) {
  new Note(operation.label, operation.target, [operation.id]).take([operation]);
  keep();
  look();
}

/** Follows the operations of a bulk request and lists what was refused. */
export function followAll(label, results) {
  const accepted = results.filter((one) => one.ok);
  const note = new Note(label, "", accepted.map((one) => one.id), results.filter((one) => !one.ok));
  note.take(accepted);
  keep();
  look();
}

/** Says that something was not accepted. */
export function complain(text) {
  const note = new Note(text, "", [], [{ name: "", refused: "" }]);
  note.element.setAttribute("role", "alert");
}

/** Asks once for all the operations that are followed. */
async function look() {
  if (looking) {
    again = true;
    return;
  }
  const ids = [...notes].flatMap((note) => note.open);
  if (!ids.length) return;
  looking = true;
  again = false;
  const found = await get(ours(`/operations/?ids=${ids.join(",")}`), { "X-By-Itself": "1" });
  for (const note of [...notes]) if (found && note.ids.length && note.open.length) note.take(found.operations);
  looking = false;
  if (again) setTimeout(look, 150);
}

function keep() {
  const open = [...notes].filter((note) => note.open.length).map(({ label, target, ids }) => ({ label, target, ids }));
  sessionStorage.setItem(KEPT, JSON.stringify(open));
}

for (const { label, target, ids } of JSON.parse(sessionStorage.getItem(KEPT) || "[]")) new Note(label, target, ids);
look();
setInterval(look, LOOK_MS);
