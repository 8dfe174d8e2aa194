// Small helpers for building parts of a page without ever parsing text as HTML.

const sprite = document.body.dataset.icons;
const SVG = "http://www.w3.org/2000/svg";

/** An element with properties, attributes (keys with "-" or "role") and children; strings become text. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.includes("-") || key === "role") element.setAttribute(key, value === true ? "" : value);
    else element[key] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/** An icon of the sprite. */
export function icon(name, extra = "") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `icon ${extra}`);
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${sprite}#${name}`);
  svg.append(use);
  return svg;
}

/** A bar filled to so many per cent. */
export function bar(percent) {
  return make("progress", { className: "bar", max: 100, value: percent });
}

/** Django's token for forms that scripts send. */
export function csrfToken() {
  return document.querySelector("#csrf input").value;
}

/** A POST that answers with JSON: {ok, status, data}; never throws. */
export async function post(url, fields) {
  const body = fields instanceof FormData ? fields : toForm(fields);
  body.set("csrfmiddlewaretoken", csrfToken());
  try {
    const answer = await fetch(url, { method: "POST", body, headers: { Accept: "application/json" } });
    return { ok: answer.ok, status: answer.status, data: await answer.json() };
  } catch {
    return { ok: false, status: 0, data: { error: gettext("The server did not answer. Try again.") } };
  }
}

function toForm(fields) {
  const form = new FormData();
  for (const [key, value] of Object.entries(fields)) form.set(key, value);
  return form;
}

/** JSON of an address, or null; `more` are further headers. */
export async function get(url, more = {}) {
  try {
    const answer = await fetch(url, { headers: { Accept: "application/json", ...more } });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

/**
 * Asks before something is lost; resolves to true when the person says so, having typed the name of the one thing or
 * the number of several where `typed`. A name may be followed by what else is to be said: {name, more}.
 */
export function sure(label, danger, things, typed = false) {
  const dialog = document.getElementById("sure");
  const several = things.length > 1;
  const field = dialog.querySelector("input");
  const yes = dialog.querySelector("[value=yes]");
  const word = wordToType(things);
  dialog.querySelector("h2").textContent = several ? interpolate(gettext("%s: these %s?"), [label, things.length]) : `${label}: ${things[0].name}?`;
  dialog.querySelector("p").textContent = danger;
  dialog.querySelector("ul").replaceChildren(...(several ? things.map(line) : []));
  field.closest("label").querySelector("span").textContent = several
    ? interpolate(gettext("Type %s, how many they are, to say that you mean it."), [word])
    : gettext("Type its name to say that you mean it.");
  field.closest("label").hidden = !typed;
  field.value = "";
  field.oninput = () => (yes.disabled = typed && field.value.trim() !== word);
  field.oninput();
  yes.textContent = label;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** What says that one means it, of one thing and of several. */
export function wordToType(things) {
  return things.length === 1 ? things[0].name : String(things.length);
}

function line({ name, more }) {
  return make("li", {}, make("b", {}, name), more ? make("span", { className: "muted" }, ` ${more}`) : "");
}
