// Talks to the gateway. An API key, if the server wants one, is asked for once and kept until the tab closes.

const KEY = "pawflow.key";
let asking = null;

async function request(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  let response;
  try {
    response = await fetch(path, { ...options, headers: key ? { "X-API-Key": key } : {} });
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  if (response.status === 401) {
    // Several requests may be refused at once; one question is enough.
    asking ??= askForKey().finally(() => { asking = null; });
    await asking;
    return request(path, options);
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.message ?? `The server answered with status ${response.status}.`);
  return body;
}

function askForKey() {
  const dialog = document.getElementById("key");
  dialog.showModal();
  return new Promise((resolve, reject) => {
    dialog.addEventListener("close", () => {
      const input = dialog.querySelector("input");
      if (!input.value) reject(new Error("The server wants an API key."));
      sessionStorage.setItem(KEY, input.value);
      input.value = "";
      resolve();
    }, { once: true });
  });
}

export const readModels = () => request("models");
export const readDrift = () => request("drift");

export async function classify(photo, alias) {
  const form = new FormData();
  form.append("image", photo);
  const path = `predict/${encodeURIComponent(alias)}?heat_map=true`;
  return (await request(path, { method: "POST", body: form })).predictions[0];
}

export function flag(photo, version, label) {
  const form = new FormData();
  form.append("image", photo);
  form.append("version", version);
  form.append("label", label);
  form.append("consent", "yes");
  return request("flag", { method: "POST", body: form });
}
