"""The artist: draws one cartoon cat or dog as if it had been photographed.

In: an `Anatomy` (what the animal may look like) and a random generator. Out: an RGB photo. The repository cannot ship photos, so these
stand in for them; they are hard enough that a classifier has to look at shapes, because all but the anatomy is drawn from
distributions that every class shares.

All lengths are in head radii: the head is the unit circle around 0, the real axis points to where the animal faces and the imaginary
axis down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops

from components.download.sources.anatomy import COATS, Anatomy, Animal, draw_animal
from components.download.sources.pen import SUPERSAMPLING, Pen, Points, list_points, trace_curve, trace_limb, trace_line, trace_oval
from components.download.sources.scenery import Colour, add_occluders, draw_background, draw_size, pick, take_photo

HEAD_HEIGHT = 0.96

# Tones of fur, as shares of its colour out of 255.
FAR_TONE, BODY_TONE, EAR_TONE, HEAD_TONE, MUZZLE_TONE = 186, 222, 214, 246, 255

INK: Colour = (34, 28, 30)
PINK: Colour = (214, 134, 132)
INNER_EARS: tuple[Colour, ...] = (PINK, (196, 138, 130), (150, 96, 96), (226, 172, 160))
NOSES: tuple[Colour, ...] = ((34, 28, 30), (34, 28, 30), (84, 56, 50), (120, 72, 68))
IRISES: tuple[Colour, ...] = ((96, 62, 38), (70, 48, 36), (176, 132, 50), (116, 142, 70), (110, 150, 178))


@dataclass(frozen=True)
class Ear:
    """One ear: its outline (base at 0, one ear length long), where it grows on the head, how far it leans and whether it hangs in front."""

    outline: Points
    base: complex
    lean: float
    in_front: bool


# fmt: off
EARS: dict[str, Ear] = {
    "pointed": Ear(list_points(-0.46+0.3j, -0.3-0.4j, -0.04-0.98j, 0.04-0.98j, 0.32-0.4j, 0.46+0.3j), 0.56-0.68j, 0.32, in_front=False),
    "rounded": Ear(list_points(-0.42+0.3j, -0.44-0.4j, -0.2-0.9j, 0.2-0.9j, 0.44-0.4j, 0.42+0.3j), 0.58-0.68j, 0.4, in_front=False),
    "folded": Ear(list_points(-0.42+0.3j, -0.34-0.32j, 0.1-0.56j, 0.5-0.4j, 0.74+0.16j, 0.5+0.3j, 0.2+0.1j), 0.56-0.7j, 0.2, in_front=True),
    "hanging": Ear(
        list_points(-0.2-0.08j, 0.2-0.14j, 0.42+0.3j, 0.42+0.8j, 0.16+1.06j, -0.12+0.84j, -0.14+0.3j), 0.76-0.56j, -0.16, in_front=True
    ),
}
# fmt: on


# Each pattern returns the outlines to be dyed in the marking colour. They cover the animal's whole frame: the relief cuts them out.
def _stripe(rng: np.random.Generator) -> list[Points]:
    reach = np.linspace(-1, 1, 7)
    slant = np.exp(1j * rng.uniform(1.2, 1.9))
    starts = [complex(x, y) for y in (-0.8, 1.6, 3.2) for x in np.arange(-5, 3, 0.55) + rng.uniform(-0.15, 0.15)]
    return [trace_limb(start + slant * 0.7 * reach + 0.12 * reach**2, 0.11 * (1 - reach**2) + 0.01) for start in starts]


def _patch(rng: np.random.Generator) -> list[Points]:
    centres = rng.uniform(-5, 2, 9) + 1j * rng.uniform(-1, 4, 9)
    return [
        trace_curve(centre + rng.uniform(0.5, 1.1) * np.exp(2j * np.pi * np.arange(6) / 6) * rng.uniform(0.7, 1.2, 6)) for centre in centres
    ]


def _spot(rng: np.random.Generator) -> list[Points]:
    centres = rng.uniform(-5, 2, 70) + 1j * rng.uniform(-1, 4.5, 70)
    return [trace_oval(centre, rng.uniform(0.07, 0.2), rng.uniform(0.07, 0.2), 8) for centre in centres]


PATTERNS: dict[str, Callable[[np.random.Generator], list[Points]]] = {
    "plain": lambda rng: [],
    "stripes": _stripe,
    "patches": _patch,
    "spots": _spot,
    "bib": lambda rng: [],
}


def _dye_coat(pen: Pen, animal: Animal, rng: np.random.Generator) -> Colour:
    """Dye the whole coat layer and return the pale colour that goes with it."""
    base, marking, pale = (pick((colour,), rng, 14.0) for colour in COATS[animal.coat])
    pen.coat.paste(base, (0, 0, *pen.coat.size))
    for outline in PATTERNS[animal.pattern](rng):
        pen.dye(outline, marking)
    if animal.pattern == "bib":
        pen.dye(trace_oval(0.5 + 2.2j, 0.9, 1.4), pale)
        pen.dye(trace_oval(0.1 + 0.1j, 0.3, 1.2), pale)
    return pale


def _draw_ears(pen: Pen, animal: Animal, facing: float, inner: Colour, *, in_front: bool) -> None:
    ear = EARS[animal.ear]
    if ear.in_front != in_front:
        return
    for side in (-1, 1):
        # The ear on the side that the head turns to is the far one, and looks narrower.
        narrowing = 1 - 0.45 * max(0.0, side * facing)
        lean = np.exp(1j * ear.lean)
        shape = animal.ear_length * ear.outline * lean
        base = complex(ear.base.real * animal.face_width, ear.base.imag)
        outline = side * narrowing * (base + shape).real - 0.18 * facing + 1j * (base + shape).imag
        pen.fur(trace_curve(outline, 4), EAR_TONE)
        if not in_front:
            inside = outline.mean() - 0.05j + 0.5 * (outline - outline.mean())
            # Details lie over all fur, so what the head would hide is moved to its edge.
            depth = np.abs(inside.real / animal.face_width + 1j * inside.imag / HEAD_HEIGHT)
            pen.paint(inside / np.minimum(depth / 1.03, 1), inner)


def _draw_eyes(pen: Pen, animal: Animal, facing: float, rng: np.random.Generator) -> None:
    iris = pick(IRISES, rng)
    size, squint = animal.eye_size, rng.uniform(0.7, 1.0)
    for side in (-1, 1):
        if side * facing > 0.75:
            continue
        centre = complex((0.42 * side + 0.34 * facing) * animal.face_width, -0.12)
        narrowing = 1 - 0.4 * max(0.0, side * facing)
        pen.paint(trace_oval(centre, 1.18 * size * narrowing, 1.18 * size * squint), INK)
        pen.paint(trace_oval(centre, size * narrowing, size * squint), iris)
        # Both pupils cover the same area, or the share of dark pixels would give cats away.
        pupil = (0.36, 0.9) if animal.slit_pupils else (0.57, 0.57)
        pen.paint(trace_oval(centre, pupil[0] * size, pupil[1] * size * squint), INK)
        pen.paint(trace_oval(centre - size * (0.25 + 0.3j), 0.2 * size, 0.2 * size, 10), (250, 250, 246))


def _draw_muzzle(pen: Pen, animal: Animal, facing: float, pale: Colour, rng: np.random.Generator) -> None:
    """Draw muzzle, nose, mouth, tongue and whiskers; the muzzle grows sideways as the head turns and downwards as it faces us."""
    length, width = animal.muzzle_length, animal.muzzle_width
    root = complex(0.25 * facing, 0.32)
    tip = root + complex(0.95 * length * facing, 0.3 * length * (1 - 0.6 * abs(facing)))
    snout = trace_limb(trace_line(root, tip + 1e-3j), width * np.linspace(1.1, 0.85, 6))
    nose = tip + complex(0.6 * width * facing, -0.45 * width)
    mouth = nose + 1j * (animal.nose_width + 0.24)
    if animal.tongue:
        pen.paint(trace_oval(mouth + 0.18j, 0.16, 0.3), PINK)
        pen.stroke(trace_line(mouth, mouth + 0.3j), (176, 96, 100), 0.03)
    if abs(facing) * length > 0.25:
        pen.fur(snout, HEAD_TONE, closed=False)
    pen.fur(trace_oval(tip, 1.1 * width, 0.9 * width), MUZZLE_TONE)
    pen.dye(trace_oval(tip, 1.1 * width, 0.9 * width), pale)
    half, whisker = animal.nose_width, pick((INK, pale), rng, 40.0)
    pen.paint(trace_curve(nose + half * list_points(-1 - 0.5j, 1 - 0.5j, 0.7 + 0.3j, 0.8j, -0.7 + 0.3j)), pick(NOSES, rng))
    pen.stroke(trace_line(nose + 0.7j * half, mouth), INK, 0.04)
    smile = np.linspace(0, np.pi, 7)
    for side in (-1, 1):
        pen.stroke(mouth + side * 0.17 * (1 - np.cos(smile)) + 0.1j * np.sin(smile), INK, 0.04)
        if animal.whiskers:
            for rise in (-0.16, 0.0, 0.16):
                pen.stroke(tip + side * np.array([0.2, 0.75, 1.25]) + 1j * rise * np.array([0.3, 1.0, 1.2]), whisker, 0.03)


def _draw_head(pen: Pen, animal: Animal, pale: Colour, rng: np.random.Generator) -> None:
    facing = float(np.clip(rng.normal(0.15, 0.4), -0.85, 0.85))
    inner = pick(INNER_EARS, rng)
    _draw_ears(pen, animal, facing, inner, in_front=False)
    pen.fur(trace_oval(0, animal.face_width, HEAD_HEIGHT), HEAD_TONE)
    _draw_muzzle(pen, animal, facing, pale, rng)
    _draw_ears(pen, animal, facing, inner, in_front=True)
    _draw_eyes(pen, animal, facing, rng)


def _draw_tail(pen: Pen, animal: Animal, root: complex, rng: np.random.Generator) -> None:
    share = np.linspace(0, 1, 14)
    heading = np.pi + rng.uniform(0.0, 0.9) + rng.uniform(-1.0, 2.4) * share
    path = (root + animal.tail_length / len(share) * np.cumsum(np.exp(1j * heading))).astype(np.complex128)
    pen.fur(trace_limb(path, animal.tail_width * np.sqrt(1.02 - share**4)), FAR_TONE)


def _draw_leg(pen: Pen, animal: Animal, top: complex, ground: float, tone: int) -> None:
    half_width = 0.2 + 0.12 * animal.chest_width
    foot = complex(top.real, ground)
    pen.fur(trace_oval(foot + 0.12, 1.25 * half_width, 0.2, 16), tone)
    pen.fur(trace_limb(trace_line(top, foot), np.linspace(1.25, 0.8, 6) * half_width), tone, closed=False)


def _draw_bust(pen: Pen, animal: Animal, _: np.random.Generator) -> None:
    width = animal.chest_width
    side = list_points(0.55 + 0.2j, 0.5 + 0.5 * width + 1.3j, 0.6 + width + 4j)
    pen.fur(trace_curve(np.concatenate([side, -side[::-1].conj()])), BODY_TONE)


def _draw_sitting(pen: Pen, animal: Animal, rng: np.random.Generator) -> None:
    width, ground = animal.chest_width, 2.4 + animal.leg_length
    _draw_tail(pen, animal, complex(-1.5, ground - 0.3), rng)
    _draw_leg(pen, animal, complex(0.75 * width, 1.8), ground, FAR_TONE)
    chest = (-0.6 + 0.2j, 0.55 + 0.3j, width + 1.5j, 0.6 * width + 2.5j)
    back = (complex(-0.3, ground), complex(-1.6, ground), complex(-1.9, ground - 1.2), -1.2 + 1.3j)
    pen.fur(trace_curve(list_points(*chest, *back)), BODY_TONE)
    _draw_leg(pen, animal, complex(0.4 * width, 1.9), ground, BODY_TONE)
    pen.fur(trace_oval(complex(-1.0, ground - 0.65), 0.8, 0.65), BODY_TONE)
    pen.fur(trace_oval(complex(-0.3, ground), 0.5, 0.2, 16), BODY_TONE)


def _draw_standing(pen: Pen, animal: Animal, rng: np.random.Generator) -> None:
    width, ground = animal.chest_width, 1.9 + animal.leg_length
    _draw_tail(pen, animal, -3.5 + 1.0j, rng)
    for x in (-0.15, -3.1):
        _draw_leg(pen, animal, complex(x, 1.5), ground, FAR_TONE)
    trunk = np.array(
        [-0.7 + 0.3j, 0.4 + 0.4j, 0.35 + 1.4j, complex(-0.3, 1.4 + 0.7 * width), -2.2 + 1.95j, -3.4 + 1.9j, -3.7 + 1.1j, -2.4 + 0.75j]
    )
    pen.fur(trace_curve(trunk), BODY_TONE)
    for x in (-0.5, -3.35):
        _draw_leg(pen, animal, complex(x, 1.6), ground, BODY_TONE)


@dataclass(frozen=True)
class Pose:
    """A way to hold the body: how it is drawn, where its middle is, how many head radii it measures and how often it is seen."""

    draw_body: Callable[[Pen, Animal, np.random.Generator], None]
    middle: complex
    extent: float
    share: float


POSES: tuple[Pose, ...] = (
    Pose(_draw_bust, -0.15j, 2.7, 0.76),
    Pose(_draw_sitting, -0.5 + 1.2j, 5.0, 0.12),
    Pose(_draw_standing, -1.6 + 1.1j, 5.4, 0.12),
)


def draw_photo(anatomy: Anatomy, rng: np.random.Generator) -> Image.Image:
    """Return one RGB photo of an animal; its size, place and surroundings do not depend on `anatomy`.

    Args:
        anatomy: The traits that the animal may have.
        rng: Source of every choice; equal states give equal pixels.
    """
    size = draw_size(rng)
    image = draw_background(size, rng)
    pose = POSES[int(rng.choice(len(POSES), p=[pose.share for pose in POSES]))]
    large = (SUPERSAMPLING * size[0], SUPERSAMPLING * size[1])
    turn = min(size) / pose.extent * rng.uniform(0.85, 1.15) * np.exp(1j * rng.normal(0.0, 0.1))
    target = complex(size[0] * rng.uniform(0.4, 0.6), size[1] * rng.uniform(0.43, 0.58))
    layers = (Image.new("L", large), Image.new("RGB", size), Image.new("RGBA", large))
    pen = Pen(*layers, origin=target - turn * pose.middle, turn=complex(turn), mirror=bool(rng.random() < 0.5))

    animal = draw_animal(anatomy, rng)
    pale = _dye_coat(pen, animal, rng)
    pose.draw_body(pen, animal, rng)
    _draw_head(pen.move(0, np.exp(1j * rng.normal(0.0, 0.12))), animal, pale, rng)

    relief = pen.relief.reduce(SUPERSAMPLING)
    silhouette = pen.relief.point([0] + [255] * 255).reduce(SUPERSAMPLING)
    image.paste(ImageChops.multiply(pen.coat, Image.merge("RGB", (relief,) * 3)), mask=silhouette)
    # Only the face has details; reducing no more than it saves a tenth of the time.
    left, top, right, bottom = pen.details.getbbox() or (0, 0, 1, 1)
    corner = (left // SUPERSAMPLING, top // SUPERSAMPLING)
    details = pen.details.crop((corner[0] * SUPERSAMPLING, corner[1] * SUPERSAMPLING, right, bottom)).reduce(SUPERSAMPLING)
    image.paste(details, corner, mask=details)
    add_occluders(image, rng)
    return take_photo(image, rng)
