"""Store training views: variants of each training image, and of no other, in the dataset's own shard format.

`frozen` training reads these instead of varying images on the fly, because it computes features once. View v of row r is the same
pixels in every run with the same seed. The preview sheet shows each operation alone and all of them together.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from components.common.augmentation import vary
from components.common.dataset import Dataset, ImageWriter
from components.common.figures import save_contact_sheet
from components.common.progress import track
from components.common.recipe import Augment, Recipe
from components.common.store import Record
from serving.images import Pixels

_PREVIEW = "preview.png"
_OPERATIONS = ("flip", "rotate", "crop", "shift", "brightness", "contrast", "saturation")


def augment(dataset: Dataset, recipe: Recipe, folder: Path) -> Record:
    """Write `augment.views` variants of each training image: view v of row r is image number v * n + r of the `train` shards."""
    images = dataset.images("train")
    num_views = recipe.augment.views
    writer = ImageWriter(folder, "train", num_views * len(images), dataset.image_size)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for view in range(num_views):
            variants = _vary_all(pool, images.batches(256), recipe, view)
            for pixels in track(variants, f"varying train images, view {view + 1} of {num_views}", total=len(images)):
                writer.append(pixels)
    writer.close()
    _draw_preview(images[: min(4, len(images))], recipe, folder / _PREVIEW)
    policy = recipe.augment.model_dump()
    return Record(params=policy, metrics={"images.train.views": float(num_views * len(images))}, figures=[_PREVIEW])


def _vary_all(pool: ThreadPoolExecutor, batches: Iterator[Pixels], recipe: Recipe, view: int) -> Iterator[Pixels]:
    start = 0
    for batch in batches:
        yield from pool.map(
            lambda row, pixels: vary(pixels, recipe.augment, recipe.seed, view, row), range(start, start + len(batch)), batch
        )
        start += len(batch)


def _draw_preview(originals: Pixels, recipe: Recipe, path: Path) -> None:
    still = Augment(flip=False)
    images, captions = [], []
    for row, original in enumerate(originals):
        images.append(original)
        captions.append("original")
        for operation in _OPERATIONS:
            alone = still.model_copy(update={operation: getattr(recipe.augment, operation)})
            images.append(vary(original, alone, recipe.seed, 0, row))
            captions.append(f"{operation}\n{getattr(recipe.augment, operation)}")
        for view in range(3):
            images.append(vary(original, recipe.augment, recipe.seed, view, row))
            captions.append(f"all, view {view + 1}")
    save_contact_sheet(
        [np.asarray(image) for image in images], captions, path, columns=len(_OPERATIONS) + 4, title="augmentation, training split only"
    )
