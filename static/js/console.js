// A guest's screen in the page: noVNC on a console's socket, with keys, typed text, sizes and the clipboard.

import { Display, Keys, isModifier } from "./console_keys.js";
import { ConsoleLine, gettext } from "./console_line.js";
import { listenToOffers } from "./console_offers.js";
import { Entry, TypeDialog, Typist } from "./console_typing.js";

class Screen extends ConsoleLine {
  device = "screen";

  constructor(root) {
    super(root);
    this.keys = new Keys(root);
    this.typist = new Typist(root, this.keys);
    this.entry = new Entry(root.querySelector("[data-entry]"), this.typist, (words) => this.sayOfKeys(words));
    if (this.mayControl) this.typing = new TypeDialog(this.dialog("type"), this.typist);
    this.listenToKeys();
    this.listenToDialogs();
    listenToOffers(root);
    const atFirst = matchMedia("(pointer: coarse)").matches && !this.beside ? "shown" : "hidden";
    this.showRow(localStorage.getItem("console-row") ?? atFirst);
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
    this.rfb = new Display(this.screen, bytes, { shared: true });
    this.keys.take(this.rfb);
    this.rfb.addEventListener("key", ({ detail }) => isModifier(detail.code) || this.closeMenus());
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
    this.typing?.stop();
    this.keys.leave();
    rfb?.disconnect();
  }

  modeChanged() {
    if (this.mode === "view") {
      this.keys.release();
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
    const choice = this.root.querySelector(`input[name=console-size][value="${size}"]`);
    // Among others there is none: each fits its place.
    if (choice) {
      localStorage.setItem("console-size", size);
      choice.checked = true;
    }
    this.applySize();
  }

  applySize() {
    this.root.dataset.size = this.size;
    if (!this.rfb) return;
    this.rfb.scaleViewport = this.size !== "real";
    this.rfb.resizeSession = this.size === "guest" && this.mode === "control";
  }

  // --- keys

  /** The row of keys below the screen: there by itself where fingers are what one has. */
  showRow(how) {
    const row = this.root.querySelector("[data-row]");
    if (!row) return;
    row.hidden = how === "hidden";
    this.root.querySelector('[data-act="row"]').setAttribute("aria-pressed", String(!row.hidden));
  }

  turnRow() {
    const how = this.root.querySelector("[data-row]").hidden ? "shown" : "hidden";
    localStorage.setItem("console-row", how);
    this.showRow(how);
  }

  sayOfKeys(words) {
    const element = this.root.querySelector("[data-row-said]");
    element.hidden = !words;
    element.textContent = words;
  }

  // --- the rest of the bar

  askPassword() {
    // Among others, no dialog takes the keys from where somebody types.
    if (this.beside && !this.root.contains(document.activeElement)) return this.endWithoutPassword();
    const dialog = this.dialog("password");
    dialog.querySelector("[data-text]").value = "";
    dialog.showModal();
  }

  endWithoutPassword() {
    this.close();
    this.show("ended", gettext("The display wants its password"));
  }

  /** What the guest copied is kept here until somebody takes it: no guest writes into anybody's clipboard by itself. */
  heardClipboard(text) {
    const field = this.dialog("clipboard")?.querySelector("[data-text]");
    if (!field) return;
    field.value = text;
    this.root.querySelector('[data-act="clipboard"]').classList.add("news");
  }

  openClipboard() {
    this.root.querySelector('[data-act="clipboard"]').classList.remove("news");
    const dialog = this.dialog("clipboard");
    // Elsewhere it is pasted by the browser's own keys.
    if (!navigator.clipboard?.readText) dialog.querySelector('[data-clip="paste"]')?.remove();
    dialog.showModal();
    dialog.querySelector("[data-text]")?.select();
  }

  screenshot() {
    this.rfb.toBlob((blob) => this.save(blob, "png"), "image/png");
  }

  acts() {
    return {
      clipboard: () => this.openClipboard(),
      "ctrl-alt-del": () => this.keys.press(["ControlLeft", "AltLeft", "Delete"]),
      keyboard: () => this.root.querySelector("[data-entry]").focus(),
      row: () => this.turnRow(),
      screenshot: () => this.screenshot(),
      type: () => this.typing.open(),
    };
  }

  listenToKeys() {
    this.root.addEventListener("click", (event) => {
      const button = event.target.closest("[data-hold]:not([disabled]), [data-codes]:not([disabled])");
      if (!button) return;
      this.typist.then(() => this.keys.use(button));
      if (button.closest("[data-row]")) return;
      if (button.dataset.codes) this.closeMenus();
      this.focus();
    });
    this.root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !event.target.closest("details[open]")) return;
      this.closeMenus();
      this.focus();
    });
    this.root.addEventListener("change", (event) => {
      if (event.target.name === "console-size") {
        this.chooseSize(event.target.value);
        this.closeMenus();
      }
    });
  }

  listenToDialogs() {
    const password = this.dialog("password");
    password.querySelector("form").addEventListener("submit", () => this.rfb?.sendCredentials({ password: password.querySelector("[data-text]").value }));
    password.querySelector("[data-cancel]").addEventListener("click", () => this.endWithoutPassword());
    for (const dialog of this.root.querySelectorAll("dialog")) dialog.addEventListener("close", () => this.focus());
    this.dialog("clipboard")?.addEventListener("click", (event) => this.useClipboard(event.target.closest("[data-clip]")));
  }

  /** The field and its buttons come when the machine gets its channel. */
  async useClipboard(button) {
    const dialog = this.dialog("clipboard");
    const field = dialog.querySelector("[data-text]");
    if (!button || !field) return;
    if (button.dataset.clip === "send") {
      this.rfb?.clipboardPasteFrom(field.value);
      dialog.close();
    } else if (button.dataset.clip === "copy") copyFrom(field);
    else field.value = await navigator.clipboard.readText().catch(() => field.value);
  }
}

/** Copy a field's text; by the way that works without https as well. */
function copyFrom(field) {
  field.select();
  document.execCommand("copy");
}

for (const root of document.querySelectorAll("[data-console=screen]")) new Screen(root);
