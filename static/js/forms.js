// The form of a host, and of another hypervisor: only the fields that the chosen way takes.

const PORTS = { ssh: "22", tls: "16514", tcp: "16509", esx: "443", vpx: "443", xen: "22", vbox: "22", qemu: "22" };

function adapt(form) {
  const way = form.querySelector('[name="transport"]:checked, [name="kind"]:checked')?.value ?? "";
  for (const part of form.querySelectorAll("[data-only]")) {
    part.hidden = !part.dataset.only.split(" ").includes(way);
    for (const input of part.querySelectorAll("input")) input.disabled = part.hidden;
  }
  form.querySelector('[name="hostname"]').required = way in PORTS;
  form.querySelector('[name="port"]').placeholder = PORTS[way] ?? "";
  form.querySelector('[name="user"]').placeholder = PORTS[way] === "22" || way === "esx" ? "root" : "";
  for (const part of document.querySelectorAll("[data-for]")) part.hidden = !part.dataset.for.split(" ").includes(way);
}

const form = document.querySelector("[data-host-form]");
if (form) {
  form.addEventListener("change", () => adapt(form));
  adapt(form);
}
