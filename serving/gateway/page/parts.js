// Pieces that the pages share.

export const copy = (name) => document.getElementById(name).content.firstElementChild.cloneNode(true);

export function percent(value) {
  if (value > 0.999 && value < 1) return "> 99.9 %";
  if (value < 0.001 && value > 0) return "< 0.1 %";
  return `${(100 * value).toFixed(1)} %`;
}

// A row of a list of bars: a name, a number, and a bar as long as the share; none for 0, since the shortest must be seen.
export function bar(name, share, number = percent(share)) {
  const row = document.createElement("li");
  const [label, text, track, fill] = ["span", "span", "span", "i"].map((tag) => document.createElement(tag));
  label.textContent = name;
  text.textContent = number;
  track.className = "track";
  track.ariaHidden = "true";
  fill.style.width = `${100 * share}%`;
  if (share) track.append(fill);
  row.append(label, text, track);
  return row;
}
