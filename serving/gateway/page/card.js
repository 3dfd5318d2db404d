// One photo and what the versions say of it.

import { classify, flag } from "./api.js";
import { drawHeat } from "./heat.js";
import { bar, copy, percent } from "./parts.js";

const NUM_BARS = 5;
// With fewer rows a map says nothing of where.
const FEWEST_ROWS = 3;
// Longer side of a photo on the page, in pixels; smaller ones are enlarged, so that the heat map can be seen.
const SMALLEST_SHOWN = 320;

export class Card {
  constructor(photo, models) {
    this.photo = photo;
    this.models = models;
    this.element = copy("card-template");
    this.image = this.element.querySelector("img");
    this.canvas = this.element.querySelector("canvas");
    this.heat = this.element.querySelector(".heat");
    this.image.src = URL.createObjectURL(photo);
    this.image.alt = `Your photo ${photo.name}`;
    this.image.addEventListener("load", () => this.#enlarge());
    this.image.addEventListener("error", () => this.#hideImage());
    this.element.querySelector("figcaption").textContent = photo.name;
    const slider = this.heat.querySelector("input");
    slider.addEventListener("input", () => { this.canvas.style.opacity = slider.value / 100; });
    this.canvas.style.opacity = slider.value / 100;
  }

  onClose(callback) {
    this.element.querySelector(".close").addEventListener("click", () => {
      URL.revokeObjectURL(this.image.src);
      callback();
    });
  }

  // Asks every version, shows the answers, and returns a sentence for screen readers.
  async ask() {
    const versions = this.models.versions;
    const results = await Promise.allSettled(versions.map((version) => classify(this.photo, version.alias)));
    const opinions = this.element.querySelector(".opinions");
    opinions.replaceChildren();
    const reasons = new Set(results.flatMap((result) => (result.reason ? [result.reason.message] : [])));
    for (const reason of reasons) opinions.append(this.#failure(reason));
    const answered = versions.map((version, index) => ({ version, answer: results[index].value })).filter(({ answer }) => answer);
    for (const { version, answer } of answered) opinions.append(this.#opinion(version, answer));
    await this.image.decode().catch(() => {});
    const mapped = answered.filter(({ answer }) => answer.heat_map?.length >= FEWEST_ROWS);
    const telling = mapped.filter(({ answer }) => answer.heat_map.flat().some((value) => value > 0));
    this.#offerHeat(telling);
    this.element.querySelector(".no-heat").hidden = !mapped.length || telling.length > 0;
    if (answered.length && this.models.flagging) opinions.append(this.#flag(answered[0].answer));
    const spoken = answered.map(({ version, answer }) =>
      `${version.alias}: ${answer.label}, ${percent(answer.probability)}${answer.not_sure ? ", not sure" : ""}`);
    return `${this.photo.name}. ${[...spoken, ...reasons].join(". ")}`;
  }

  #failure(reason) {
    const text = document.createElement("p");
    text.className = "failed";
    text.textContent = reason.replace(/^photo 0: /, "").replace(/^./, (first) => first.toUpperCase());
    return text;
  }

  #opinion(version, answer) {
    const element = copy("opinion-template");
    element.querySelector(".alias").textContent = version.alias;
    // Another one may have become champion since the page has asked which there are.
    const date = answer.model_version === version.version
      ? `, ${new Date(version.created).toLocaleDateString(undefined, { dateStyle: "medium" })}` : "";
    element.querySelector(".origin").textContent = `version ${answer.model_version}${date}`;
    element.querySelector(".label").textContent = answer.label;
    element.querySelector(".badge").hidden = !answer.not_sure;
    const sorted = Object.entries(answer.probabilities).sort(([, first], [, second]) => second - first);
    const bars = element.querySelector(".bars");
    const show = (number) => bars.replaceChildren(...sorted.slice(0, number).map(([name, value]) => bar(name, value)));
    show(NUM_BARS);
    const more = element.querySelector(".more");
    more.hidden = sorted.length <= NUM_BARS;
    more.textContent = `All ${sorted.length} classes`;
    more.addEventListener("click", () => { show(sorted.length); more.hidden = true; });
    return element;
  }

  #offerHeat(answered) {
    if (!answered.length || !this.image.naturalWidth) return;
    this.heat.hidden = false;
    const buttons = answered.map(({ version, answer }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `${version.alias}: ${answer.label}`;
      button.addEventListener("click", () => {
        for (const other of buttons) other.ariaPressed = String(other === button);
        drawHeat(this.canvas, answer.heat_map, this.image, version.resize);
      });
      return button;
    });
    buttons[0].click();
    if (buttons.length > 1) this.heat.querySelector(".whose").append(...buttons);
  }

  #enlarge() {
    const { naturalWidth: width, naturalHeight: height } = this.image;
    if (Math.max(width, height) < SMALLEST_SHOWN) this.image.style.width = `${(SMALLEST_SHOWN * width) / Math.max(width, height)}px`;
  }

  #hideImage() {
    this.image.hidden = true;
    this.element.querySelector(".unshown").hidden = false;
  }

  #flag(answer) {
    const element = copy("flag-template");
    const form = element.querySelector("form");
    const choices = [["Choose …", "", true], ...Object.keys(answer.probabilities).map((name) => [name, name]), ["something else", "else"]];
    form.label.append(...choices.map(([text, value, disabled]) => {
      const option = new Option(text, value, disabled, disabled);
      option.disabled = Boolean(disabled);
      return option;
    }));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const outcome = form.querySelector(".outcome");
      const button = form.querySelector("button");
      button.disabled = true;
      try {
        await flag(this.photo, answer.model_version, form.label.value === "else" ? "" : form.label.value);
        outcome.textContent = "Thank you. The photo waits for the next training.";
        button.hidden = true;
      } catch (error) {
        outcome.textContent = error.message;
        button.disabled = false;
      }
    });
    return element;
  }
}
