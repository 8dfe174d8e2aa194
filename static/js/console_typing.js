// Text that is typed on a guest's keyboard: what somebody entered in the dialog, and what a phone's own keyboard writes.

import keysyms from "../novnc/core/input/keysymdef.js";
import { keysymOf } from "./console_keys.js";
import { layouts, likelyLayout, strokes } from "./console_layouts.js";
import { gettext, interpolate } from "./console_line.js";

const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

// QEMU passes keys on one in ten milliseconds: faster, and they would pile up where Stop cannot reach them.
const EVENT_MS = 12;
// A keyboard of the machine holds a handful of keys: a guest that is busy for longer than these take loses some.
const SLOW_MS = 60;
// What a phone's keyboard can delete, since it says nothing where there is nothing.
const PADDING = "_".repeat(32);
const PADDING_MOST = 128;

/** Types characters, one after the other, by the keys of the layout that was chosen for this machine. */
export class Typist {
  constructor(root, keys) {
    this.keys = keys;
    this.windows = "windows" in root.dataset;
    this.queue = Promise.resolve();
    this.place = `console-layout-${root.dataset.domain}`;
  }

  get layout() {
    const known = [localStorage.getItem(this.place), localStorage.getItem("console-layout")];
    return known.find((one) => layouts.some(([id]) => id === one)) ?? likelyLayout(navigator.languages);
  }

  /** For this machine, and for the next ones that nobody chose one for. */
  set layout(id) {
    localStorage.setItem(this.place, id);
    localStorage.setItem("console-layout", id);
  }

  /** Do something when everything before it is typed: what comes from fingers stays in its order. */
  then(work) {
    this.queue = this.queue.then(work);
  }

  /** Press the guest's Caps Lock. */
  async lock() {
    this.keys.press(["CapsLock"]);
    await sleep(2 * EVENT_MS);
  }

  /** Those characters that the layout has no keys for, each once. */
  lost(text, layout) {
    return [...new Set([...text].filter((one) => !strokes(one, layout, this.windows)))];
  }

  async type(character, layout, pause = EVENT_MS) {
    const found = strokes(character, layout, this.windows) ?? [];
    const own = found.length === 1 && character > " " ? keysyms.lookup(character.codePointAt(0)) : 0;
    for (const codes of found) {
      const last = codes.length - 1;
      const send = async (at, down) => {
        this.keys.key(codes[at], down, (at === last && own) || keysymOf(codes[at]));
        await sleep(pause);
      };
      for (let at = 0; at <= last; at++) await send(at, true);
      for (let at = last; at >= 0; at--) await send(at, false);
    }
  }
}

/** The dialog for text of many lines, also hidden. It can be stopped at each character. */
export class TypeDialog {
  constructor(dialog, typist) {
    this.dialog = dialog;
    this.typist = typist;
    this.typing = null;
    this.part = (name) => dialog.querySelector(`[data-${name}]`);
    for (const [id, name] of layouts) this.part("layout").add(new Option(name, id));
    this.part("go").addEventListener("click", () => this.type());
    this.part("cancel").addEventListener("click", (event) => {
      if (this.typing) event.preventDefault();
      this.stop();
    });
    this.part("mask").addEventListener("change", ({ target }) => dialog.classList.toggle("masked", target.checked));
    for (const name of ["text", "layout"]) this.part(name).addEventListener("input", () => this.check());
    dialog.addEventListener("close", () => {
      this.stop();
      if (this.part("mask").checked) this.part("text").value = "";
    });
  }

  open() {
    this.part("layout").value = this.typist.layout;
    this.say("");
    this.check();
    this.dialog.showModal();
    this.part("text").focus();
  }

  /** What is to be typed, each character as one. */
  get text() {
    return this.part("text").value.replace(/\r\n?/g, "\n").normalize("NFC");
  }

  /** Say which characters the guest's keyboard does not have, before anything is typed. */
  check() {
    const lost = this.typist.lost(this.text, this.part("layout").value);
    this.part("lost").hidden = !lost.length;
    this.part("lost").textContent = interpolate(gettext("Not on this keyboard, so they are left out: %(characters)s"), { characters: lost.join(" ") });
    this.part("go").textContent = lost.length ? gettext("Type the others") : gettext("Type");
  }

  async type() {
    const layout = (this.typist.layout = this.part("layout").value);
    const lost = this.typist.lost(this.text, layout);
    const characters = [...this.text].filter((one) => !lost.includes(one));
    const all = this.part("enter").checked ? [...characters, "\n"] : characters;
    const typing = (this.typing = { stopped: false });
    this.working(true, all.length);
    const locked = this.typist.keys.plain();
    let done = 0;
    for (; done < all.length && !typing.stopped; done++) {
      this.part("progress").value = done;
      await this.typist.type(all[done], layout, this.part("slow").checked ? SLOW_MS : EVENT_MS);
    }
    if (locked) await this.typist.lock();
    this.working(false);
    if (typing.stopped) this.stopped(characters, done, all.length);
    else this.finished();
  }

  working(yes, length = 1) {
    this.part("progress").hidden = !yes;
    this.part("progress").max = length || 1;
    this.part("text").readOnly = yes;
    for (const name of ["go", "layout", "mask", "enter", "slow"]) this.part(name).disabled = yes;
    this.part("cancel").textContent = yes ? gettext("Stop") : gettext("Cancel");
    if (yes) this.say("");
  }

  stop() {
    if (this.typing) this.typing.stopped = true;
    this.typing = null;
  }

  /** What was not typed yet stays where it was entered, unless it was hidden and the dialog is gone. */
  stopped(characters, done, all) {
    this.part("text").value = this.part("mask").checked && !this.dialog.open ? "" : characters.slice(done).join("");
    this.say(interpolate(gettext("Stopped after %(done)s of %(all)s characters; the rest is still here."), { done, all }));
    this.check();
  }

  finished() {
    this.typing = null;
    this.part("text").value = "";
    this.dialog.close();
  }

  say(words) {
    this.part("said").textContent = words;
  }
}

/** A hidden field that takes what a phone's keyboard makes: words that it mends while they are written, too. */
export class Entry {
  constructor(field, typist, say) {
    this.field = field;
    this.typist = typist;
    this.say = say;
    this.empty();
    field.addEventListener("input", (event) => this.changed(event.isComposing));
    field.addEventListener("compositionend", () => this.changed(false));
    field.addEventListener("keydown", (event) => this.named(event));
  }

  empty() {
    this.field.value = this.before = PADDING;
    this.field.setSelectionRange(PADDING.length, PADDING.length);
  }

  /** Type what makes the guest's text like the field's: as many steps back as are gone, then what is new. */
  changed(isComposing) {
    const now = this.field.value;
    let same = 0;
    while (same < now.length && now[same] === this.before[same]) same++;
    const gone = this.before.length - same;
    const come = [...now.slice(same)];
    this.before = now;
    if (!isComposing && (now.length < PADDING.length / 2 || now.length > PADDING_MOST)) this.empty();
    this.typist.then(() => this.type(gone, come));
  }

  async type(gone, come) {
    const { layout } = this.typist;
    for (let at = 0; at < gone; at++) this.typist.keys.press(["Backspace"]);
    for (const character of come) await this.typist.type(character, layout);
    const lost = this.typist.lost(come.join(""), layout);
    this.say(lost.length ? interpolate(gettext("Not on the guest's keyboard: %(characters)s"), { characters: lost.join(" ") }) : "");
  }

  /** Keys that write nothing go as they are. */
  named(event) {
    if (event.isComposing || event.key.length === 1 || ["Backspace", "Enter"].includes(event.key) || !keysymOf(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    this.typist.then(() => this.typist.keys.press([event.key]));
  }
}
