// Times in the person's own zone and language; ages that grow while one looks at them.

const spoken = document.documentElement.lang;
// The browser's own flavour of the language (en-GB), where it has one.
const language = navigator.languages.find((one) => one.slice(0, 2) === spoken.slice(0, 2)) ?? spoken;
const full = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "long" });
const seconds = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });
const day = new Intl.DateTimeFormat(language, { dateStyle: "medium" });
const hour = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit" });
const short = new Intl.DateTimeFormat(language, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });

function ago(age) {
  if (age < 10) return gettext("just now");
  if (age < 60) return interpolate(gettext("%s s ago"), [Math.floor(age)]);
  if (age < 3600) return interpolate(gettext("%s min ago"), [Math.floor(age / 60)]);
  return interpolate(gettext("%s h ago"), [Math.floor(age / 3600)]);
}

function words(element, when) {
  if (element.dataset.show === "full") return seconds.format(when);
  if (element.dataset.show === "clock") return when.toDateString() === new Date().toDateString() ? hour.format(when) : short.format(when);
  const age = (Date.now() - when.getTime()) / 1000;
  return age < 86400 ? ago(age) : day.format(when);
}

function show(element) {
  const when = new Date(element.dateTime);
  const text = words(element, when);
  if (element.textContent !== text) element.textContent = text;
  if (!element.title) element.title = full.format(when);
}

/** Localizes every time below an element. */
export function localize(root = document) {
  root?.querySelectorAll("time[data-show]").forEach(show);
}

localize();
setInterval(() => localize(), 10000);
