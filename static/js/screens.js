// Guests' screens as pictures: brought while they are in view and somebody looks at the tab, and again when they changed.

import { watch } from "./live.js";
import { ours } from "./site.js";
import { localize } from "./time.js";

const AT_ONCE = 3; // whatever else the page asks for must not wait for pictures
const AHEAD = "80px";
const OLD = 60000; // ms; older than that, a picture says when it was taken

const inView = new Set();
const watched = new Map(); // image -> what ends watching it
const etags = new WeakMap(); // image -> what tells its picture from others
const due = new Set();
let underWay = 0;

const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) inView.add(target);
      else inView.delete(target);
    }
    follow();
  },
  { rootMargin: AHEAD },
);

/** Watches the screens that somebody can see now, and those alone. */
function follow() {
  for (const [image, end] of watched) {
    if (!document.hidden && inView.has(image) && image.isConnected) continue;
    watched.delete(image);
    end();
  }
  if (document.hidden) return;
  for (const image of inView) {
    if (watched.has(image) || !image.isConnected) continue;
    watched.set(image, watch(`screen:${image.dataset.screen}`, () => want(image)));
    want(image);
  }
}

function want(image) {
  due.add(image);
  bringNext();
}

function bringNext() {
  const [image] = due;
  if (!image || underWay >= AT_ONCE) return;
  due.delete(image);
  underWay += 1;
  bring(image).finally(() => {
    underWay -= 1;
    bringNext();
  });
}

async function bring(image) {
  const known = etags.get(image);
  const headers = { "X-By-Itself": "1", ...(known && { "If-None-Match": known }) };
  const address = ours(`/vms/${image.dataset.screen}/screen.png?width=${image.dataset.width}`);
  // What is the matter with the connection is said by live.js.
  const answer = await fetch(address, { headers, cache: "no-store" }).catch(() => null);
  if (answer?.status === 200) {
    const before = image.src;
    image.src = URL.createObjectURL(await answer.blob());
    if (before) URL.revokeObjectURL(before);
    etags.set(image, answer.headers.get("ETag"));
  }
  if (answer?.status === 200 || answer?.status === 304) tellAge(image, answer.headers);
}

/** Says when a picture was taken, where that is long ago by the server's own clock. */
function tellAge(image, headers) {
  const words = image.parentElement.querySelector("[data-as-of]");
  // Of a machine that nothing is heard of, the page itself says so.
  if ("stands" in words.dataset) return;
  const taken = new Date(headers.get("Last-Modified"));
  words.hidden = new Date(headers.get("Date")) - taken < OLD;
  if (words.hidden) return;
  const time = document.createElement("time");
  time.dateTime = taken.toISOString();
  time.dataset.show = "clock";
  words.replaceChildren(gettext("as of"), " ", time);
  localize(words);
}

function look() {
  for (const image of inView) if (!image.isConnected) inView.delete(image);
  for (const image of document.querySelectorAll("img[data-screen]")) observer.observe(image);
  follow();
}

document.addEventListener("visibilitychange", follow);
document.addEventListener("live", look);
look();
