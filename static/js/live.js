// Keeps the page true. A region (`data-live="domain:12 domains"`) names what it shows; when one of its names is
// announced, the page's own address is fetched again and the region is morphed. The page is the one source.

import { Idiomorph } from "./idiomorph.js";
import { ours, ourSocket } from "./site.js";
import { localize } from "./time.js";

const EVERY = 500; // ms between two fetches for one region, unless it says otherwise
const USE_EVERY = 5000; // figures of use change all the time: they need not be shown more often
const AWAY_EVERY = 10000; // while the socket is away
const DEGRADED_EVERY = 5000; // while the server's announcements are away
const PATIENCE = 3; // so often a socket may fail to open before we ask why
const BAR_AFTER = 2500; // a short loss is not worth a word

const extra = new Map(); // names that scripts watch: name -> callbacks
const due = new Map(); // region id -> when it is to be fetched
const fetched = new Map(); // region id -> when it was
let socket = null;
let tries = 0;
let opened = false; // whether a socket ever was
let watched = null;
let telling = false;
let timer = 0;
let poll = 0;
let barTimer = 0;
let running = false;
let askedAt = performance.getEntriesByType("navigation")[0].requestStart; // when what is shown was asked for

const regions = () => [...document.querySelectorAll("[data-live]")];
const namesOf = (region) => region.dataset.live.split(/\s+/).filter(Boolean);

/** Calls back when a name is announced, or when anything may have changed. Returns a function that ends it. */
export function watch(name, callback) {
  if (!extra.has(name)) extra.set(name, new Set());
  extra.get(name).add(callback);
  tell();
  return () => {
    extra.get(name)?.delete(callback);
    if (!extra.get(name)?.size) extra.delete(name);
    tell();
  };
}

/** Fetches the page again now and brings all its regions up to date. */
export function refresh() {
  for (const region of regions()) due.set(region.id, 0);
  schedule();
}

function wanted() {
  const names = new Set(extra.keys());
  for (const region of regions()) for (const name of namesOf(region)) names.add(name);
  return [...names].sort();
}

/** Tells the server what this page shows, when that has changed: once for all that changes in one go. */
function tell() {
  if (!telling) queueMicrotask(tellNow);
  telling = true;
}

function tellNow() {
  telling = false;
  if (socket?.readyState !== WebSocket.OPEN) return;
  const names = wanted();
  if (names.join() === watched) return;
  watched = names.join();
  // With the age of what is shown, so that nothing announced since then is missed.
  socket.send(JSON.stringify({ watch: names, age: performance.now() - askedAt }));
}

function connect() {
  socket = new WebSocket(ourSocket("/ws/events/"));
  socket.addEventListener("open", () => {
    const again = tries > 0;
    opened = true;
    tries = 0;
    watched = null;
    say("");
    setPoll(0);
    tell();
    if (again) everything();
  });
  socket.addEventListener("message", (event) => heard(JSON.parse(event.data)));
  socket.addEventListener("close", (event) => {
    if (event.code === 4401) return location.reload();
    tries += 1;
    say(gettext("Connection lost, trying again. What you see may be old."));
    if (!opened && tries === PATIENCE) ask();
    setPoll(AWAY_EVERY);
    setTimeout(connect, Math.min(1000 * 1.6 ** Math.min(tries, 6), 12000) * (0.7 + 0.6 * Math.random()));
  });
}

/** Why no socket was ever opened: where the same request arrives as one for a page, something on its way is no help. */
async function ask() {
  const answer = await fetch(ours("/ws/events/"), { headers: { Accept: "application/json" } }).catch(() => null);
  if (answer?.status === 404) explain("no-sockets");
}

/** Shows one of the explanations that the page has at hand. */
function explain(name) {
  const words = document.getElementById(name);
  for (const here of words.querySelectorAll("[data-here]")) here.textContent = location.origin + ours("/").replace(/\/$/, "");
  words.hidden = false;
}

/** Browsers say which page opens a socket, and only those of our own origins may. */
function begin() {
  if (document.getElementById("elsewhere").dataset.origins.split(" ").includes(location.origin)) return connect();
  explain("elsewhere");
  setPoll(AWAY_EVERY);
}

function heard(message) {
  if (message.changed) changed(message.changed);
  if (message.resync) everything();
  if ("degraded" in message) {
    setPoll(message.degraded ? DEGRADED_EVERY : 0);
    say(message.degraded ? gettext("Live updates are away. This page looks by itself every 5 seconds.") : "");
  }
}

function everything() {
  refresh();
  for (const callbacks of extra.values()) for (const callback of callbacks) callback();
}

function changed(names) {
  const now = performance.now();
  const heardNames = new Set(names);
  for (const region of regions()) {
    const mine = namesOf(region).filter((name) => heardNames.has(name));
    if (!mine.length) continue;
    const every = mine.every((name) => name.startsWith("use:")) ? USE_EVERY : Number(region.dataset.liveEvery || EVERY);
    const at = Math.max(now, (fetched.get(region.id) ?? -Infinity) + every);
    due.set(region.id, Math.min(at, due.get(region.id) ?? Infinity));
  }
  for (const name of names) for (const callback of extra.get(name) ?? []) callback();
  document.dispatchEvent(new CustomEvent("webvirt:changed", { detail: names }));
  schedule();
}

function schedule() {
  clearTimeout(timer);
  if (running || document.hidden || !due.size) return;
  timer = setTimeout(bring, Math.max(0, Math.min(...due.values()) - performance.now()));
}

/** Fetches the page and morphs the regions that are due. */
async function bring() {
  const now = performance.now();
  const ids = [...due].filter(([, at]) => at <= now + 50).map(([id]) => id);
  for (const id of ids) {
    due.delete(id);
    fetched.set(id, now);
  }
  running = true;
  try {
    const address = location.href;
    const asking = performance.now();
    const answer = await fetch(address, { headers: { Accept: "text/html", "X-By-Itself": "1" }, redirect: "manual" });
    // What is gone has nothing to show any more: its page names a better place, or says that it is gone.
    if (answer.status === 404 && document.body.dataset.gone) return location.replace(document.body.dataset.gone);
    if (answer.type === "opaqueredirect" || answer.status === 404) return location.reload();
    if (answer.ok && address === location.href) {
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const id of ids) morph(id, fresh);
      askedAt = asking;
      document.dispatchEvent(new CustomEvent("live"));
      tell();
    }
  } catch {
    // The socket notices a lost connection and says so.
  } finally {
    running = false;
    schedule();
  }
}

function morph(id, fresh) {
  const old = document.getElementById(id);
  const now = fresh.getElementById(id);
  // Nothing is taken away under somebody's fingers; a button that has the focus is no writing.
  const typing = document.querySelector("[popover]:popover-open :is(input, select, textarea):focus");
  if (!old || !now || old.contains(typing)) return;
  Idiomorph.morph(old, now, {
    morphStyle: "outerHTML",
    ignoreActiveValue: true,
    callbacks: { beforeAttributeUpdated: (name, node) => !isTheirs(name, node) },
  });
  localize(document.getElementById(id));
}

/** What somebody ticked or unfolded stays so, and a picture that a script brought. */
function isTheirs(name, node) {
  if (name === "src") return "screen" in node.dataset;
  return (name === "checked" && node.name === "ids") || (name === "open" && node.matches("tr.older details"));
}

function setPoll(every) {
  clearInterval(poll);
  if (every) poll = setInterval(everything, every);
}

/** Puts words into the bar above the page once they have held for a while; none take it away at once. */
function say(words) {
  const bar = document.getElementById("offline");
  clearTimeout(barTimer);
  if (!words) bar.hidden = true;
  else
    barTimer = setTimeout(
      () => {
        bar.querySelector("span").textContent = words;
        bar.hidden = false;
      },
      bar.hidden ? BAR_AFTER : 0,
    );
}

document.addEventListener("visibilitychange", schedule);
begin();
