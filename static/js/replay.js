// Plays a recording: the time in it, and what the bar and the keys do. What it is played on is for `replay_screen.js` and
// `replay_serial.js`.

import { RecordingFile } from "./recording_file.js";
import { ours } from "./site.js";

export const gettext = (text) => (window.gettext ? window.gettext(text) : text);
export const interpolate = (text, values) => text.replace(/%\((\w+)\)s/g, (_, name) => values[name]);

const SPEEDS = [0.5, 1, 2, 4, 8, 16];
const STEP_MS = 5000;
const TICK_MS = 40;
/** So long one may be busy before the page is drawn. */
const BUSY_MS = 50;
/** A pause that is longer is shortened to this, half at its beginning and half before it ends. */
const STILL_MS = 2000;

const turn = () => new Promise((done) => setTimeout(done, 0));

/** Milliseconds as `1:02:03`. */
export function clock(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const shown = parts[0] ? parts : parts.slice(1);
  return shown.map((part, at) => (at ? String(part).padStart(2, "0") : part)).join(":");
}

/**
 * A subclass makes an empty device (`restart`), shows a frame's bytes on it (`show`, which may wait) and ends with all of them
 * shown (`settle`).
 */
export class Replay {
  constructor(root) {
    this.root = root;
    this.address = ours(`/recordings/${root.dataset.recording}/bytes/`);
    this.file = new RecordingFile(this.address);
    this.total = Number(root.dataset.milliseconds);
    /** Where one is, and the time of the last frame that is shown; both in the recording. */
    this.position = this.shown = 0;
    this.wanted = null;
    this.speed = 1;
    this.skips = true;
    this.screen = root.querySelector("[data-screen]");
    this.bar = root.querySelector("[data-seek]");
    this.bar.max = Math.max(this.total, 1);
    this.listen();
    this.draw();
  }

  // --- time

  /** Begin: where somebody wishes for less motion, it waits for them. */
  async open() {
    this.isBusy = true;
    try {
      await this.begin();
      this.is("ready");
    } catch (error) {
      this.fail(error);
    }
    this.isBusy = false;
    if (this.wanted !== null) this.work();
    else if (!matchMedia("(prefers-reduced-motion: reduce)").matches) this.play();
  }

  async begin() {
    this.restart();
    this.position = this.shown = 0;
    await this.file.rewind();
  }

  play() {
    if (this.root.dataset.state === "failed") return;
    if (!this.file.frame && this.wanted === null) this.wanted = 0;
    this.is("playing");
    this.ticked = performance.now();
    this.work();
  }

  pause() {
    if (this.root.dataset.state === "playing") this.is("paused");
  }

  seek(milliseconds) {
    this.wanted = Math.min(Math.max(milliseconds, 0), this.total);
    this.draw();
    this.work();
  }

  /** Do what is to be done, one thing after another: go where somebody wants to be, then on as time goes. */
  async work() {
    if (this.isBusy) return;
    this.isBusy = true;
    try {
      while (this.wanted !== null || this.root.dataset.state === "playing") {
        if (this.wanted !== null) await this.go(this.wanted);
        else await this.tick();
      }
    } catch (error) {
      this.fail(error);
    } finally {
      this.isBusy = false;
    }
  }

  /** Show the recording as it was then: whatever came before is shown in a hurry, and all of it anew where that is past. */
  async go(milliseconds) {
    const waits = setTimeout(() => this.root.classList.add("seeking"), 300);
    try {
      if (milliseconds < this.shown || this.root.dataset.state === "failed") await this.begin();
      let since = performance.now();
      while (this.file.frame && this.file.frame.at <= milliseconds) {
        await this.next();
        if (performance.now() - since < BUSY_MS) continue;
        if (this.wanted !== milliseconds) return;
        await turn();
        since = performance.now();
      }
      await this.settle();
    } finally {
      clearTimeout(waits);
      this.root.classList.remove("seeking");
    }
    this.position = milliseconds;
    // Somebody may want to be elsewhere by now.
    if (this.wanted === milliseconds) this.wanted = null;
    this.ticked = performance.now();
    if (!this.file.frame && this.position >= this.shown) this.finish();
    else if (this.root.dataset.state !== "playing") this.is("paused");
    this.draw();
  }

  async tick() {
    await new Promise((done) => setTimeout(done, TICK_MS));
    if (this.wanted !== null || this.root.dataset.state !== "playing") return;
    const now = performance.now();
    // A tab that nobody looked at was asleep.
    this.position += Math.min(now - this.ticked, 1000) * this.speed;
    this.ticked = now;
    const { frame } = this.file;
    const half = STILL_MS / 2;
    if (this.skips && frame && frame.at - this.shown > STILL_MS && this.position > this.shown + half && this.position < frame.at - half) {
      this.position = frame.at - half;
    }
    while (this.file.frame && this.file.frame.at <= this.position && this.wanted === null) await this.next();
    if (!this.file.frame) {
      await this.settle();
      this.finish();
    }
    this.draw();
  }

  async next() {
    const { at, data } = await this.file.take();
    this.shown = at;
    await this.show(data);
  }

  /** At the end; of one that is still written, at what is its end now. */
  finish() {
    this.total = this.position = this.shown;
    this.bar.max = Math.max(this.total, 1);
    this.is("ended");
  }

  fail(error) {
    if (error.name === "AbortError") return;
    this.wanted = null;
    this.is("failed");
    this.root.querySelector("[data-detail]").textContent = error.message;
  }

  // --- what the page shows

  is(state) {
    this.root.dataset.state = state;
    const failed = state === "failed";
    const veil = this.root.querySelector("[data-veil]");
    veil.hidden = state !== "ready" && !failed;
    veil.querySelector("[data-failed]").hidden = !failed;
    veil.querySelector("[data-act=play]").hidden = failed;
    const button = this.root.querySelector(".replay-bar [data-act=play]");
    const plays = state === "playing";
    button.setAttribute("aria-label", plays ? gettext("Pause") : gettext("Play"));
    button.querySelector("[data-when=playing]").toggleAttribute("hidden", !plays);
    button.querySelector("[data-when=paused]").toggleAttribute("hidden", plays);
  }

  draw() {
    const at = this.wanted ?? Math.min(this.position, this.total);
    const [now, total] = [clock(at), clock(this.total)];
    this.root.querySelector("[data-now]").textContent = now;
    this.root.querySelector("[data-total]").textContent = total;
    this.bar.value = at;
    this.bar.setAttribute("aria-valuetext", interpolate(gettext("%(now)s of %(total)s"), { now, total }));
  }

  // --- what people do

  setSpeed(speed) {
    this.speed = speed;
    this.root.querySelector("[data-speed]").value = String(speed);
  }

  act(what) {
    const acts = {
      play: () => (this.root.dataset.state === "playing" ? this.pause() : this.play()),
      again: () => { this.is("paused"); this.seek(0); },
      skip: () => this.setSkips(!this.skips),
      "full-screen": () => (document.fullscreenElement ? document.exitFullscreen() : this.root.requestFullscreen()),
    };
    acts[what]();
  }

  setSkips(skips) {
    this.skips = skips;
    this.root.querySelector('[data-act="skip"]').setAttribute("aria-pressed", String(skips));
  }

  key(event) {
    const faster = (step) => this.setSpeed(SPEEDS[Math.min(Math.max(SPEEDS.indexOf(this.speed) + step, 0), SPEEDS.length - 1)]);
    const at = this.wanted ?? this.position;
    const keys = {
      " ": () => this.act("play"),
      ArrowLeft: () => this.seek(at - STEP_MS),
      ArrowRight: () => this.seek(at + STEP_MS),
      ArrowUp: () => faster(1),
      ArrowDown: () => faster(-1),
      Home: () => this.seek(0),
      End: () => this.seek(this.total),
    };
    const typing = event.target.closest?.("input:not([type=range]), textarea, select, dialog");
    // A button, and a link, is pressed by the space bar.
    const pressed = event.key === " " && event.target.closest?.("button, a");
    if (!keys[event.key] || typing || pressed || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  }

  listen() {
    this.root.addEventListener("click", (event) => {
      const button = event.target.closest("[data-act]");
      if (button) this.act(button.dataset.act);
    });
    this.bar.addEventListener("input", () => this.seek(Number(this.bar.value)));
    this.root.querySelector("[data-speed]").addEventListener("change", (event) => this.setSpeed(Number(event.target.value)));
    document.addEventListener("keydown", (event) => this.key(event));
    document.addEventListener("fullscreenchange", () => {
      this.root.querySelector('[data-act="full-screen"]').setAttribute("aria-pressed", String(document.fullscreenElement === this.root));
    });
    window.addEventListener("pagehide", () => this.file.close());
  }
}
