// Lists the routes of the OpenAPI document.

const here = new URL(".", location.href).href.replace(/\/$/, "");
for (const place of document.querySelectorAll(".here")) place.textContent = here;
const { paths } = await (await fetch("openapi.json")).json();
for (const [path, methods] of Object.entries(paths)) {
  for (const [method, route] of Object.entries(methods)) {
    const row = document.getElementById("routes").insertRow();
    row.insertCell().append(Object.assign(document.createElement("code"), { textContent: `${method.toUpperCase()} ${path}` }));
    // What stands between backticks is code.
    const parts = route.description.split("`").map((text, number) => (number % 2 ? Object.assign(document.createElement("code"), { textContent: text }) : text));
    row.insertCell().append(...parts);
  }
}
