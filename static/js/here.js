// Says now and then that somebody is at work in this page, which may ask the server for nothing by itself: typing
// into a form, or working in a guest. Without a word for long, the session ends.

import { post } from "./dom.js";
import { ours } from "./site.js";

const EVERY = 5 * 60 * 1000;
let said = performance.now();

function here() {
  if (performance.now() - said < EVERY) return;
  said = performance.now();
  post(ours("/me/here/"), {});
}

for (const name of ["keydown", "pointerdown", "wheel"]) document.addEventListener(name, here, { capture: true, passive: true });
