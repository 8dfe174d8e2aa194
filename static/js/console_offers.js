// What a machine lacks for its console and can be given from here: asked for, followed, and shown as the page says it then.

import { gettext } from "./console_line.js";
import { get, post } from "./dom.js";
import { ours } from "./site.js";

const LOOK_MS = 700;
const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

export function listenToOffers(root) {
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-give]:not([disabled])");
    if (button) give(root, button);
  });
}

/** Ask for the verb of this button; its part of the page is then as the server says. */
async function give(root, button) {
  const part = button.closest("[data-part]");
  const answer = part.querySelector("[data-answer]");
  button.disabled = true;
  answer.textContent = gettext("Asked for…");
  const wrong = await outcome(await post(ours(`/vms/${root.dataset.domain}/${button.dataset.give}/`), {}));
  button.disabled = false;
  answer.textContent = wrong;
  if (!wrong) await renew(root, part);
}

/** What went wrong with something that was asked for; empty when it was done. */
async function outcome(answer) {
  if (!answer.ok) return answer.data.error || gettext("It was not accepted.");
  for (;;) {
    await sleep(LOOK_MS);
    const found = await get(ours(`/operations/?ids=${answer.data.id}`), { "X-By-Itself": "1" });
    const operation = found?.operations[0];
    if (operation && !operation.active) return operation.state === "succeeded" ? "" : `${operation.state_label}: ${operation.error} ${operation.remedy}`;
  }
}

async function renew(root, part) {
  const answer = await fetch(location.href, { headers: { "X-By-Itself": "1" } });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const now = page.querySelector(`#${root.id} [data-part="${part.dataset.part}"]`);
  if (now) part.replaceChildren(...now.childNodes);
  else part.remove();
}
