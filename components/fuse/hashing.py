"""Perceptual hashes: 64 bits that two photos of the same picture share, nearly all of them.

In: stored squares. Out: a number for each. The method is the well-known "pHash": shrink the grey picture to 32 x 32, take its 8 x 8 lowest
frequencies (discrete cosine transform), and write down which of them lie above their median. The picture is shrunk by averaging,
which costs a tenth of a windowed filter on the photos that are stored here and finds the same pairs.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from serving.images import Pixels

Hashes = NDArray[np.uint64]

_SIDE, _NUM_FREQUENCIES = 32, 8
_COSINES = np.cos(np.pi / _SIDE * np.outer(np.arange(_NUM_FREQUENCIES), np.arange(_SIDE) + 0.5))
#: Frequencies of a symmetric picture that are zero but for rounding must not be told from zero.
_ROUNDING = 1e-6


def hash_squares(squares: Iterable[Pixels]) -> Hashes:
    """Hash pictures.

    Args:
        squares: uint8 RGB, each of shape (size, size, 3).

    Returns:
        64-bit hashes, shape (n,).
    """
    small = [cv2.resize(cv2.cvtColor(square, cv2.COLOR_RGB2GRAY), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for square in squares]
    grey = np.array(small, np.float64).reshape(-1, _SIDE, _SIDE)
    grey -= grey.mean(axis=(1, 2), keepdims=True)
    frequencies = (_COSINES @ grey @ _COSINES.T).reshape(-1, _NUM_FREQUENCIES**2)
    # The first is the brightness, which was just taken out so that a blank picture has none; in any other it is the largest of all.
    frequencies[:, 0] = np.inf
    bits = frequencies > np.median(frequencies, axis=1, keepdims=True) + _ROUNDING
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


def write_hash(value: np.uint64) -> str:
    """A hash as the manifest has it, in hexadecimal."""
    return f"{value:016x}"


def read_hashes(column: list[str]) -> Hashes:
    """Hashes from the manifest."""
    return np.array([int(text, 16) for text in column], np.uint64)
