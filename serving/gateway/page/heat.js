// Draws a heat map over a photo: rows of numbers from 0 to 1 become a small picture, which the browser stretches smoothly.

// From clear over yellow to red: red, green, blue, opacity at 0, a half and 1.
const COLOURS = [[255, 220, 70, 0], [255, 175, 20, 150], [255, 45, 0, 235]];

function colour(value) {
  const position = Math.min(Math.max(value, 0), 1) * (COLOURS.length - 1);
  const index = Math.min(Math.floor(position), COLOURS.length - 2);
  return COLOURS[index].map((start, channel) => start + (COLOURS[index + 1][channel] - start) * (position - index));
}

export function drawHeat(canvas, rows, photo, resize) {
  canvas.width = rows[0].length;
  canvas.height = rows.length;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(canvas.width, canvas.height);
  picture.data.set(rows.flat().flatMap(colour));
  context.putImageData(picture, 0, 0);
  place(canvas, photo.naturalWidth, photo.naturalHeight, resize);
}

// The network saw a square: all of the photo squeezed into it, or padded, or its middle alone.
function place(canvas, width, height, resize) {
  const side = { pad: Math.max(width, height), centre_crop: Math.min(width, height) }[resize];
  const [across, down] = side ? [side / width, side / height] : [1, 1];
  Object.assign(canvas.style, {
    width: `${100 * across}%`, height: `${100 * down}%`, left: `${50 * (1 - across)}%`, top: `${50 * (1 - down)}%`,
  });
}
