// Passkeys: asks the browser for one and sends what it answers as a form. Where the browser offers none, nothing shows.

const { gettext = (text) => text } = window;
const capable = window.isSecureContext && window.PublicKeyCredential?.parseCreationOptionsFromJSON;

/** What the server wants to be asked; it remembers it until the answer comes. */
async function optionsOf(form) {
  if (form.dataset.options) return JSON.parse(form.dataset.options);
  const body = new FormData();
  body.set("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
  const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error((await answer.json()).error);
  return (await answer.json()).publicKey;
}

async function create(form) {
  const options = await optionsOf(form);
  const alone = form.elements.passwordless.checked;
  const choice = { residentKey: alone ? "required" : "discouraged", requireResidentKey: alone };
  if (alone) choice.userVerification = "required";
  options.authenticatorSelection = { ...options.authenticatorSelection, ...choice };
  return navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) });
}

async function find(form) {
  return navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(await optionsOf(form)) });
}

/** The browser's sentences are for programmers; what most often goes wrong is that somebody changed their mind. */
function words(error) {
  if (error.name === "InvalidStateError") return gettext("This passkey is known here already.");
  if (error instanceof DOMException || error instanceof TypeError) return gettext("That did not work, or was cancelled. Try again.");
  return error.message || gettext("That did not work, or was cancelled. Try again.");
}

function enliven(form, ask) {
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    if (form.elements.credential.value) return;
    event.preventDefault();
    const button = form.querySelector("button");
    const wrong = form.querySelector("[role=alert]");
    wrong.textContent = "";
    button.disabled = true;
    try {
      form.elements.credential.value = JSON.stringify((await ask(form)).toJSON());
      form.submit();
    } catch (error) {
      wrong.textContent = words(error);
      button.disabled = false;
    }
  });
}

for (const form of document.querySelectorAll("[data-passkey-create]")) if (capable) enliven(form, create);
for (const form of document.querySelectorAll("[data-passkey-get]")) if (capable) enliven(form, find);
for (const note of document.querySelectorAll("[data-passkey-none]")) note.hidden = Boolean(capable);
