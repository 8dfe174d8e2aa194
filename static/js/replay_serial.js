// A recorded serial line: xterm.js fed from the recording, and a search through all that was said in it.

import { FitAddon } from "../xterm/addon-fit.js";
import { SearchAddon } from "../xterm/addon-search.js";
import { Terminal } from "../xterm/xterm.js";
import { RecordingFile } from "./recording_file.js";
import { Replay, clock, gettext, interpolate } from "./replay.js";
import { looks, MARKS, withoutInlineStyles } from "./terminal.js";

const SCROLLBACK_LINES = 10000;
/** Bytes that the terminal may have yet to show. */
const MOST_UNSHOWN = 1024 * 1024;
const MOST_HITS = 500;
const LONGEST_LINE = 4096;
const AROUND = 60;

const TO_ANOTHER_LINE = /\x1b\[[0-9;]*[Hf]/g;
const CONTROL = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]*[0-~])|[\x00-\x09\x0b-\x1f\x7f]/g;
/** A sequence that goes on in the next frame. */
const TORN = /\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|[PX^_][^\x1b]*\x1b?|[ -/]*)?$/;

/** The lines in which these words stand, as `{ at, line }`: each where they were there, and once. */
export async function* hits(address, words) {
  const file = new RecordingFile(address);
  const decoder = new TextDecoder();
  const sought = words.toLowerCase();
  let torn = "";
  let line = "";
  let told = false;
  try {
    await file.rewind();
    while (file.frame) {
      const { at, data } = await file.take();
      const text = torn + decoder.decode(data, { stream: true });
      const cut = text.match(TORN);
      torn = cut && text.length - cut.index < LONGEST_LINE ? text.slice(cut.index) : "";
      const plain = text.slice(0, text.length - torn.length).replace(TO_ANOTHER_LINE, "\n").replace(CONTROL, "");
      for (const [number, part] of plain.split("\n").entries()) {
        if (number) [line, told] = ["", false];
        line = (line + part).slice(-LONGEST_LINE);
        if (told || !line.toLowerCase().includes(sought)) continue;
        told = true;
        yield { at, line };
      }
    }
  } finally {
    file.close();
  }
}

class ReplayedLine extends Replay {
  constructor(root) {
    super(root);
    this.unshown = 0;
    this.terminal = new Terminal({ ...looks(root), cursorBlink: false, disableStdin: true, scrollback: SCROLLBACK_LINES });
    this.fit = new FitAddon();
    this.search = new SearchAddon();
    this.terminal.loadAddon(this.fit);
    this.terminal.loadAddon(this.search);
    this.terminal.open(this.screen);
    this.terminal.textarea.setAttribute("aria-label", gettext("Serial line"));
    // The keys are the player's.
    this.terminal.attachCustomKeyEventHandler(() => false);
    new ResizeObserver(() => this.fit.fit()).observe(this.screen);
    this.fit.fit();
    this.listenToSearch();
    this.open();
  }

  restart() {
    this.terminal.reset();
  }

  async show(data) {
    this.unshown += data.length;
    const written = new Promise((done) => this.terminal.write(data, done)).then(() => { this.unshown -= data.length; });
    if (this.unshown > MOST_UNSHOWN) await written;
  }

  async settle() {
    await new Promise((done) => this.terminal.write("", done));
  }

  key(event) {
    // Its text area is there to be focused and takes nothing.
    if (event.target === this.terminal.textarea) Object.defineProperty(event, "target", { value: this.root });
    super.key(event);
  }

  // --- search

  listenToSearch() {
    const form = this.root.querySelector("[data-search]");
    const input = form.querySelector("input");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.find(input.value.trim());
    });
    input.addEventListener("input", () => { if (!input.value) this.find(""); });
    this.list = document.querySelector("[data-hits]");
    this.list.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-at]");
      if (button) this.jump(button);
    });
  }

  /** List every line that holds the words, as they are found. */
  async find(words) {
    this.words = words;
    const list = this.list.querySelector("ol");
    list.replaceChildren();
    this.search.clearDecorations();
    this.list.hidden = !words;
    if (!words) return;
    const say = (text) => { this.list.querySelector("[data-said]").textContent = text; };
    say(gettext("Searching…"));
    let count = 0;
    try {
      for await (const hit of hits(this.address, words)) {
        if (this.words !== words) return;
        list.append(this.entry(hit, words));
        count += 1;
        if (count === MOST_HITS) break;
      }
    } catch (error) {
      say(error.message);
      return;
    }
    if (this.words !== words) return;
    const text = count === MOST_HITS ? gettext("The first %(count)s lines with “%(words)s”") : gettext("Lines with “%(words)s”: %(count)s");
    say(interpolate(text, { count, words }));
  }

  entry({ at, line }, words) {
    const [item, button, time, text, mark] = ["li", "button", "span", "code", "mark"].map((name) => document.createElement(name));
    const found = line.toLowerCase().lastIndexOf(words.toLowerCase());
    const [from, to] = [Math.max(0, found - AROUND), found + words.length];
    button.type = "button";
    button.dataset.at = at;
    time.textContent = clock(at);
    mark.textContent = line.slice(found, to);
    text.append((from ? "…" : "") + line.slice(from, found), mark, line.slice(to, to + AROUND));
    button.append(time, text);
    item.append(button);
    return item;
  }

  async jump(button) {
    for (const other of this.list.querySelectorAll("[aria-current]")) other.removeAttribute("aria-current");
    button.setAttribute("aria-current", "true");
    this.pause();
    this.sought = this.words;
    this.seek(Number(button.dataset.at));
  }

  async go(milliseconds) {
    await super.go(milliseconds);
    if (!this.sought || this.wanted !== null) return;
    this.search.findPrevious(this.sought, MARKS);
    this.sought = "";
  }
}

withoutInlineStyles();
for (const root of document.querySelectorAll('[data-replay="serial"]')) new ReplayedLine(root);
