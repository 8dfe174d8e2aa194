// A guest's screen in the page: noVNC on a console's socket, with keys, typed text, sizes and the clipboard.

import RFB from "../novnc/core/rfb.js";
import keysyms from "../novnc/core/input/keysymdef.js";
import KeyTable from "../novnc/core/input/keysym.js";
import { layouts, strokes } from "./console_layouts.js";
import { ConsoleLine, gettext, interpolate } from "./console_line.js";

const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

// QEMU passes keys on one in ten milliseconds: faster, and they would pile up where Cancel cannot reach them.
const EVENT_MS = 12;

const MODIFIERS = {
  ControlLeft: KeyTable.XK_Control_L,
  AltLeft: KeyTable.XK_Alt_L,
  AltRight: KeyTable.XK_ISO_Level3_Shift,
  ShiftLeft: KeyTable.XK_Shift_L,
  MetaLeft: KeyTable.XK_Super_L,
};
const NAMED = {
  Enter: KeyTable.XK_Return,
  Tab: KeyTable.XK_Tab,
  Space: KeyTable.XK_space,
  Delete: KeyTable.XK_Delete,
  Backspace: KeyTable.XK_BackSpace,
  Escape: KeyTable.XK_Escape,
  PrintScreen: KeyTable.XK_Print,
  KeyL: KeyTable.XK_l,
  KeyR: KeyTable.XK_r,
  ...Object.fromEntries(Array.from({ length: 12 }, (_, at) => [`F${at + 1}`, KeyTable[`XK_F${at + 1}`]])),
};
const COMBINATIONS = [
  ["Ctrl+Alt+Del", "ControlLeft AltLeft Delete"],
  ["Ctrl+Alt+Backspace", "ControlLeft AltLeft Backspace"],
  ...Array.from({ length: 12 }, (_, at) => [`Ctrl+Alt+F${at + 1}`, `ControlLeft AltLeft F${at + 1}`]),
  ["Alt+F4", "AltLeft F4"],
  ["Alt+Tab", "AltLeft Tab"],
  ["Super", "MetaLeft"],
  ["Super+L", "MetaLeft KeyL"],
  ["Super+R", "MetaLeft KeyR"],
  ["PrtSc", "PrintScreen"],
  ["Esc", "Escape"],
  ["Tab", "Tab"],
];

class Screen extends ConsoleLine {
  device = "screen";

  constructor(root) {
    super(root);
    this.held = new Set();
    this.listenToKeys();
    this.listenToDialogs();
    this.listenToEntry();
    this.buildKeys();
    this.chooseSize(this.rememberedSize());
    this.open();
  }

  meanings(words) {
    return {
      4400: ["stop", gettext("The display cannot be carried to a browser"), words],
      4410: ["wait", gettext("The guest's display went away"), gettext("The console comes back by itself when it runs again.")],
      4422: ["retry", gettext("The guest's display cannot be reached on its host"), gettext("Is it a VNC display, and does the machine respond?")],
      4423: ["stop", gettext("The guest's display cannot be reached from here"), gettext("Add this host by SSH instead, or let the display listen on an address that this site can reach.")],
      4425: ["stop", gettext("The host lets us in, but not to the display"), gettext("Let sshd there forward to unix sockets and ports (AllowStreamLocalForwarding, AllowTcpForwarding), for an account that may use the display's socket.")],
      4427: ["stop", gettext("The machine has no display"), gettext("Use its serial line, or give it a VNC display.")],
      4428: ["stop", gettext("The machine has no VNC display"), gettext("Open it with a viewer of its own, or give it a VNC display.")],
      4430: ["stop", gettext("The display's certificate is not good"), gettext("It must be signed by the authority that is trusted for hosts by TLS, and name the host as it is named here.")],
    };
  }

  begin(bytes) {
    this.rfb = new RFB(this.screen, bytes, { shared: true });
    this.rfb.background = "transparent";
    this.rfb.viewOnly = this.mode === "view";
    this.rfb.showDotCursor = true;
    this.rfb.addEventListener("connect", () => this.connected());
    this.rfb.addEventListener("credentialsrequired", () => this.askPassword());
    this.rfb.addEventListener("securityfailure", () => this.askPassword());
    this.rfb.addEventListener("clipboard", (event) => this.heardClipboard(event.detail.text));
    this.applySize();
  }

  leave() {
    const { rfb } = this;
    this.rfb = null;
    rfb?.disconnect();
    this.release();
    this.stopTyping();
  }

  modeChanged() {
    if (this.mode === "view") {
      this.release();
      this.dialog("type")?.close();
    }
    if (this.rfb) this.rfb.viewOnly = this.mode === "view";
    this.applySize();
  }

  focus() {
    this.rfb?.focus({ preventScroll: true });
  }

  // --- size

  rememberedSize() {
    const size = localStorage.getItem("console-size");
    return this.root.querySelector(`input[name=console-size][value="${size}"]`) ? size : "fit";
  }

  chooseSize(size) {
    this.size = size;
    localStorage.setItem("console-size", size);
    this.root.querySelector(`input[name=console-size][value="${size}"]`).checked = true;
    this.applySize();
  }

  applySize() {
    this.root.dataset.size = this.size;
    if (!this.rfb) return;
    this.rfb.scaleViewport = this.size !== "real";
    this.rfb.resizeSession = this.size === "guest" && this.mode === "control";
  }

  // --- keys

  key(code, down, keysym = MODIFIERS[code] ?? NAMED[code] ?? 0) {
    this.rfb?.sendKey(keysym, code, down);
  }

  /** Press these keys together and let go of them in reverse. */
  press(codes) {
    for (const code of codes) this.key(code, true);
    for (const code of [...codes].reverse()) this.key(code, false);
  }

  holdKey(button) {
    const code = button.dataset.hold;
    const down = !this.held.has(code);
    if (down) this.held.add(code);
    else this.held.delete(code);
    button.setAttribute("aria-pressed", String(down));
    this.key(code, down);
    this.focus();
  }

  release() {
    for (const code of this.held) this.key(code, false);
    this.held.clear();
    for (const button of this.root.querySelectorAll("[data-hold]")) button.setAttribute("aria-pressed", "false");
  }

  buildKeys() {
    const list = this.root.querySelector("[data-combinations]");
    for (const [name, codes] of list ? COMBINATIONS : []) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.dataset.codes = codes;
      list.append(button);
    }
  }

  // --- type text

  openTyping() {
    const dialog = this.dialog("type");
    const select = dialog.querySelector("[data-layout]");
    if (!select.options.length) {
      for (const [id, name] of layouts) select.add(new Option(name, id));
      select.value = localStorage.getItem("console-layout") || "us";
    }
    dialog.showModal();
    dialog.querySelector("[data-text]").focus();
  }

  async typeText() {
    const dialog = this.dialog("type");
    const text = dialog.querySelector("[data-text]").value + (dialog.querySelector("[data-enter]").checked ? "\n" : "");
    const layout = dialog.querySelector("[data-layout]").value;
    localStorage.setItem("console-layout", layout);
    const progress = dialog.querySelector("[data-progress]");
    const characters = [...text.replace(/\r\n?/g, "\n")];
    const typing = { cancelled: false };
    this.typing = typing;
    progress.hidden = false;
    progress.max = characters.length || 1;
    dialog.querySelector("[data-go]").disabled = true;
    for (let at = 0; at < characters.length && !typing.cancelled; at++) {
      progress.value = at;
      await this.typeCharacter(characters[at], layout);
    }
    progress.hidden = true;
    dialog.querySelector("[data-go]").disabled = false;
    if (typing.cancelled) return;
    this.typing = null;
    dialog.querySelector("[data-text]").value = "";
    dialog.close();
    this.focus();
  }

  async typeCharacter(character, layout) {
    const keysym = keysyms.lookup(character.codePointAt(0));
    // A character that no key of this layout makes goes by its name alone; most guests then miss it.
    for (const codes of strokes(character, layout) ?? [[undefined]]) {
      const last = codes.length - 1;
      for (let at = 0; at <= last; at++) {
        this.key(codes[at], true, at === last ? (NAMED[codes[at]] ?? keysym) : MODIFIERS[codes[at]]);
        await sleep(EVENT_MS);
      }
      for (let at = last; at >= 0; at--) {
        this.key(codes[at], false, at === last ? (NAMED[codes[at]] ?? keysym) : MODIFIERS[codes[at]]);
        await sleep(EVENT_MS);
      }
    }
  }

  stopTyping() {
    if (this.typing) this.typing.cancelled = true;
    this.typing = null;
  }

  /** Say which characters the chosen keyboard cannot make. */
  checkText() {
    const dialog = this.dialog("type");
    const layout = dialog.querySelector("[data-layout]").value;
    const lost = new Set([...dialog.querySelector("[data-text]").value].filter((one) => one !== "\r" && !strokes(one, layout)));
    const element = dialog.querySelector("[data-lost]");
    element.hidden = !lost.size;
    element.textContent = interpolate(gettext("Not on this keyboard, and probably lost: %(characters)s"), { characters: [...lost].join(" ") });
  }

  // --- touch keyboard: a hidden field takes what the device's keyboard makes

  listenToEntry() {
    const entry = this.root.querySelector("[data-entry]");
    const layout = () => localStorage.getItem("console-layout") || "us";
    entry.addEventListener("beforeinput", async (event) => {
      event.preventDefault();
      if (event.inputType === "deleteContentBackward") this.press(["Backspace"]);
      else if (event.inputType === "insertLineBreak" || event.inputType === "insertParagraph") this.press(["Enter"]);
      else for (const character of event.data ?? "") await this.typeCharacter(character, layout());
    });
    entry.addEventListener("keydown", (event) => {
      if (!["Escape", "Tab", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"].includes(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      this.rfb?.sendKey(KeyTable[{ ArrowUp: "XK_Up", ArrowDown: "XK_Down", ArrowLeft: "XK_Left", ArrowRight: "XK_Right" }[event.key] ?? `XK_${event.key}`], event.code);
    });
  }

  // --- the rest of the bar

  askPassword() {
    const dialog = this.dialog("password");
    dialog.querySelector("[data-text]").value = "";
    dialog.showModal();
  }

  heardClipboard(text) {
    const button = this.root.querySelector('[data-act="clipboard"]');
    if (!button) return;
    button.hidden = false;
    this.dialog("clipboard").querySelector("[data-text]").value = text;
  }

  screenshot() {
    this.rfb.toBlob((blob) => this.save(blob, "png"), "image/png");
  }

  acts() {
    return {
      clipboard: () => this.dialog("clipboard").showModal(),
      "ctrl-alt-del": () => this.press(["ControlLeft", "AltLeft", "Delete"]),
      keyboard: () => this.root.querySelector("[data-entry]").focus(),
      screenshot: () => this.screenshot(),
      type: () => this.openTyping(),
    };
  }

  listenToKeys() {
    this.root.addEventListener("click", (event) => {
      const button = event.target.closest("button:not([disabled])");
      if (button?.dataset.hold) this.holdKey(button);
      else if (button?.dataset.codes) {
        this.press(button.dataset.codes.split(" "));
        this.closeMenus();
        this.focus();
      }
    });
    this.root.addEventListener("change", (event) => {
      if (event.target.name === "console-size") {
        this.chooseSize(event.target.value);
        this.closeMenus();
      }
    });
    window.addEventListener("blur", () => this.release());
  }

  listenToDialogs() {
    const password = this.dialog("password");
    password.querySelector("form").addEventListener("submit", () => this.rfb?.sendCredentials({ password: password.querySelector("[data-text]").value }));
    password.querySelector("[data-cancel]").addEventListener("click", () => {
      this.close();
      this.show("ended", gettext("The display wants its password"));
    });
    const type = this.dialog("type");
    if (!type) return;
    type.querySelector("[data-go]").addEventListener("click", () => this.typeText());
    type.querySelector("[data-mask]").addEventListener("change", (event) => type.classList.toggle("masked", event.target.checked));
    for (const name of ["text", "layout"]) type.querySelector(`[data-${name}]`).addEventListener("input", () => this.checkText());
    type.addEventListener("close", () => {
      this.stopTyping();
      if (type.querySelector("[data-mask]").checked) type.querySelector("[data-text]").value = "";
    });
    const clipboard = this.dialog("clipboard");
    clipboard.querySelector("[data-go]").addEventListener("click", () => {
      this.rfb?.clipboardPasteFrom(clipboard.querySelector("[data-text]").value);
      clipboard.close();
    });
  }
}

for (const root of document.querySelectorAll("[data-console]")) new Screen(root);
