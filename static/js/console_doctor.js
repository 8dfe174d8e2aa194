// Looks at each hop from this browser to a guest, and shows which one fails and what to do about it. The site and its
// console proxy look at theirs; what only a browser can know is whether its sockets get through.

import "./copies.js";
import { ours, ourSocket } from "./site.js";

const SOCKET_MS = 8000;
const AGAIN_MS = 1100; // who looked a moment ago waits

let askedAt = -AGAIN_MS;

const fill = (text, values) => text.replace(/%\((\w+)\)s/g, (_, name) => values[name]);

/** Looks, and shows it in the console's dialog. */
export async function examine(root) {
  const dialog = root.querySelector('[data-dialog="doctor"]');
  if (!dialog.open) dialog.showModal();
  const button = dialog.querySelector("[data-act=doctor]");
  button.disabled = true;
  for (const line of dialog.querySelectorAll("[data-hop]")) show(line, { state: "asking" });
  dialog.querySelector("[data-summary]").textContent = gettext("Looking at each hop…");
  const [page, bytes, answer] = await Promise.all([
    opens(ourSocket("/ws/events/")),
    opens(ourSocket("/ws/console/bytes/"), ["binary"]),
    ask(root.dataset.domain, root.dataset.console),
  ]);
  const found = { ...toldBy(answer, page), ...toldByUs(root, page, bytes, answer) };
  showAll(dialog, answer.hops, found);
  button.disabled = false;
}

/** Whether a socket to this address gets through to who answers there. */
function opens(address, protocols = []) {
  return new Promise((resolve) => {
    const socket = new WebSocket(address, protocols);
    const over = (opened) => {
      clearTimeout(timer);
      socket.onclose = null;
      socket.close();
      resolve(opened);
    };
    const timer = setTimeout(over, SOCKET_MS, false);
    socket.onopen = () => over(true);
    socket.onclose = () => over(false);
  });
}

/** What the site says of all hops: {status, hops, error}. */
async function ask(domain, device, patient = true) {
  const sleep = askedAt + AGAIN_MS - performance.now();
  if (sleep > 0) await new Promise((done) => setTimeout(done, sleep));
  askedAt = performance.now();
  try {
    const answer = await fetch(ours(`/api/v1/domains/${domain}/console?device=${device}`), { headers: { Accept: "application/json" } });
    // Another tab looks as well.
    if (answer.status === 409 && patient) return ask(domain, device, false);
    const said = await answer.json().catch(() => ({}));
    return { status: answer.status, hops: said.hops ?? [], error: said.error ?? "" };
  } catch {
    return { status: 0, hops: [], error: "" };
  }
}

/** The hop that an answer without hops speaks of. */
function toldBy({ status, hops, error }, page) {
  const failed = (words, remedy = "") => ({ state: "failed", words, remedy });
  if (hops.length) return {};
  if (!status) return { page: failed(gettext("This site does not answer."), gettext("See that this computer has a network, and that nginx runs on the site.")) };
  if (status === 401) return { right: failed(gettext("You were signed out"), gettext("Sign in again, then connect again.")) };
  if (status < 500) return { right: failed(error || gettext("You may not use this console"), gettext("Ask an administrator.")) };
  const words = gettext("It did not answer.");
  return page ? { proxy: failed(words, gettext("Look at the log of the console proxy.")) } : { page: failed(words, gettext("The front answers, and the processes behind it do not: they may be starting. Look at their logs.")) };
}

/** What only this browser knows. */
function toldByUs(root, page, bytes, { status, hops }) {
  if (!status) return {};
  if (!root.dataset.origins.split(" ").includes(location.origin)) {
    const [address] = root.dataset.origins.split(" ");
    const remedy = fill(gettext("Open this site at %(address)s, or set WEBVIRT_PUBLIC_URL to %(here)s."), { address: address + ours("/"), here: location.origin + ours("/") });
    return { page: { state: "failed", words: gettext("Consoles are not allowed from this address"), remedy } };
  }
  const headers = "proxy_http_version 1.1;\nproxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection upgrade;";
  const remedy = gettext("Pages get through and sockets do not: let each proxy and firewall in between pass WebSockets on. For nginx:");
  const stopped = { state: "failed", words: gettext("The browser could not open a socket."), remedy, command: headers };
  if (!page) return { page: stopped };
  const proxy = hops.find(({ hop }) => hop === "proxy");
  return proxy?.state === "ok" && !bytes ? { proxy: stopped } : {};
}

function showAll(dialog, hops, found) {
  const lines = [...dialog.querySelectorAll("[data-hop]")];
  const told = Object.fromEntries(hops.map((one) => [one.hop, one]));
  const [known] = Object.keys(found);
  let state = "ok";
  let first = null;
  for (const line of lines) {
    const { hop } = line.dataset;
    // Where the site said nothing, what comes before a failure was passed.
    const one = found[hop] ?? told[hop] ?? { state: known ? state : "not-reached" };
    if (one.state === "failed") {
      first ??= line;
      state = "not-reached";
    }
    show(line, one);
  }
  const summary = dialog.querySelector("[data-summary]");
  summary.textContent = first
    ? fill(gettext("This hop fails: “%(hop)s”."), { hop: first.querySelector("b").textContent })
    : gettext("Every hop is in order. If the picture is black, the guest may be asleep: press a key.");
  first?.scrollIntoView({ block: "nearest" });
}

function show(line, { state, words = "", remedy = "", command = "" }) {
  line.dataset.state = state;
  line.querySelector("small").textContent = line.parentElement.dataset[state.replace(/-(.)/, (_, letter) => letter.toUpperCase())];
  for (const [selector, text] of [[".console-said", words], [".console-remedy", remedy], [".console-command", command]]) {
    const part = line.querySelector(selector);
    part.hidden = !text;
    (part.querySelector("code") ?? part).textContent = text;
  }
}
