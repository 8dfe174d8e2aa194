// Sends files into a pool piece by piece, and goes on where it was after whatever came in between.

import { bar, csrfToken, icon, make, post } from "./dom.js";
import { ours } from "./site.js";
import { complain, follow } from "./toasts.js";

const PIECE = 8 * 1024 * 1024;
const SOON_MS = 300;
const LONGEST_PAUSE_MS = 10000;
const SPEED_OVER_MS = 5000;
const MOST_DAMAGED = 3;
const box = document.querySelector("[data-uploads]");

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** SHA-256 of a piece in hexadecimal; empty where the browser has none (a page without https, not on this machine). */
async function checksum(buffer) {
  if (!crypto.subtle) return "";
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", buffer));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  for (; count >= 1024 && at < units.length - 1; at++) count /= 1024;
  return `${count.toFixed(count >= 100 || at === 0 ? 0 : 1)}\u00a0${units[at]}`;
}

function duration(seconds) {
  if (seconds < 90) return interpolate(gettext("%s s"), [Math.ceil(seconds)]);
  if (seconds < 5400) return interpolate(gettext("%s min"), [Math.round(seconds / 60)]);
  return interpolate(gettext("%s h"), [(seconds / 3600).toFixed(1)]);
}

class Transfer {
  /** An upload under way: `upload` is what the API says of it, `file` is null until somebody chooses it (again). */
  constructor(upload, file) {
    Object.assign(this, { upload, file, ended: false, words: "", seen: [], damaged: 0, damagedAt: -1 });
    this.element = make("li", { className: "transfer" });
    box.querySelector("ul").append(this.element);
    this.draw();
    if (file) this.run();
  }

  async run() {
    let pause = SOON_MS;
    while (!this.ended && this.isWanted) {
      const { received, size } = this.upload;
      const answer = await (received < size ? this.send() : this.ask());
      if (answer.status === 200) {
        this.take(answer.data);
        pause = SOON_MS;
      } else if (answer.status === 409 && "received" in answer.data) {
        this.take({ ...this.upload, received: answer.data.received });
      } else if (answer.status === 503 || answer.status === 0) {
        this.words = answer.status ? "" : gettext("The server did not answer. Trying again.");
        this.draw();
        await sleep(pause);
        pause = Math.min(LONGEST_PAUSE_MS, pause * (answer.status ? 1 : 1.6));
        continue;
      } else {
        complain(`${this.upload.name}: ${answer.data.error ?? gettext("It was not accepted.")}`);
        return this.end();
      }
      if (this.damaged >= MOST_DAMAGED) {
        complain(`${this.upload.name}: ${gettext("It arrives damaged, however often it is sent.")}`);
        return this.end();
      }
      this.words = "";
      this.draw();
    }
    this.end();
  }

  /** Until the host has all of it, a piece that arrived damaged may be asked for again. */
  get isWanted() {
    const { carried, size, state } = this.upload;
    return carried < size && (state === "queued" || state === "running");
  }

  /** What the API says now. */
  take(upload) {
    const before = this.upload.received;
    this.upload = upload;
    if (upload.received < before) {
      this.damaged = this.damagedAt === upload.received ? this.damaged + 1 : 1;
      this.damagedAt = upload.received;
      this.seen = [];
    } else {
      this.seen.push([performance.now(), upload.received]);
    }
  }

  /** How far it is, where nothing is left to send. */
  async ask() {
    await sleep(SOON_MS);
    try {
      const answer = await fetch(ours(`/api/v1/uploads/${this.upload.id}`), { headers: { Accept: "application/json" } });
      return { status: answer.status, data: await answer.json() };
    } catch {
      return { status: 0, data: {} };
    }
  }

  /** The piece that begins there, read and summed up; the one that was prepared while another was on its way, if it is that. */
  async piece(at) {
    if (this.prepared?.at !== at) this.prepare(at);
    return this.prepared.piece;
  }

  prepare(at) {
    const read = async () => {
      const buffer = await this.file.slice(at, at + PIECE).arrayBuffer();
      return { buffer, sum: await checksum(buffer) };
    };
    this.prepared = { at, piece: read() };
    this.prepared.piece.catch(() => {}); // whoever asks for it hears of it
  }

  async send() {
    const at = this.upload.received;
    try {
      const { buffer, sum } = await this.piece(at);
      this.prepare(at + buffer.byteLength);
      const address = ours(`/api/v1/uploads/${this.upload.id}?offset=${at}&sha256=${sum}`);
      const headers = { "X-CSRFToken": csrfToken(), Accept: "application/json" };
      const answer = await fetch(address, { method: "PUT", body: buffer, headers });
      return { status: answer.status, data: await answer.json() };
    } catch {
      return { status: 0, data: {} };
    }
  }

  /** Bytes a second over the last few seconds. */
  get speed() {
    const now = performance.now();
    while (this.seen.length > 2 && now - this.seen[0][0] > SPEED_OVER_MS) this.seen.shift();
    if (this.seen.length < 2) return 0;
    const [[from, before], [to, after]] = [this.seen[0], this.seen.at(-1)];
    return to > from ? (1000 * (after - before)) / (to - from) : 0;
  }

  draw() {
    const { name, size, received } = this.upload;
    const left = this.speed ? duration((size - received) / this.speed) : "";
    const pace = this.speed ? `${bytes(this.speed)}/s · ${interpolate(gettext("%s left"), [left])}` : "";
    const words = this.file ? this.words || pace : gettext("Interrupted: choose the same file again to go on.");
    const parts = [
      make("div", { className: "transfer-head" }, make("b", {}, name), make("span", {}, `${bytes(received)} / ${bytes(size)}`)),
      bar((100 * received) / size),
      make("div", { className: "transfer-foot" }, make("span", {}, words), this.file ? null : this.chooser(), this.stopper()),
    ];
    this.element.replaceChildren(...parts);
  }

  chooser() {
    const input = make("input", { type: "file", className: "visually-hidden" });
    input.addEventListener("change", () => this.goOn(input.files[0]));
    return make("label", { className: "btn btn-sm" }, gettext("Choose the file"), input);
  }

  goOn(file) {
    if (file.size !== this.upload.size) return complain(gettext("This is another file: its size differs."));
    this.file = file;
    this.run();
  }

  stopper() {
    const stop = async () => {
      this.ended = true;
      await post(ours(`/operations/${this.upload.id}/cancel/`), {});
      this.element.remove();
    };
    return make("button", { type: "button", className: "btn btn-sm", onclick: stop }, icon("x"), gettext("Cancel"));
  }

  /** The host has every byte, or may have none any more: what becomes of it, its operation tells. */
  async end() {
    this.ended = true;
    this.element.remove();
    const answer = await fetch(ours(`/operations/${this.upload.id}/`), { headers: { Accept: "application/json" } });
    if (answer.ok) follow(await answer.json());
  }
}

const transfers = [];

/** Without a name of its own the volume gets one that is made of the file's. */
async function begin(file, name = "", sha256 = "", project = "") {
  const fields = { title: file.name.slice(0, 255), name, size: file.size, sha256, project };
  const answer = await post(ours(`/pools/${box.dataset.uploads}/upload-volume/`), fields);
  if (answer.status !== 202) return complain(answer.data.error ?? gettext("It was not accepted."));
  const upload = { id: answer.data.id, name: name || file.name, size: file.size, received: 0, carried: 0, state: "queued" };
  transfers.push(new Transfer(upload, file));
}

/** Those that a closed laptop or another tab left behind. */
async function findInterrupted() {
  const answer = await fetch(ours(`/api/v1/uploads?pool=${box.dataset.uploads}`), { headers: { Accept: "application/json" } });
  if (!answer.ok) return;
  for (const upload of await answer.json()) if (upload.received < upload.size) transfers.push(new Transfer(upload, null));
}

function takeForm(form) {
  const file = form.querySelector('[type="file"]');
  const name = form.querySelector('[name="name"]');
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const sha256 = form.querySelector('[name="sha256"]').value.trim();
    const project = form.querySelector('[name="project"]')?.value;
    if (file.files.length) begin(file.files[0], name.value.trim(), sha256, project);
    form.reset();
  });
}

if (box) {
  findInterrupted();
  const form = document.querySelector("[data-upload-form]");
  if (form) takeForm(form);
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    for (const file of event.dataTransfer.files) begin(file);
  });
  addEventListener("beforeunload", (event) => {
    if (transfers.some((one) => one.file && !one.ended)) event.preventDefault();
  });
}
