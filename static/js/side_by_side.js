// Several consoles side by side: one made large, one closed; the address says which there are.

import { watch } from "./live.js";
import { ours } from "./site.js";

const grid = document.querySelector("[data-side-by-side]");
const places = () => [...grid.querySelectorAll(".console")];

/** Makes one large beside the others, or all alike again. */
function enlarge(place) {
  const large = place.classList.contains("large") ? null : place;
  for (const one of places()) {
    one.classList.toggle("large", one === large);
    one.querySelector("[data-large]")?.setAttribute("aria-pressed", String(one === large));
  }
  count();
}

function count() {
  grid.style.setProperty("--others", Math.max(1, places().length - 1));
}

function remove(place) {
  const all = places();
  const at = all.indexOf(place);
  const next = all[at + 1] ?? all[at - 1];
  place.dispatchEvent(new Event("remove"));
  place.remove();
  if (!next) return location.assign(ours("/vms/"));
  const ids = new URLSearchParams(location.search).get("ids").split(",");
  history.replaceState(null, "", `?ids=${ids.filter((id) => id !== place.dataset.domain).join(",")}`);
  count();
  next.querySelector("[data-remove]").focus();
}

grid?.addEventListener("click", (event) => {
  const place = event.target.closest(".console");
  if (event.target.closest("[data-large]")) enlarge(place);
  if (event.target.closest("[data-remove]")) remove(place);
});

// A console that waits for its machine opens when something is announced of it, and only of what is watched is it told.
for (const place of grid?.querySelectorAll("[data-console]") ?? []) watch(`domain:${place.dataset.domain}`, () => {});
