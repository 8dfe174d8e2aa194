// The keys of a guest's keyboard: those that can be pressed from the page, and the modifiers that wait for the next one.

import RFB from "../novnc/core/rfb.js";
import KeyTable from "../novnc/core/input/keysym.js";
import { gettext, interpolate } from "./console_line.js";

const REPEAT_AFTER_MS = 450;
const REPEAT_MS = 80;

/** What the keys are where a display knows no scan codes. Elsewhere it is their place alone that counts. */
const KEYSYMS = {
  ControlLeft: KeyTable.XK_Control_L,
  AltLeft: KeyTable.XK_Alt_L,
  AltRight: KeyTable.XK_ISO_Level3_Shift,
  ShiftLeft: KeyTable.XK_Shift_L,
  MetaLeft: KeyTable.XK_Super_L,
  Enter: KeyTable.XK_Return,
  Tab: KeyTable.XK_Tab,
  Space: KeyTable.XK_space,
  Insert: KeyTable.XK_Insert,
  Delete: KeyTable.XK_Delete,
  Backspace: KeyTable.XK_BackSpace,
  Escape: KeyTable.XK_Escape,
  Home: KeyTable.XK_Home,
  End: KeyTable.XK_End,
  PageUp: KeyTable.XK_Page_Up,
  PageDown: KeyTable.XK_Page_Down,
  ArrowUp: KeyTable.XK_Up,
  ArrowDown: KeyTable.XK_Down,
  ArrowLeft: KeyTable.XK_Left,
  ArrowRight: KeyTable.XK_Right,
  ContextMenu: KeyTable.XK_Menu,
  PrintScreen: KeyTable.XK_Print,
  Pause: KeyTable.XK_Pause,
  CapsLock: KeyTable.XK_Caps_Lock,
  NumLock: KeyTable.XK_Num_Lock,
  ScrollLock: KeyTable.XK_Scroll_Lock,
  ...Object.fromEntries([..."abcdefghijklmnopqrstuvwxyz"].map((letter) => [`Key${letter.toUpperCase()}`, KeyTable[`XK_${letter}`]])),
  ...Object.fromEntries(Array.from({ length: 12 }, (_, at) => [`F${at + 1}`, KeyTable[`XK_F${at + 1}`]])),
};
export const keysymOf = (code) => KEYSYMS[code] ?? 0;

const NAMES = { ControlLeft: "Ctrl", AltLeft: "Alt", AltRight: "AltGr", ShiftLeft: "Shift", MetaLeft: "Super" };
export const isModifier = (code) => /^(Control|Alt|Shift|Meta)(Left|Right)$/.test(code);

const COMBINATIONS = {
  system: [
    ["Ctrl+Alt+Del", "ControlLeft AltLeft Delete"],
    ["Ctrl+Alt+Bksp", "ControlLeft AltLeft Backspace"],
    ["Ctrl+Esc", "ControlLeft Escape"],
    ["Ctrl+Shift+Esc", "ControlLeft ShiftLeft Escape"],
    ["Alt+Tab", "AltLeft Tab"],
    ["Alt+F4", "AltLeft F4"],
    ["Super", "MetaLeft"],
    ["Menu", "ContextMenu"],
    ["Super+L", "MetaLeft KeyL"],
    ["Super+R", "MetaLeft KeyR"],
    ["PrtSc", "PrintScreen"],
    ["Alt+PrtSc", "AltLeft PrintScreen"],
    ["Pause", "Pause"],
    ["Ctrl+Break", "ControlLeft Pause"],
    ["Num Lock", "NumLock"],
    ["Caps Lock", "CapsLock"],
    ["Scroll Lock", "ScrollLock"],
    ["Insert", "Insert"],
    ["Esc", "Escape"],
    ["Tab", "Tab"],
  ],
  consoles: Array.from({ length: 12 }, (_, at) => [`F${at + 1}`, `ControlLeft AltLeft F${at + 1}`]),
  sysrq: [
    ["R", "AltLeft PrintScreen KeyR", gettext("take the keyboard back from what holds it")],
    ["E", "AltLeft PrintScreen KeyE", gettext("ask all processes to end")],
    ["I", "AltLeft PrintScreen KeyI", gettext("kill all processes")],
    ["S", "AltLeft PrintScreen KeyS", gettext("write everything to the disks")],
    ["U", "AltLeft PrintScreen KeyU", gettext("mount everything read-only")],
    ["B", "AltLeft PrintScreen KeyB", gettext("restart at once")],
  ],
};

/** A guest's display that knows which keys are down there, whoever pressed them. It tells of each by a `key` event. */
export class Display extends RFB {
  down = new Map();

  sendKey(keysym, code, down) {
    super.sendKey(keysym, code, down);
    if (down === undefined || !code) return;
    if (down) this.down.set(code, keysym);
    else this.down.delete(code);
    this.dispatchEvent(new CustomEvent("key", { detail: { code, down } }));
  }

  /** Let go of every key. noVNC does so only when the whole window loses the keyboard. */
  lift() {
    for (const [code, keysym] of this.down) super.sendKey(keysym, code, false);
    this.down.clear();
  }

  /** Whether the guest's Caps Lock is on, as far as it tells. */
  get capsLock() {
    return this._remoteCapsLock === true;
  }
}

/**
 * The keys in the page: combinations, a row for fingers, and modifiers. A modifier that was pressed once waits for the
 * next key and goes up with it; pressed twice it stays down until it is pressed again.
 */
export class Keys {
  constructor(root) {
    this.root = root;
    this.display = null;
    this.sticky = new Map(); // code -> "once" or "held"
    this.build();
    this.listen();
  }

  /** From now on keys go to this display. */
  take(display) {
    this.display = display;
    display.addEventListener("key", ({ detail }) => this.heard(detail));
  }

  leave() {
    this.release();
    this.display = null;
  }

  key(code, down, keysym = keysymOf(code)) {
    this.display?.sendKey(keysym, code, down);
  }

  /** Press these keys together and let go of them in reverse. */
  press(codes) {
    for (const code of codes) this.key(code, true);
    for (const code of [...codes].reverse()) this.key(code, false);
  }

  /** Let go of every key, also of those that wait. */
  release() {
    this.display?.lift();
    this.sticky.clear();
    this.show();
  }

  /** No key is down from now on, and letters are as their keys make them; whether Caps Lock was on until then. */
  plain() {
    this.release();
    const locked = this.display?.capsLock ?? false;
    if (locked) this.press(["CapsLock"]);
    return locked;
  }

  /** Not down, down for the next key, down until it is pressed again. */
  turn(code) {
    const before = this.sticky.get(code);
    if (before === "held") return this.key(code, false);
    this.sticky.set(code, before ? "held" : "once");
    if (!before) this.key(code, true);
    return this.show();
  }

  heard({ code, down }) {
    if (down) return;
    if (this.sticky.delete(code)) this.show();
    else if (!isModifier(code)) for (const [one, how] of [...this.sticky]) if (how === "once") this.key(one, false);
  }

  // --- what the page shows of them

  show() {
    for (const button of this.root.querySelectorAll("[data-hold]")) {
      const { hold } = button.dataset;
      const how = this.sticky.get(hold) ?? "";
      button.dataset.how = how;
      button.setAttribute("aria-pressed", String(Boolean(how)));
      const words = { "": gettext("%(key)s: press it for the next key, twice to hold it down"), once: gettext("%(key)s: down for the next key; press it again to hold it down"), held: gettext("%(key)s: held down; press it to let go") };
      button.title = interpolate(words[how], { key: NAMES[hold] });
    }
    const stuck = this.root.querySelector("[data-stuck]");
    if (stuck) stuck.textContent = [...this.sticky.keys()].map((code) => NAMES[code]).join("+");
  }

  build() {
    for (const list of this.root.querySelectorAll("[data-combinations]")) {
      for (const [name, codes, what = ""] of COMBINATIONS[list.dataset.combinations]) {
        const button = document.createElement("button");
        Object.assign(button, { type: "button", textContent: name, title: what });
        button.dataset.codes = codes;
        list.append(button);
      }
    }
    this.show();
  }

  /** Do what a key in the page is for. */
  use(button) {
    const { hold, codes } = button.dataset;
    if (hold) this.turn(hold);
    else if (!this.repeated) this.press(codes.split(" "));
    this.repeated = false;
  }

  listen() {
    window.addEventListener("blur", () => this.release());
    document.addEventListener("visibilitychange", () => document.hidden && this.release());
    // A key that was down when the keyboard went to another part of the page is let go of where nobody hears it.
    this.root.querySelector("[data-screen]").addEventListener("focusout", () => this.liftPhysical());
    const row = this.root.querySelector("[data-row]");
    if (!row) return;
    // The keyboard of a phone goes away with the field that it writes to.
    for (const name of ["mousedown", "contextmenu"]) row.addEventListener(name, (event) => event.preventDefault());
    row.addEventListener("pointerdown", (event) => this.repeat(event.target.closest("[data-repeat]:not([disabled])")));
    for (const name of ["pointerup", "pointercancel", "pointerleave"]) row.addEventListener(name, () => clearTimeout(this.timer));
  }

  /** Keys that wait stay down. */
  liftPhysical() {
    for (const code of [...(this.display?.down.keys() ?? [])]) if (!this.sticky.has(code)) this.key(code, false);
  }

  /** A key that a finger stays on is pressed again and again. */
  repeat(button) {
    clearTimeout(this.timer);
    this.repeated = false;
    if (!button) return;
    const again = () => {
      this.repeated = true;
      this.press(button.dataset.codes.split(" "));
      this.timer = setTimeout(again, REPEAT_MS);
    };
    this.timer = setTimeout(again, REPEAT_AFTER_MS);
  }
}
