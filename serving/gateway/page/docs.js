// Lists the routes of the OpenAPI document.

const here = new URL(".", location.href).href.replace(/\/$/, "");
for (const place of document.querySelectorAll(".here")) place.textContent = here;
const { paths } = await (await fetch("openapi.json")).json();
for (const [path, methods] of Object.entries(paths)) {
  for (const [method, route] of Object.entries(methods)) {
    const row = document.getElementById("routes").insertRow();
    row.insertCell().append(Object.assign(document.createElement("code"), { textContent: `${method.toUpperCase()} ${path}` }));
    row.insertCell().textContent = route.description;
  }
}
