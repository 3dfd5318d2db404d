// Shows what /drift tells: counts of every leading version, and for each measure the recent photos beside the held-out ones.

import { readDrift } from "./api.js";
import { bar, copy, percent } from "./parts.js";

const REFRESH = 10_000;
const MOST_LABELS = 12;

const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
// The first edge may be the last number before 0, which has three hundred zeros.
// And the last one may be just below 1, and must not be rounded to it: a probability is never above 1.
function short(value) {
  if (value > 0.9995 && value < 1) return (Math.floor(value * 1e6) / 1e6).toLocaleString("en", { maximumSignificantDigits: 6 });
  return (Math.abs(value) < 1e-6 ? 0 : value).toLocaleString("en", { maximumSignificantDigits: 3 });
}

function describeVersion(version, fewest) {
  const element = copy("version-template");
  element.querySelector(".alias").textContent = version.alias;
  const since = new Date(version.since).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  element.querySelector(".origin").textContent = `version ${version.version}, loaded ${since}`;
  element.querySelector(".summary").textContent = summarise(version, fewest);
  const share = (photos) => photos / Math.max(1, version.photos);
  const labels = Object.entries(version.labels).sort(([, first], [, second]) => second - first).slice(0, MOST_LABELS);
  element.querySelector(".labels").append(...labels.map(([name, photos]) => bar(name, share(photos), `${photos}`)));
  const bins = version.probabilities.map(({ at_most: end, photos }, index, all) =>
    bar(index ? `${short(100 * all[index - 1].at_most)} to ${short(100 * end)} %` : `up to ${short(100 * end)} %`, share(photos), `${photos}`));
  element.querySelector(".probabilities").append(...bins.filter((row, index) => index || version.probabilities[0].photos));
  const moved = element.querySelector(".moved");
  moved.hidden = !version.measures.length;
  const names = version.classes;
  moved.querySelector(".measures").append(...version.measures.map((measure) => describeMeasure(measure, names)));
  return element;
}

function summarise(version, fewest) {
  const parts = [count(version.photos, "photo"), `${version.photos ? percent(version.not_sure / version.photos) : "none"} not sure`];
  if (version.reference_photos === null) return `${parts.join(", ")}. It has no readable reference, so nothing can be said of drift.`;
  const moved = version.measures.filter((measure) => measure.moved).map((measure) => measure.name.replace("_", " "));
  const verdict = version.recent_photos < fewest ? "too few of late to say what has moved"
    : moved.length ? `moved: ${moved.join(", ")}` : "nothing has moved";
  return `${parts.join(", ")}; ${verdict} (${version.recent_photos} of late against ${version.reference_photos} held out).`;
}

function describeMeasure(measure, labels) {
  const element = copy("measure-template");
  element.querySelector("strong").textContent = measure.name.replace("_", " ");
  element.querySelector(".badge").hidden = !measure.moved;
  element.querySelector(".what").textContent = measure.what;
  const names = { label: labels, not_sure: ["sure", "not sure"] }[measure.name] ?? nameBins(measure.edges);
  const highest = Math.max(...measure.then, ...measure.now);
  element.querySelector(".chart").append(...measure.then.map((then, index) => {
    const pair = document.createElement("span");
    const now = measure.now[index];
    pair.title = `${names[index]}: ${percent(then)} held out, ${percent(now)} of late`;
    for (const [kind, share] of [["then", then], ["now", now]]) {
      const column = document.createElement("i");
      column.className = kind;
      column.style.height = `${(100 * share) / highest}%`;
      pair.append(column);
    }
    return pair;
  }));
  const [first, last] = element.querySelectorAll(".ends span");
  first.textContent = names[0];
  last.textContent = names.at(-1);
  element.querySelector(".index").textContent = `index ${measure.index.toFixed(2)}, limit ${measure.limit.toFixed(2)}`;
  return element;
}

function nameBins(edges) {
  const inner = edges.slice(1).map((end, index) => `${short(edges[index])} to ${short(end)}`);
  return [`below ${short(edges[0])}`, ...inner, `above ${short(edges.at(-1))}`];
}

async function show() {
  const notice = document.getElementById("notice");
  try {
    const { model, window: most, fewest, versions } = await readDrift();
    document.getElementById("served").textContent = model;
    document.getElementById("window").textContent = most.toLocaleString("en");
    document.getElementById("versions").replaceChildren(...versions.map((version) => describeVersion(version, fewest)));
    notice.hidden = versions.length > 0;
    notice.textContent = "No model can answer yet.";
  } catch (error) {
    notice.textContent = error.message;
    notice.hidden = false;
  }
  setTimeout(show, REFRESH);
}

show();
