// A guest's screen in the page: asks for the console, connects noVNC to the proxy, and says in words what happens.

import RFB from "../novnc/core/rfb.js";
import keysyms from "../novnc/core/input/keysymdef.js";
import KeyTable from "../novnc/core/input/keysym.js";
import { layouts, strokes } from "./console_layouts.js";
import { ours, ourSocket } from "./site.js";
import "./here.js";

const gettext = (text) => (window.gettext ? window.gettext(text) : text);
const interpolate = (text, values) => text.replace(/%\((\w+)\)s/g, (_, name) => values[name]);
const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

// QEMU passes keys on one in ten milliseconds: faster, and they would pile up where Cancel cannot reach them.
const EVENT_MS = 12;
const RETRY_SECONDS = [0.3, 1, 2, 4, 8, 15];
const WAIT_SECONDS = 3;
const SETTLED_MS = 10000;
const BAR_MS = 4000;
const HINT_MS = 15000;

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

/** What an ending means to a person. `then`: "stop" for good, "retry" soon, "wait" until the machine runs. */
function meaning(code, words) {
  const by = {
    logout: ["stop", gettext("You were signed out"), gettext("Sign in again, then connect again.")],
    password: ["stop", gettext("Your password was changed"), gettext("Sign in with the new one, then connect again.")],
    deactivated: ["stop", gettext("Your account was deactivated"), gettext("Ask an administrator.")],
    right: ["stop", gettext("Your right to this console was withdrawn"), gettext("Ask an administrator.")],
    missing: ["stop", gettext("The machine is gone from its host"), ""],
    replaced: ["stop", gettext("This console was opened again elsewhere"), ""],
    off: ["wait", gettext("The machine is off"), gettext("The console comes back by itself when it starts.")],
    moved: ["retry", gettext("The machine moved to another host"), ""],
    lease: ["retry", gettext("This page was away for too long"), ""],
  };
  const restarted = ["retry", gettext("The console proxy was restarted"), gettext("Connecting again by itself.")];
  const lost = [
    "retry",
    gettext("The connection to this site was lost"),
    gettext("Connecting again by itself. If it stays so: the console proxy may not run, or the network is away."),
  ];
  const broken = ["stop", gettext("The browser and the console proxy misunderstood each other"), words];
  const codes = {
    1001: ["retry", gettext("The browser fell silent"), gettext("Connecting again by itself.")],
    1002: broken,
    1003: broken,
    1009: broken,
    1012: restarted,
    4400: ["stop", gettext("The display cannot be carried to a browser"), words],
    4401: ["retry", gettext("The console's ticket was refused"), gettext("Asking for another one.")],
    4404: ["stop", gettext("There is no such machine"), ""],
    4409: ["wait", gettext("Waiting for the machine"), `${words} ${gettext("The console comes back by itself when the machine runs.")}`],
    4410: ["wait", gettext("The guest's display went away"), gettext("The console comes back by itself when it runs again.")],
    4421: ["retry", gettext("The host cannot be reached"), gettext("Look at the host's page for the reason.")],
    4422: ["retry", gettext("The guest's display cannot be reached on its host"), gettext("Is it a VNC display, and does the machine respond?")],
    4423: ["stop", gettext("The guest's display cannot be reached from here"), gettext("Add this host by SSH instead, or let the display listen on an address that this site can reach.")],
    4429: ["stop", gettext("Too many consoles"), words],
    4450: ["retry", gettext("Redis does not answer, so no console can be opened"), gettext("Consoles that are open go on. Trying again by itself.")],
  };
  if (code === 4403) {
    const [then, title, remedy] = by[words] || ["stop", words || gettext("You may not use this console"), ""];
    return { then, title, remedy, detail: "" };
  }
  const [then, title, remedy] = codes[code] || lost;
  const detail = [4421, 4422, 4423].includes(code) ? words : "";
  return { then, title, remedy, detail };
}

class ConsolePanel {
  constructor(root) {
    this.root = root;
    this.domain = root.dataset.domain;
    this.mayControl = "mayControl" in root.dataset;
    this.mode = this.mayControl ? "control" : "view";
    this.embedded = root.classList.contains("embedded");
    this.session = null;
    this.attempt = 0;
    this.held = new Set();
    this.bar = root.querySelector(".console-bar");
    this.stateElement = root.querySelector(".console-state");
    this.screen = root.querySelector("[data-screen]");
    this.veil = root.querySelector("[data-veil]");
    this.againButton = root.querySelector('[data-act="again"]');
    this.listen();
    this.buildKeys();
    this.chooseSize(this.rememberedSize());
    this.open();
  }

  // --- the two sockets

  /** Ask for a console; what follows comes over the lease's socket. */
  open() {
    clearTimeout(this.timer);
    this.close();
    if (!this.root.dataset.origins.split(" ").includes(location.origin)) {
      const known = this.root.dataset.origins.split(" ")[0];
      this.show("ended", gettext("Consoles are not allowed from this address"), {
        remedy: interpolate(gettext("Open this site at %(address)s, or set WEBVIRT_PUBLIC_URL to %(here)s."), { address: known + ours("/"), here: location.origin + ours("/") }),
      });
      return;
    }
    this.refused = "";
    // Whoever waits for a machine keeps reading what for, while we ask again and again.
    if (this.root.dataset.state !== "waiting") this.show("asking", gettext("Connecting…"));
    const replaces = this.session ? `&replaces=${this.session}` : "";
    this.session = null;
    this.hold(`?mode=${this.mode}${replaces}`);
  }

  /** The lease: open for as long as the console is. When it breaks while the picture goes on, it is taken up again. */
  hold(query) {
    const lease = new WebSocket(ourSocket(`/ws/console/${this.domain}/${query}`));
    this.lease = lease;
    lease.addEventListener("message", (event) => {
      if (lease !== this.lease) return;
      const said = JSON.parse(event.data);
      if (said.ticket) this.connect(said);
      if (said.others) this.showOthers(said.others);
      if (said.refused) this.refused = said.refused;
    });
    lease.addEventListener("close", (event) => {
      if (lease !== this.lease) return;
      this.lease = null;
      // Only who is signed out is refused so here; the proxy's own code of that number is about the ticket.
      if (!this.bytes && event.code === 4401) this.ended(4403, "logout");
      else if (!this.bytes) this.ended(event.code, this.refused);
      else if (this.session && event.code !== 4403) {
        this.leaseTimer = setTimeout(() => this.hold(`?session=${this.session}`), 1000 + 2000 * Math.random());
      }
    });
  }

  connect({ session, ticket }) {
    this.session = session;
    const bytes = new WebSocket(ourSocket("/ws/console/bytes/"), ["binary", `ticket.${ticket}`]);
    this.bytes = bytes;
    bytes.addEventListener("close", (event) => {
      if (bytes !== this.bytes) return;
      this.bytes = null;
      this.ended(event.code, event.reason);
    });
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

  connected() {
    this.since = performance.now();
    const words = this.mode === "view" ? gettext("Connected, view only") : gettext("Connected");
    this.show("connected", words);
    this.bars("show", BAR_MS);
    this.rfb.focus({ preventScroll: true });
    const hint = this.root.querySelector("[data-hint]");
    if (hint && !sessionStorage.getItem("console-hint")) {
      hint.hidden = false;
      setTimeout(() => this.act("hint"), HINT_MS);
    }
  }

  ended(code, words) {
    if (this.since && performance.now() - this.since > SETTLED_MS) this.attempt = 0;
    this.since = null;
    this.close();
    const { then, title, remedy, detail } = meaning(code, words);
    this.stopTyping();
    this.show(then === "stop" ? "ended" : "waiting", title, { remedy, detail });
    if (then === "stop") return;
    const base = then === "wait" ? WAIT_SECONDS : RETRY_SECONDS[Math.min(this.attempt, RETRY_SECONDS.length - 1)];
    this.attempt += 1;
    // The jitter keeps all pages from coming back in the same moment.
    this.timer = setTimeout(() => this.open(), 1000 * base * (0.75 + Math.random() / 2));
  }

  close() {
    clearTimeout(this.leaseTimer);
    const { lease, bytes, rfb } = this;
    this.lease = this.bytes = this.rfb = null;
    lease?.close();
    // An own socket's end is not announced again, since it is no longer ours by now.
    if (rfb) rfb.disconnect();
    bytes?.close();
    this.release();
    this.root.querySelectorAll("dialog[data-dialog=password][open]").forEach((dialog) => dialog.close());
  }

  // --- what the page shows

  show(state, title, { remedy = "", detail = "" } = {}) {
    this.root.dataset.state = state;
    this.stateElement.dataset.state = state;
    this.stateElement.querySelector("[data-words]").textContent = title;
    this.veil.hidden = state === "connected";
    this.veil.querySelector("[data-title]").textContent = title;
    this.veil.querySelector("[data-detail]").textContent = detail;
    this.veil.querySelector("[data-remedy]").textContent = remedy;
    this.veil.querySelector("[data-spinner]").hidden = state === "ended";
    this.againButton.hidden = state === "asking" || state === "connected";
    if (state !== "connected") this.bars("show");
    const typing = state === "connected" && this.mode === "control";
    for (const element of this.root.querySelectorAll("[data-input]")) {
      element.toggleAttribute("disabled", !typing);
      if (!typing) element.removeAttribute("open");
    }
    for (const element of this.root.querySelectorAll("[data-needs-picture]")) element.disabled = state !== "connected";
  }

  showOthers(others) {
    const element = this.root.querySelector("[data-others]");
    element.hidden = !others.length;
    const names = others.map(({ name, mode }) => (mode === "view" ? interpolate(gettext("%(name)s (watching)"), { name }) : name));
    element.querySelector("span").textContent = names.length > 2 ? `${names[0]} +${names.length - 1}` : names.join(", ");
    element.title = interpolate(gettext("Also here: %(names)s"), { names: names.join(", ") });
  }

  /** The bar hides over a picture, and comes back at the upper edge, at the handle and on focus. */
  bars(what, milliseconds) {
    clearTimeout(this.barTimer);
    const shown = what === "toggle" ? this.root.classList.contains("bar-hidden") : what === "show";
    this.root.classList.toggle("bar-hidden", !shown);
    this.root.querySelector('[data-act="bar"]').setAttribute("aria-expanded", String(shown));
    if (shown && milliseconds) this.barTimer = setTimeout(() => this.hideBar(), milliseconds);
  }

  hideBar() {
    const busy = this.bar.matches(":hover, :focus-within") || this.root.querySelector("details[open], dialog[open]");
    if (busy) this.barTimer = setTimeout(() => this.hideBar(), 1000);
    else if (this.root.dataset.state === "connected" && this.mayHideBar()) this.bars("hide");
  }

  mayHideBar() {
    return !this.embedded || document.fullscreenElement === this.root;
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
    this.rfb?.focus({ preventScroll: true });
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
    this.rfb?.focus({ preventScroll: true });
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
    this.rfb.toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      const now = new Date();
      const stamp = new Date(now - now.getTimezoneOffset() * 60000).toISOString().slice(0, 19).replace(/[T:]/g, "-");
      link.download = `${this.root.dataset.name}-${stamp}.png`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    }, "image/png");
  }

  async fullScreen() {
    if (document.fullscreenElement) return document.exitFullscreen();
    await this.root.requestFullscreen();
    // Where the browser allows it, Esc, Alt-Tab and the like go to the guest as well.
    await navigator.keyboard?.lock?.().catch(() => {});
    return this.rfb?.focus({ preventScroll: true });
  }

  setMode(mode) {
    this.mode = mode;
    this.root.querySelector('[data-act="view-only"]').setAttribute("aria-pressed", String(mode === "view"));
    this.attempt = 0;
    this.open();
  }

  act(what) {
    const acts = {
      again: () => { this.attempt = 0; this.open(); },
      bar: () => this.bars("toggle"),
      clipboard: () => this.dialog("clipboard").showModal(),
      "ctrl-alt-del": () => this.press(["ControlLeft", "AltLeft", "Delete"]),
      "full-screen": () => this.fullScreen(),
      hint: () => { sessionStorage.setItem("console-hint", "seen"); this.root.querySelector("[data-hint]").hidden = true; },
      keyboard: () => this.root.querySelector("[data-entry]").focus(),
      screenshot: () => this.screenshot(),
      type: () => this.openTyping(),
      "view-only": () => this.setMode(this.mode === "view" ? "control" : "view"),
      window: () => window.open(ours(`/vms/${this.domain}/console/window/`), `console-${this.domain}`, "width=1060,height=860"),
    };
    acts[what]();
  }

  dialog(name) {
    return this.root.querySelector(`[data-dialog="${name}"]`);
  }

  listen() {
    this.root.addEventListener("click", (event) => {
      const button = event.target.closest("button, summary");
      if (button?.hasAttribute("disabled") || button?.parentElement.hasAttribute("disabled")) event.preventDefault();
      else if (button?.dataset.act) this.act(button.dataset.act);
      else if (button?.dataset.hold) this.holdKey(button);
      else if (button?.dataset.codes) {
        this.press(button.dataset.codes.split(" "));
        this.closeMenus();
        this.rfb?.focus({ preventScroll: true });
      }
    });
    this.root.addEventListener("change", (event) => {
      if (event.target.name === "console-size") {
        this.chooseSize(event.target.value);
        this.closeMenus();
      }
    });
    this.root.addEventListener("pointerdown", (event) => {
      for (const menu of this.root.querySelectorAll("details[open]")) if (!menu.contains(event.target)) menu.open = false;
    }, true);
    this.root.addEventListener("pointermove", (event) => {
      if (event.pointerType === "mouse" && event.clientY - this.root.getBoundingClientRect().top < 12) this.bars("show", 1500);
    });
    document.addEventListener("fullscreenchange", () => {
      const full = document.fullscreenElement === this.root;
      this.root.querySelector('[data-act="full-screen"]').setAttribute("aria-pressed", String(full));
      this.bars("show", full || !this.embedded ? BAR_MS : 0);
    });
    // A machine that is announced while we wait for it may be running now.
    document.addEventListener("webvirt:changed", (event) => {
      if (this.root.dataset.state === "waiting" && event.detail.includes(`domain:${this.domain}`)) this.open();
    });
    window.addEventListener("pagehide", () => this.close());
    window.addEventListener("blur", () => this.release());
    this.listenToDialogs();
    this.listenToEntry();
  }

  closeMenus() {
    for (const menu of this.root.querySelectorAll("details[open]")) menu.open = false;
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

for (const root of document.querySelectorAll("[data-console]")) new ConsolePanel(root);
