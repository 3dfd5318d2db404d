"""What a cat is, and what a dog of each breed is, in numbers and names.

In: nothing but the tables below. Out: an `Animal`, one individual whose every trait was drawn from an `Anatomy`. The tables are apart
from the artist (`drawing.py`) so that what separates the classes can be read, and changed, in one place: nothing else in a generated
photo depends on the class.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

Range = tuple[float, float]
Flags = tuple[bool, ...]
Names = tuple[str, ...]

# Base, marking and pale colour of each coat. Cats and dogs draw from this one table, so that colour tells nothing about the class.
COATS: dict[str, tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]] = {
    "black": ((52, 48, 50), (24, 22, 26), (222, 216, 208)),
    "charcoal": ((92, 90, 96), (44, 42, 48), (200, 198, 200)),
    "grey": ((146, 146, 152), (86, 86, 94), (228, 228, 230)),
    "white": ((226, 222, 214), (124, 96, 74), (244, 242, 238)),
    "cream": ((222, 198, 160), (168, 128, 88), (244, 232, 212)),
    "golden": ((208, 156, 88), (150, 98, 46), (240, 214, 166)),
    "ginger": ((204, 122, 60), (146, 70, 28), (246, 222, 190)),
    "fawn": ((186, 150, 116), (70, 56, 50), (230, 208, 184)),
    "tan": ((158, 112, 74), (50, 40, 36), (224, 190, 152)),
    "chocolate": ((104, 68, 48), (58, 36, 28), (206, 174, 146)),
}
ALL_COATS: Names = tuple(COATS)
ALL_PATTERNS: Names = ("plain", "stripes", "patches", "spots", "bib")


@dataclass(frozen=True)
class Anatomy:
    """The possible traits of one kind of animal.

    A `Range` gives the bounds of an even draw, any other tuple the options of an even choice. Lengths are in head radii.
    """

    ear: Names
    ear_length: Range
    face_width: Range
    muzzle_length: Range
    muzzle_width: Range
    nose_width: Range
    eye_size: Range
    slit_pupils: Flags
    whiskers: Flags
    tongue: Flags
    chest_width: Range
    leg_length: Range
    tail_length: Range
    tail_width: Range
    coat: Names = ALL_COATS
    pattern: Names = ALL_PATTERNS


@dataclass(frozen=True)
class Animal:
    """One individual: a value for each trait of an `Anatomy`, under the same names."""

    ear: str
    ear_length: float
    face_width: float
    muzzle_length: float
    muzzle_width: float
    nose_width: float
    eye_size: float
    slit_pupils: bool
    whiskers: bool
    tongue: bool
    chest_width: float
    leg_length: float
    tail_length: float
    tail_width: float
    coat: str
    pattern: str


CAT = Anatomy(
    ear=("pointed",) * 15 + ("folded",),
    ear_length=(0.86, 1.14),
    face_width=(1.0, 1.22),
    muzzle_length=(0.08, 0.28),
    muzzle_width=(0.3, 0.42),
    nose_width=(0.09, 0.15),
    eye_size=(0.17, 0.25),
    slit_pupils=(True, False),
    whiskers=(True,) * 9 + (False,),
    tongue=(False,) * 11 + (True,),
    chest_width=(0.7, 1.0),
    leg_length=(0.9, 1.5),
    tail_length=(2.4, 3.8),
    tail_width=(0.13, 0.26),
)


def _breed(
    ear: Names,
    ear_length: Range,
    face_width: Range,
    muzzle_length: Range,
    leg_length: Range,
    tail_length: Range,
    coat: Names,
    pattern: Names,
) -> Anatomy:
    """Return a dog with the traits that tell breeds apart; those that all dogs share are filled in here."""
    return Anatomy(
        ear=ear,
        ear_length=ear_length,
        face_width=face_width,
        muzzle_length=muzzle_length,
        muzzle_width=(0.46, 0.6),
        nose_width=(0.24, 0.33),
        eye_size=(0.15, 0.23),
        slit_pupils=(False,),
        whiskers=(False,) * 9 + (True,),
        tongue=(True, True, False),
        chest_width=(0.9, 1.35),
        leg_length=leg_length,
        tail_length=tail_length,
        tail_width=(0.2, 0.38),
        coat=coat,
        pattern=pattern,
    )


_DARK: Names = ("black", "charcoal", "chocolate")
_PALE: Names = ("white", "cream", "grey")
_WARM: Names = ("golden", "ginger", "cream")
_BROWN: Names = ("fawn", "tan", "chocolate")

# fmt: off
# Names as Kaggle writes them. Columns: ear, ear length, face width, muzzle length, leg length, tail length, coats, patterns.
BREEDS: dict[str, Anatomy] = {
    "basset": _breed(("hanging",), (1.2, 1.5), (0.86, 0.96), (0.7, 0.9), (0.4, 0.7), (1.5, 2.0), ("tan", "white", "fawn"), ("patches",)),
    "beagle": _breed(("hanging",), (0.8, 1.1), (0.88, 1.0), (0.5, 0.7), (1.0, 1.3), (1.3, 1.8), ("tan", "white"), ("patches", "bib")),
    "border_collie": _breed(("folded",), (0.6, 0.8), (0.86, 0.98), (0.6, 0.8), (1.2, 1.6), (1.8, 2.4), ("black", "charcoal"), ("bib",)),
    "boston_bull": _breed(("rounded",), (0.6, 0.8), (1.0, 1.16), (0.2, 0.34), (1.0, 1.3), (0.3, 0.6), _DARK, ("bib", "stripes")),
    "cardigan": _breed(("rounded",), (0.8, 1.05), (0.92, 1.04), (0.5, 0.7), (0.4, 0.7), (1.6, 2.2), ("grey", "ginger"), ("bib", "spots")),
    "chihuahua": _breed(
        ("pointed", "rounded"), (0.85, 1.1), (0.98, 1.12), (0.3, 0.45), (0.9, 1.2), (1.0, 1.5), ("fawn", "cream"), ("plain",)
    ),
    "cocker_spaniel": _breed(("hanging",), (1.1, 1.4), (0.9, 1.0), (0.45, 0.62), (0.8, 1.1), (0.3, 0.7), ("golden", "ginger"), ("plain",)),
    "doberman": _breed(
        ("pointed", "folded"), (0.7, 0.95), (0.76, 0.86), (0.8, 1.05), (1.6, 2.1), (0.3, 0.6), ("black", "chocolate"), ("bib",)
    ),
    "english_setter": _breed(("hanging",), (0.9, 1.2), (0.8, 0.92), (0.75, 1.0), (1.3, 1.7), (1.8, 2.4), _PALE, ("spots",)),
    "french_bulldog": _breed(
        ("rounded",), (0.7, 0.9), (1.08, 1.22), (0.18, 0.32), (0.7, 1.0), (0.2, 0.4), ("charcoal", "fawn"), ("plain", "stripes")
    ),
    "german_shepherd": _breed(("pointed",), (0.75, 1.0), (0.84, 0.96), (0.7, 0.95), (1.3, 1.7), (1.8, 2.4), ("tan", "fawn"), ("patches",)),
    "golden_retriever": _breed(("folded", "hanging"), (0.7, 0.95), (0.92, 1.04), (0.55, 0.75), (1.2, 1.6), (1.8, 2.4), _WARM, ("plain",)),
    "great_dane": _breed(
        ("folded", "hanging"), (0.6, 0.8), (0.76, 0.88), (0.8, 1.05), (1.9, 2.4), (1.8, 2.4), ("grey", "fawn"), ("spots", "stripes")
    ),
    "pug": _breed(("folded",), (0.5, 0.66), (1.06, 1.2), (0.16, 0.28), (0.8, 1.1), (0.5, 0.8), ("fawn", "cream", "black"), ("plain",)),
    "siberian_husky": _breed(("pointed",), (0.6, 0.8), (0.94, 1.06), (0.5, 0.7), (1.3, 1.7), (1.8, 2.4), ("grey", "charcoal"), ("bib",)),
    "weimaraner": _breed(("hanging",), (0.85, 1.1), (0.78, 0.9), (0.75, 0.95), (1.6, 2.0), (0.4, 0.8), ("grey", *_BROWN), ("plain",)),
}
# fmt: on


def cross_breeds(rng: np.random.Generator) -> Anatomy:
    """Return a mongrel: each trait of a breed of its own, in any coat, which makes dogs as varied as cats are."""
    names = list(BREEDS)
    parents = {field.name: BREEDS[names[rng.integers(len(names))]] for field in fields(Anatomy)}
    traits = {name: getattr(parent, name) for name, parent in parents.items()}
    return Anatomy(**{**traits, "coat": ALL_COATS, "pattern": ALL_PATTERNS})


def draw_animal(anatomy: Anatomy, rng: np.random.Generator) -> Animal:
    """Return one individual, with each trait drawn from `anatomy`."""
    traits: dict[str, float | bool | str] = {}
    for field in fields(Anatomy):
        options = getattr(anatomy, field.name)
        if isinstance(options[0], float):
            traits[field.name] = float(rng.uniform(*options))
        else:
            traits[field.name] = options[int(rng.integers(len(options)))]
    return Animal(**traits)  # type: ignore[arg-type]
