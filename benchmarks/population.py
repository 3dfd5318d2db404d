"""Pictures to measure on: as many as wanted, cheap to draw, JPEG files of the sizes and the texture of photos from the web.

Every picture is a sum of smooth random fields and grain, so no two resemble each other, not even to a perceptual hash; picture i is the
same in every population. They compress as photos do, 20 kB on average, and mean nothing.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from components.common.parallel import map_on_all_cores
from components.common.progress import track

SIDES = (128, 501)
_CELLS = (4, 12, 40)
_PER_LOT = 64
#: Drawing grain anew for every picture would take longer than all the rest.
_GRAIN = np.clip(np.random.default_rng(0).normal(128, 4, (1024, 1024, 3)), 0, 255).astype(np.uint8)


def draw_populations(sizes: Sequence[int], folder: Path) -> None:
    """Write `population-<n>.zip` with the first n pictures for each of `sizes`, in a folder for each of two classes."""
    most = max(sizes)
    archives = {size: zipfile.ZipFile(folder / f"population-{size}.zip", "w", zipfile.ZIP_STORED) for size in sizes}
    lots = [range(start, min(start + _PER_LOT, most)) for start in range(0, most, _PER_LOT)]
    drawn = map_on_all_cores(lambda lot: [(number, draw(number)) for number in lot], track(lots, "drawing", unit="lot"))
    for number, data in (picture for lot in drawn for picture in lot):
        for size, archive in archives.items():
            if number < size:
                archive.writestr(f"{'ab'[number % 2]}/{number:06d}.jpg", data)
    for archive in archives.values():
        archive.close()


def draw(number: int) -> bytes:
    """Picture `number` as a JPEG file."""
    generator = np.random.default_rng(number)
    width, height = (int(side) for side in generator.integers(*SIDES, 2))
    coarse, middle, fine = (
        cv2.resize(generator.integers(0, 256, (cells, cells, 3), np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
        for cells in _CELLS
    )
    left, top = (int(offset) for offset in generator.integers(0, _GRAIN.shape[0] - SIDES[1], 2))
    texture = cv2.addWeighted(fine, 0.3, _GRAIN[top : top + height, left : left + width], 1.0, -166.0)
    picture = cv2.add(cv2.addWeighted(coarse, 0.9, middle, 0.45, -45.0), texture, dtype=cv2.CV_8U)
    _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(generator.integers(75, 96))])
    return encoded.tobytes()
