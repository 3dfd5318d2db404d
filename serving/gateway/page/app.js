// Takes photos in, by choosing, the camera, dropping or pasting, and puts a card on the page for each.

import { readModels } from "./api.js";
import { Card } from "./card.js";

const byId = (id) => document.getElementById(id);
const MOST_AT_ONCE = 2;
let models = null;
let waiting = [];
let numAsking = 0;

async function showModels() {
  try {
    models = await readModels();
  } catch (error) {
    return notify(error.message);
  }
  const [champion] = models.versions;
  if (!champion) return notify("No model can answer yet. This page looks again by itself.", 5000);
  byId("notice").hidden = true;
  const date = new Date(champion.created).toLocaleDateString(undefined, { dateStyle: "medium" });
  byId("served").textContent = `${models.model}, version ${champion.version} of ${date}`;
  const names = champion.classes.length > 12 ? [...champion.classes.slice(0, 11), `${champion.classes.length - 11} more`] : champion.classes;
  byId("classes").textContent = `It tells apart ${new Intl.ListFormat("en").format(names)}.`;
  if (champion.generated) notify("This model has learnt from drawings only; what it says about photos means nothing.");
}

function notify(text, lookAgain = 0) {
  byId("notice").textContent = text;
  byId("notice").hidden = false;
  if (lookAgain) setTimeout(showModels, lookAgain);
}

async function add(files) {
  const photos = [...files];
  if (!photos.length) return;
  if (!models?.versions.length) await showModels();
  if (!models?.versions.length) return;
  document.body.classList.add("has-photos");
  const cards = photos.map((photo) => new Card(photo, models));
  byId("photos").prepend(...cards.map((card) => card.element));
  for (const card of cards) {
    card.onClose(() => {
      waiting = waiting.filter((other) => other !== card);
      const next = card.element.nextElementSibling ?? card.element.previousElementSibling;
      card.element.remove();
      (next?.querySelector(".close") ?? byId("choose")).focus();
    });
  }
  waiting.push(...cards);
  work();
}

async function work() {
  while (numAsking < MOST_AT_ONCE && waiting.length) {
    numAsking += 1;
    const card = waiting.shift();
    card.ask().then((sentence) => { byId("spoken").textContent = sentence; }).finally(() => {
      numAsking -= 1;
      work();
    });
  }
}

function takeFrom(button, input) {
  byId(button).addEventListener("click", () => byId(input).click());
  byId(input).addEventListener("change", () => {
    add(byId(input).files);
    byId(input).value = "";
  });
}

takeFrom("choose", "files");
takeFrom("shoot", "camera");
document.addEventListener("paste", (event) => add(event.clipboardData.files));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("dragging"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  add(event.dataTransfer.files);
});
// A new champion may have taken over while nobody looked.
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && showModels());
showModels();
