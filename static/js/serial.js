// A guest's serial line in the page: xterm.js on a console's socket, with search, copies and a log to keep.

import { FitAddon } from "../xterm/addon-fit.js";
import { SearchAddon } from "../xterm/addon-search.js";
import { Terminal } from "../xterm/xterm.js";
import { ConsoleLine, gettext } from "./console_line.js";
import { looks, MARKS, withoutInlineStyles } from "./terminal.js";

const SCROLLBACK_LINES = 50000;
const KEPT_BYTES = 16 * 1024 * 1024;
const PIECE = 1024;

class SerialLine extends ConsoleLine {
  device = "serial";

  constructor(root) {
    super(root);
    this.said = [];
    this.saidBytes = 0;
    this.makeTerminal();
    this.listenToSearch();
    // Elsewhere the browser's own menu pastes.
    if (!navigator.clipboard?.readText) root.querySelector('[data-act="paste"]')?.remove();
    this.open();
  }

  meanings(words) {
    return {
      4400: ["stop", gettext("The serial line cannot be carried to a browser"), words],
      4410: ["wait", gettext("The serial line went away"), gettext("The console comes back by itself when the machine runs again.")],
      4422: ["retry", gettext("The serial line cannot be read"), gettext("Trying again by itself.")],
      4427: ["stop", gettext("The machine has no serial line"), gettext("Give it one, or use its screen.")],
      4431: ["retry", gettext("Somebody else reads the serial line"), gettext("End that first, such as “virsh console” on the host. Trying again by itself.")],
    };
  }

  makeTerminal() {
    this.terminal = new Terminal({
      ...looks(this.root),
      cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      scrollback: SCROLLBACK_LINES,
    });
    this.fit = new FitAddon();
    this.search = new SearchAddon();
    this.terminal.loadAddon(this.fit);
    this.terminal.loadAddon(this.search);
    this.terminal.open(this.screen);
    this.terminal.textarea.setAttribute("aria-label", gettext("Serial line"));
    this.terminal.attachCustomKeyEventHandler((event) => this.ownKey(event));
    this.terminal.onData((text) => this.type(new TextEncoder().encode(text)));
    this.terminal.onBinary((text) => this.type(Uint8Array.from(text, (one) => one.charCodeAt(0))));
    new ResizeObserver(() => this.fit.fit()).observe(this.screen);
    this.fit.fit();
  }

  begin(bytes) {
    bytes.binaryType = "arraybuffer";
    bytes.addEventListener("open", () => this.connected());
    // What was said before comes again with each new connection.
    this.terminal.reset();
    this.said = [];
    this.saidBytes = 0;
    bytes.addEventListener("message", (event) => {
      if (bytes === this.bytes) this.hear(new Uint8Array(event.data));
    });
  }

  hear(data) {
    this.said.push(data);
    this.saidBytes += data.length;
    while (this.saidBytes > KEPT_BYTES) this.saidBytes -= this.said.shift().length;
    this.terminal.write(data);
  }

  leave() {}

  modeChanged() {}

  mayHideBar() {
    return false;
  }

  focus() {
    this.terminal.focus();
  }

  /** What is typed goes in small pieces: a guest takes no more at once. */
  type(data) {
    if (this.mode !== "control" || this.bytes?.readyState !== WebSocket.OPEN) return;
    for (let at = 0; at < data.length; at += PIECE) this.bytes.send(data.subarray(at, at + PIECE));
  }

  /** Ctrl+Shift+C copies and Ctrl+Shift+F searches, as in other terminals; the browser pastes. All else is the guest's. */
  ownKey(event) {
    const act = event.ctrlKey && event.shiftKey && { KeyC: "copy", KeyF: "find" }[event.code];
    if (!act || event.type !== "keydown") return !act;
    event.preventDefault();
    this.act(act);
    return false;
  }

  /** By the browser's own command, which the terminal answers: it needs no HTTPS. */
  copy() {
    if (!this.terminal.hasSelection()) this.terminal.selectAll();
    this.focus();
    document.execCommand("copy");
  }

  async paste() {
    const text = await navigator.clipboard.readText().catch(() => "");
    if (text) this.terminal.paste(text);
    this.focus();
  }

  tellSize() {
    const { rows, cols } = this.terminal;
    this.type(new TextEncoder().encode(`stty rows ${rows} cols ${cols}\r`));
    this.focus();
  }

  acts() {
    return {
      copy: () => this.copy(),
      download: () => this.save(new Blob(this.said, { type: "text/plain" }), "log"),
      find: () => this.root.querySelector("[data-search] input").focus(),
      paste: () => this.paste(),
      "tell-size": () => this.tellSize(),
    };
  }

  listenToSearch() {
    const form = this.root.querySelector("[data-search]");
    const input = form.querySelector("input");
    const find = (incremental) => {
      const found = !input.value || this.search.findPrevious(input.value, { ...MARKS, incremental });
      input.setAttribute("aria-invalid", String(!found));
      if (!input.value) this.search.clearDecorations();
    };
    input.addEventListener("input", () => find(true));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      find(false);
    });
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      input.value = "";
      find(false);
      this.focus();
    });
  }
}

withoutInlineStyles();
for (const root of document.querySelectorAll("[data-console=serial]")) new SerialLine(root);
