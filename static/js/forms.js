// The form of a host: only the fields that the chosen way takes.

const PORTS = { ssh: "22", tls: "16514", tcp: "16509" };

function adapt(form) {
  const way = form.querySelector('[name="transport"]:checked')?.value ?? "";
  const remote = way in PORTS;
  const address = form.querySelector("[data-address]");
  address.hidden = !remote;
  form.querySelector("[data-user]").hidden = way !== "ssh";
  for (const input of address.querySelectorAll("input")) input.disabled = !remote || (input.name === "user" && way !== "ssh");
  form.querySelector('[name="hostname"]').required = remote;
  form.querySelector('[name="port"]').placeholder = PORTS[way] ?? "";
  for (const part of document.querySelectorAll("[data-for]")) part.hidden = part.dataset.for !== way;
}

const form = document.querySelector("[data-host-form]");
if (form) {
  form.addEventListener("change", () => adapt(form));
  adapt(form);
}
