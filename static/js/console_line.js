// A console in the page: asks for it, keeps its lease, opens it again, and says in words what happens. What comes over it
// is for `console.js` (the screen) and `serial.js` (the serial line).

import { examine } from "./console_doctor.js";
import { ours, ourSocket } from "./site.js";
import "./here.js";

export const gettext = (text) => (window.gettext ? window.gettext(text) : text);
export const interpolate = (text, values) => text.replace(/%\((\w+)\)s/g, (_, name) => values[name]);

const RETRY_SECONDS = [0.3, 1, 2, 4, 8, 15];
const WAIT_SECONDS = 3;
const SETTLED_MS = 10000;
const BAR_MS = 4000;
const TOLD_MS = 6000;
const RESTARTED = 1012;

/** What an ending means to a person; `of` gives what is said of this kind of console alone. `then`: "stop" for good, "retry" soon, "wait" until the machine runs. */
function meaning(code, words, of) {
  const by = {
    logout: ["stop", gettext("You were signed out"), gettext("Sign in again, then connect again.")],
    password: ["stop", gettext("Your password was changed"), gettext("Sign in with the new one, then connect again.")],
    deactivated: ["stop", gettext("Your account was deactivated"), gettext("Ask an administrator.")],
    link: ["stop", gettext("Your invitation ran out or was withdrawn"), gettext("Ask who invited you.")],
    right: ["stop", gettext("Your right to this console was withdrawn"), gettext("Ask an administrator.")],
    missing: ["stop", gettext("The machine is gone from its host"), ""],
    replaced: ["stop", gettext("This console was opened again elsewhere"), ""],
    off: ["wait", gettext("The machine is off"), gettext("The console comes back by itself when it starts.")],
    record: ["retry", gettext("This console is recorded from now on"), gettext("Connecting again by itself.")],
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
    4401: ["retry", gettext("The console's ticket was refused"), gettext("Asking for another one.")],
    4404: ["stop", gettext("There is no such machine"), ""],
    4409: ["wait", gettext("Waiting for the machine"), `${words} ${gettext("The console comes back by itself when the machine runs.")}`],
    4421: ["retry", gettext("The host cannot be reached"), gettext("Look at the host's page for the reason.")],
    4424: ["retry", gettext("The host does not let us in"), gettext("Look at the host's page: it names the step that fails, such as a key that is not known there.")],
    4426: ["retry", gettext("The guest does not answer"), gettext("Wait for it, or force it off: that works without its help.")],
    4429: ["retry", gettext("Too many consoles"), `${words} ${gettext("Trying again by itself.")}`],
    4450: ["retry", gettext("Redis does not answer, so no console can be opened"), gettext("Consoles that are open go on. Trying again by itself.")],
    ...of(words),
  };
  if (code === 4403 && words.startsWith("ended")) {
    const name = words.slice("ended ".length);
    const title = name ? interpolate(gettext("%(name)s ended this console"), { name }) : gettext("This console was ended by somebody else");
    return { then: "stop", title, remedy: gettext("Speak with them before you connect again."), detail: "" };
  }
  if (code === 4403) {
    const [then, title, remedy] = by[words] || ["stop", words || gettext("You may not use this console"), ""];
    return { then, title, remedy, detail: "" };
  }
  const [then, title, remedy] = codes[code] || lost;
  const detail = code >= 4421 && code <= 4431 && code !== 4429 ? words : "";
  return { then, title, remedy, detail };
}

/**
 * A subclass says `device`, and what its own endings mean (`meanings`); it begins with an open socket (`begin`), leaves it
 * (`leave`), takes the keys (`focus`), lets them go or takes them up as `mode` says (`modeChanged`) and adds to what the
 * buttons do (`acts`).
 */
export class ConsoleLine {
  constructor(root) {
    this.root = root;
    this.domain = root.dataset.domain;
    this.asGuest = "guest" in root.dataset ? `&guest=${root.dataset.guest}` : "";
    this.mayControl = "mayControl" in root.dataset;
    // What it asks for when it is opened; and what it may do now, as it was told last.
    this.wanted = this.mayControl ? "control" : "view";
    this.mode = "view";
    this.own = null;
    this.others = [];
    this.embedded = root.classList.contains("embedded");
    this.beside = root.classList.contains("beside");
    this.session = null;
    this.record = false;
    this.attempt = 0;
    this.bar = root.querySelector(".console-bar");
    this.stateElement = root.querySelector(".console-state");
    this.screen = root.querySelector("[data-screen]");
    this.veil = root.querySelector("[data-veil]");
    this.againButton = root.querySelector('[data-act="again"]');
    this.listen();
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
    this.own = null;
    this.others = [];
    this.mode = "view";
    this.showRecorded({ by: [], over: "" });
    this.hold(`?mode=${this.wanted}&device=${this.device}${this.asGuest}${this.record ? "&record=1" : ""}${replaces}`);
  }

  /** The lease: open for as long as the console is. When it breaks while the picture goes on, it is taken up again. */
  hold(query) {
    const lease = new WebSocket(ourSocket(`/ws/console/${this.domain}/${query}`));
    this.lease = lease;
    lease.addEventListener("message", (event) => {
      if (lease !== this.lease) return;
      const said = JSON.parse(event.data);
      if (said.ticket) this.connect(said);
      if (said.others) this.hearWhoTypes(said.others, said.own);
      if (said.told) this.tell(said.told);
      if (said.recorded) this.showRecorded(said.recorded);
      if (said.refused) this.refused = said.refused;
    });
    lease.addEventListener("close", (event) => {
      if (lease !== this.lease) return;
      this.lease = null;
      // Only who is signed out is refused so here; the proxy's own code of that number is about the ticket.
      if (!this.bytes && event.code === 4401) this.ended(4403, "logout");
      else if (!this.bytes) this.ended(event.code, this.refused);
      else if (this.session && event.code !== 4403) {
        this.leaseTimer = setTimeout(() => this.hold(`?session=${this.session}${this.asGuest}`), 1000 + 2000 * Math.random());
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
    this.begin(bytes);
  }

  connected() {
    this.since = performance.now();
    this.show("connected", this.connectedWords());
    this.showOthers();
    this.showControl();
    this.bars("show", BAR_MS);
    this.takeKeys();
    const hint = this.root.querySelector("[data-hint]");
    if (hint) hint.hidden = Boolean(sessionStorage.getItem(`console-hint-${this.domain}`));
  }

  ended(code, words) {
    if (this.since && performance.now() - this.since > SETTLED_MS) this.attempt = 0;
    this.since = null;
    this.close();
    const { then, title, remedy, detail } = meaning(code, words, this.meanings);
    this.show(then === "stop" ? "ended" : "waiting", title, { remedy, detail });
    if (then === "stop") return;
    // Who says that it stops is not back at once, and all pages are waiting for it.
    if (code === RESTARTED) this.attempt = Math.max(this.attempt, 1);
    const base = then === "wait" ? WAIT_SECONDS : RETRY_SECONDS[Math.min(this.attempt, RETRY_SECONDS.length - 1)];
    this.attempt += 1;
    // The jitter keeps all pages from coming back in the same moment.
    this.timer = setTimeout(() => this.open(), 1000 * base * (0.75 + Math.random() / 2));
  }

  close() {
    clearTimeout(this.leaseTimer);
    const { lease, bytes } = this;
    const typed = this.screen.contains(document.activeElement);
    this.lease = this.bytes = null;
    lease?.close();
    // An own socket's end is not announced again, since it is no longer ours by now.
    this.leave();
    // What has the keys keeps them while it is opened again.
    if (typed) this.screen.focus();
    bytes?.close();
    this.root.querySelectorAll("dialog[data-dialog=password][open]").forEach((dialog) => dialog.close());
  }

  /** Leave for good: nothing is opened again. */
  leaveForGood() {
    this.close();
    clearTimeout(this.timer);
    this.root.dataset.state = "ended";
  }

  // --- what the page shows

  show(state, title, { remedy = "", detail = "" } = {}) {
    // It is told anew whenever what one may do changes.
    if (this.root.dataset.state !== state) this.root.dataset.state = state;
    this.stateElement.dataset.state = state;
    this.stateElement.querySelector("[data-words]").textContent = title;
    this.veil.hidden = state === "connected";
    this.veil.querySelector("[data-title]").textContent = title;
    this.veil.querySelector("[data-detail]").textContent = detail;
    this.veil.querySelector("[data-remedy]").textContent = remedy;
    this.veil.querySelector("[data-spinner]").hidden = state === "ended";
    this.againButton.hidden = state === "asking" || state === "connected";
    this.veil.querySelector("[data-if-failed]")?.toggleAttribute("hidden", this.againButton.hidden);
    if (state !== "connected") {
      this.bars("show");
      this.showOthers();
      this.showControl();
    }
    const typing = state === "connected" && this.mode === "control";
    for (const element of this.root.querySelectorAll("[data-input]")) {
      element.toggleAttribute("disabled", !typing);
      if (!typing) element.removeAttribute("open");
    }
    for (const element of this.root.querySelectorAll("[data-needs-picture]")) element.disabled = state !== "connected";
  }

  // --- who types: one at a time, as the proxy sees to

  /** Ask something of who types; what comes of it is told like everything else. */
  say(word, to = 0) {
    if (this.lease?.readyState !== WebSocket.OPEN) return false;
    this.lease.send(JSON.stringify({ do: word, to }));
    return true;
  }

  hearWhoTypes(others, own) {
    // A guest is not told who the people here are.
    this.others = others.map((other) => ({ ...other, name: other.name || gettext("somebody") }));
    this.own = own ?? this.own;
    const before = this.mode;
    this.mode = this.own?.mode ?? "view";
    const isConnected = this.root.dataset.state === "connected";
    if (isConnected) this.show("connected", this.connectedWords());
    this.showOthers();
    this.showControl();
    if (this.mode === before) return;
    this.modeChanged();
    if (!isConnected || this.wanted === "view") return;
    if (this.mode === "control") this.takeKeys();
    const name = this.whoTypes()?.name;
    this.tell(this.mode === "control" ? gettext("You type now.") : name ? interpolate(gettext("%(name)s types now."), { name }) : "");
  }

  /** Who else types at this screen or line. */
  whoTypes() {
    return this.others.find(({ mode, device }) => mode === "control" && device === this.device);
  }

  /** The keys come here by themselves; among others, they go where somebody clicked. */
  takeKeys() {
    if (!this.beside || this.root.contains(document.activeElement)) this.focus();
  }

  connectedWords() {
    if (this.mode === "control" || !this.own) return gettext("Connected");
    if (!this.own.may_type) return gettext("Connected, view only");
    const name = this.whoTypes()?.name;
    return name ? interpolate(gettext("Connected, %(name)s types"), { name }) : gettext("Connected, nobody types");
  }

  showOthers() {
    const element = this.root.querySelector("[data-others]");
    element.hidden = !this.others.length || this.root.dataset.state !== "connected";
    const names = this.others.map(({ name, mode }) => (mode === "view" ? interpolate(gettext("%(name)s (watching)"), { name }) : name));
    element.querySelector("summary > span").textContent = names.length > 2 ? `${names[0]} +${names.length - 1}` : names.join(", ");
    element.querySelector("summary").title = interpolate(gettext("Also here: %(names)s"), { names: names.join(", ") });
    element.querySelector("ul").replaceChildren(this.person({ name: gettext("You"), device: this.device, ...this.own }), ...this.others.map((other) => this.person(other)));
  }

  person({ id, name, mode, device, asks, may_type }) {
    const line = document.createElement("li");
    const who = document.createElement("span");
    who.textContent = name;
    const what = document.createElement("small");
    const does = mode === "control" ? gettext("types") : asks ? gettext("asks for control") : gettext("watches");
    const there = device === "serial" ? gettext("%(what)s, on the serial line") : gettext("%(what)s, on the screen");
    what.textContent = device === this.device ? does : interpolate(there, { what: does });
    line.append(who, what);
    if (id && this.mode === "control" && may_type && device === this.device) line.append(this.handButton(id));
    return line;
  }

  handButton(id) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.to = id;
    button.textContent = gettext("Hand over");
    return button;
  }

  /** The button by which one comes to type, and the question of who asks whoever types. */
  showControl() {
    const isConnected = this.root.dataset.state === "connected";
    const button = this.root.querySelector('[data-act="control"]');
    button.hidden = !isConnected || !this.own?.may_type || this.mode === "control";
    button.disabled = Boolean(this.own?.asks);
    const mayTake = this.own?.may_take || !this.whoTypes();
    button.dataset.word = mayTake ? "take" : "ask";
    button.querySelector("span").textContent = this.own?.asks ? gettext("Asked for control…") : mayTake ? gettext("Take control") : gettext("Ask for control");
    const asker = isConnected && this.mode === "control" && this.others.find(({ asks, device }) => asks && device === this.device);
    const question = this.root.querySelector("[data-question]");
    question.hidden = !asker;
    if (!asker) return;
    question.querySelector("span").textContent = interpolate(gettext("%(name)s asks for control, and has it in %(seconds)s s if you do not answer."), { name: asker.name, seconds: this.root.dataset.patience });
    question.querySelector("[data-to]").dataset.to = asker.id;
  }

  tell(words) {
    const element = this.root.querySelector("[data-told]");
    element.hidden = !words;
    element.textContent = words;
    clearTimeout(this.toldTimer);
    this.toldTimer = setTimeout(() => { element.hidden = true; }, TOLD_MS);
  }

  /** Whoever looks is told that it is recorded, by whomever; and who had it recorded, that it is not any more. */
  showRecorded({ by, over }) {
    const element = this.root.querySelector("[data-recorded] > span");
    const ends = { size: gettext("it is as large as one may be"), full: gettext("the disk is full"), failed: gettext("it cannot be written") };
    element.hidden = !by.length && !over;
    element.classList.toggle("over", !by.length);
    element.textContent = by.length ? gettext("Recorded") : gettext("Recording ended");
    element.title = by.length
      ? interpolate(gettext("What the guest shows is recorded by %(names)s; what is typed is not."), { names: by.map((name) => name || gettext("somebody")).join(", ") })
      : interpolate(gettext("The recording ended: %(why)s. The console goes on."), { why: ends[over] ?? over });
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

  // --- the bar

  /** Have the browser keep a file. */
  save(blob, ending) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    const now = new Date();
    const stamp = new Date(now - now.getTimezoneOffset() * 60000).toISOString().slice(0, 19).replace(/[T:]/g, "-");
    link.download = `${this.root.dataset.name}-${stamp}.${ending}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  async fullScreen() {
    if (document.fullscreenElement) return document.exitFullscreen();
    await this.root.requestFullscreen();
    // Where the browser allows it, Esc, Alt-Tab and the like go to the guest as well.
    await navigator.keyboard?.lock?.().catch(() => {});
    return this.focus();
  }

  setWanted(mode) {
    this.wanted = mode;
    this.root.querySelector('[data-act="view-only"]').setAttribute("aria-pressed", String(mode === "view"));
    if (!this.say(mode === "view" ? "watch" : "join")) this.open();
  }

  /** A screen can be played from its beginning alone, so it is opened again for it. */
  setRecord(record) {
    this.record = record;
    this.root.querySelector('[data-act="record"]').setAttribute("aria-pressed", String(record));
    this.attempt = 0;
    this.open();
  }

  act(what) {
    const acts = {
      again: () => { this.attempt = 0; this.screen.focus(); this.open(); },
      bar: () => this.bars("toggle"),
      doctor: () => examine(this.root),
      "full-screen": () => this.fullScreen(),
      hint: () => { sessionStorage.setItem(`console-hint-${this.domain}`, "seen"); this.root.querySelector("[data-hint]").hidden = true; },
      "view-only": () => this.setWanted(this.wanted === "view" ? "control" : "view"),
      control: () => this.say(this.root.querySelector('[data-act="control"]').dataset.word),
      keep: () => { this.say("keep"); this.focus(); },
      record: () => this.setRecord(!this.record),
      window: () => window.open(ours(`/vms/${this.domain}/console/window/?device=${this.device}`), `console-${this.domain}-${this.device}`, "width=1060,height=860"),
      ...this.acts(),
    };
    acts[what]();
  }

  dialog(name) {
    return this.root.querySelector(`[data-dialog="${name}"]`);
  }

  closeMenus() {
    for (const menu of this.root.querySelectorAll("details[open]")) menu.open = false;
  }

  listen() {
    this.root.addEventListener("click", (event) => {
      const button = event.target.closest("button, summary");
      if (button?.hasAttribute("disabled") || button?.parentElement.hasAttribute("disabled")) event.preventDefault();
      else if (button?.dataset.act) this.act(button.dataset.act);
      else if (button?.dataset.to) {
        this.say("hand", Number(button.dataset.to));
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
      this.root.querySelector('[data-act="full-screen"]')?.setAttribute("aria-pressed", String(full));
      this.bars("show", full || !this.embedded ? BAR_MS : 0);
    });
    // A machine that is announced while we wait for it may be running now.
    document.addEventListener("webvirt:changed", (event) => {
      if (this.root.dataset.state === "waiting" && event.detail.includes(`domain:${this.domain}`)) this.open();
    });
    // A click beside the picture is meant for it.
    this.screen.addEventListener("focus", () => this.focus());
    this.root.addEventListener("remove", () => this.leaveForGood());
    window.addEventListener("pagehide", () => this.close());
  }
}
