// The wall of screens: arrow keys lead from tile to tile, and a tile's menu opens where it is clicked with the other button.

const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 };
const shots = () => [...document.querySelectorAll(".tile-shot")];

/** The nearest tile in the row above (-1) or below (1) this one. */
function across(all, from, step) {
  const { left, top } = from.getBoundingClientRect();
  const places = all.map((shot) => ({ shot, at: shot.getBoundingClientRect() }));
  const beyond = places.filter(({ at }) => step * (at.top - top) > 1);
  const nearest = Math.min(...beyond.map(({ at }) => Math.abs(at.top - top)));
  const there = beyond.filter(({ at }) => Math.abs(at.top - top) - nearest < 1);
  return there.sort((one, other) => Math.abs(one.at.left - left) - Math.abs(other.at.left - left))[0]?.shot;
}

document.addEventListener("keydown", (event) => {
  const step = STEPS[event.key];
  const here = event.target.closest?.(".tile-shot");
  if (!step || !here || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  event.preventDefault();
  const all = shots();
  const next = /Left|Right/.test(event.key) ? all[all.indexOf(here) + step] : across(all, here, step);
  next?.focus({ preventScroll: true });
  next?.closest(".tile").scrollIntoView({ block: "nearest" });
});

// With Shift the browser's own menu, as everywhere.
document.addEventListener("contextmenu", (event) => {
  const shot = event.target.closest?.(".tile-shot");
  if (!shot || event.shiftKey) return;
  event.preventDefault();
  shot.closest(".tile").querySelector("[data-row-menu]").click();
});
