"""What surrounds the animal in a generated photo: the background, things in front of it, the light and the camera.

In: a size in pixels and a random generator. Out: Pillow images of that size. Nothing here knows the class of the animal, which is what
keeps backgrounds, colours, sharpness and sizes from giving it away.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Size = tuple[int, int]

SHORT_SIDE = (160.0, 420.0)
ASPECT = (1.0, 1.5)
LANDSCAPE_SHARE = 0.6
OCCLUDER_SHARE = 0.2
TWO_OCCLUDERS_SHARE = 0.3

# Backgrounds are drawn small: that is faster, and enlarging softens them as a lens does.
BACKGROUND_SCALE = 6

WALLS: tuple[Colour, ...] = (
    (196, 186, 170), (150, 160, 168), (120, 98, 82), (92, 104, 92), (206, 200, 196), (168, 128, 100),
    (88, 92, 112), (148, 160, 120), (70, 66, 64), (190, 160, 120), (126, 142, 160), (160, 112, 104),
)  # fmt: skip
NUM_BLADES = 60
GREENS: tuple[Colour, ...] = ((98, 138, 70), (124, 150, 82), (78, 112, 62), (150, 158, 96))
SKIES: tuple[Colour, ...] = ((176, 204, 226), (206, 214, 220), (150, 176, 196), (226, 216, 200))


def pick(colours: tuple[Colour, ...], rng: np.random.Generator, jitter: float = 18.0) -> Colour:
    """Return one of `colours`, with each channel moved by up to `jitter` levels."""
    moved = np.clip(np.array(colours[int(rng.integers(len(colours)))]) + rng.uniform(-jitter, jitter, 3), 0, 255)
    return (int(moved[0]), int(moved[1]), int(moved[2]))


def draw_size(rng: np.random.Generator) -> Size:
    """Return the width and height of a photo in pixels."""
    short = float(np.exp(rng.uniform(*np.log(SHORT_SIDE))))
    sides = (round(short * rng.uniform(*ASPECT)), round(short))
    return sides if rng.random() < LANDSCAPE_SHARE else (sides[1], sides[0])


def _draw_gradient(size: Size, rng: np.random.Generator) -> Image.Image:
    corners = np.array([pick(WALLS, rng, 30.0) for _ in range(4)], dtype=np.uint8)
    return Image.fromarray(corners.reshape(2, 2, 3)).resize(size, Image.Resampling.BICUBIC)


def _draw_texture(size: Size, rng: np.random.Generator) -> Image.Image:
    grain = int(rng.integers(1, 6))
    cells = rng.integers(80, 176, (size[1] // grain + 2, size[0] // grain + 2), dtype=np.uint8)
    mask = Image.fromarray(cells).resize(size, Image.Resampling.BILINEAR)
    return Image.composite(Image.new("RGB", size, pick(WALLS, rng)), Image.new("RGB", size, pick(WALLS, rng)), mask)


def _draw_room(size: Size, rng: np.random.Generator) -> Image.Image:
    width, height = size
    image = Image.new("RGB", size, pick(WALLS, rng))
    draw = ImageDraw.Draw(image)
    floor = int(height * rng.uniform(0.5, 0.85))
    draw.rectangle((0, floor, width, height), pick(WALLS, rng))
    plank = max(4, width // int(rng.integers(4, 9)))
    seam = pick(WALLS, rng)
    for left in range(-width, 2 * width, plank):
        draw.line((left, floor, 2 * left - width // 2, height), seam)
    draw.rectangle((0, floor - 4, width, floor), pick(WALLS, rng))
    for _ in range(int(rng.integers(0, 3))):
        left, top = int(rng.uniform(0, 0.8) * width), int(rng.uniform(0, 0.35) * height)
        frame = (left, top, left + int(width * rng.uniform(0.12, 0.3)), top + int(height * rng.uniform(0.12, 0.3)))
        draw.rectangle(frame, pick(SKIES + WALLS, rng), pick(WALLS, rng, 40.0), 3)
    return image


def _draw_grass(size: Size, rng: np.random.Generator) -> Image.Image:
    width, height = size
    image = Image.new("RGB", size, pick(SKIES, rng))
    draw = ImageDraw.Draw(image)
    horizon = int(height * rng.uniform(0.05, 0.7))
    for left in rng.uniform(-0.2, 1.0, 5) * width:
        crown = width * rng.uniform(0.1, 0.3)
        draw.ellipse((left, horizon - crown, left + 2 * crown, horizon + crown), pick(GREENS, rng, 30.0))
    draw.rectangle((0, horizon, width, height), pick(GREENS, rng))
    blade = max(3, height // 12)
    for left, share in zip(rng.uniform(0, width, NUM_BLADES), rng.random(NUM_BLADES), strict=True):
        bottom = horizon + share * (height - horizon + blade)
        draw.line((left, bottom, left + blade * (share - 0.5), bottom - blade), pick(GREENS, rng, 28.0))
    return image


def _draw_clutter(size: Size, rng: np.random.Generator) -> Image.Image:
    image = _draw_gradient(size, rng)
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 9))):
        _draw_thing(draw, size, rng, float(rng.uniform(0.08, 0.3)))
    return image


def _draw_thing(draw: ImageDraw.ImageDraw, size: Size, rng: np.random.Generator, share: float) -> None:
    """Draw one ball, box, wedge or stick, about `share` of the short side across, anywhere in the picture."""
    radius = share * min(size) / 2
    x, y = rng.uniform(0, size[0]), rng.uniform(0, size[1])
    colour = pick(WALLS + GREENS + SKIES, rng, 30.0)
    kind = rng.integers(4)
    if kind == 0:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour, pick(WALLS, rng, 30.0))
    elif kind == 1:
        draw.rectangle((x - radius, y - radius * 0.8, x + radius, y + radius * 0.8), colour, pick(WALLS, rng, 30.0))
    else:
        # A wedge has the width of an ear, a stick that of a tail: both make shapes alone a less certain sign.
        angles = rng.uniform(0, 2 * np.pi) + np.array([0.0, 2.4, 3.9] if kind == 2 else [0.0, 0.16, np.pi, np.pi + 0.16])
        reach = radius if kind == 2 else 2 * radius
        draw.polygon([(x + reach * np.cos(angle), y + reach * np.sin(angle)) for angle in angles], colour)


BACKGROUNDS: tuple[Callable[[Size, np.random.Generator], Image.Image], ...] = (
    _draw_gradient,
    _draw_texture,
    _draw_room,
    _draw_grass,
    _draw_clutter,
)


def draw_background(size: Size, rng: np.random.Generator) -> Image.Image:
    """Return an RGB image of `size` with a place for the animal to be in."""
    small = (-(-size[0] // BACKGROUND_SCALE), -(-size[1] // BACKGROUND_SCALE))
    return BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))](small, rng).resize(size, Image.Resampling.BICUBIC)


def add_occluders(image: Image.Image, rng: np.random.Generator) -> None:
    """Draw, in some photos, one or two things in front of the animal."""
    if rng.random() < OCCLUDER_SHARE:
        draw = ImageDraw.Draw(image)
        for _ in range(1 + int(rng.random() < TWO_OCCLUDERS_SHARE)):
            _draw_thing(draw, image.size, rng, float(rng.uniform(0.12, 0.3)))


def take_photo(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return `image` as a camera sees it: lit from one side, tinted, a little out of focus and noisy."""
    width, height = image.size
    blurred = image.filter(ImageFilter.BoxBlur(float(rng.uniform(0.0, 0.005)) * min(width, height)))
    slope_x, slope_y = rng.uniform(-0.25, 0.25, 2)
    across = np.linspace(-slope_x, slope_x, width, dtype=np.float32)
    down = np.linspace(-slope_y, slope_y, height, dtype=np.float32)
    light = np.float32(rng.uniform(0.8, 1.12)) * (1 + across[None, :] + down[:, None])
    tints = rng.uniform(0.94, 1.06, 3).astype(np.float32)
    noise = rng.standard_normal((height, width), dtype=np.float32) * np.float32(rng.uniform(1.0, 5.0))
    # One channel at a time: numpy is several times slower along a last axis of three.
    channels = [np.asarray(channel) * (light * tint) + noise for channel, tint in zip(blurred.split(), tints, strict=True)]
    return Image.merge("RGB", [Image.fromarray(np.clip(channel, 0, 255).astype(np.uint8)) for channel in channels])
