// The API's documentation: Swagger UI over our own OpenAPI document. "Try it out" acts as the person signed in here.
"use strict";

const place = document.getElementById("apidocs");
const csrf = document.querySelector("#csrf input").value;
const dark = matchMedia("(prefers-color-scheme: dark)");

function followTheme() {
  const chosen = document.documentElement.dataset.bsTheme;
  document.documentElement.classList.toggle("dark-mode", chosen ? chosen === "dark" : dark.matches);
}

followTheme();
dark.addEventListener("change", followTheme);

SwaggerUIBundle({
  domNode: place,
  url: place.dataset.document,
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
  requestInterceptor(request) {
    // A token, where one was entered, speaks for itself.
    if (!request.headers.Authorization) request.headers["X-CSRFToken"] = csrf;
    return request;
  },
});
