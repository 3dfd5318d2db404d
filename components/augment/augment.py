"""Store training views: variants of each training image, and of no other, in the dataset's own shard format.

`frozen` training reads these instead of varying images on the fly, because it computes features once. View v of row r is the same
pixels in every run with the same seed. The preview sheet shows each operation alone and all of them together.
"""

from __future__ import annotations

from pathlib import Path

from components.common.augmentation import Draws, draw, vary
from components.common.dataset import Dataset
from components.common.figures import save_contact_sheet
from components.common.parallel import map_on_all_cores
from components.common.progress import track
from components.common.recipe import Augment, Recipe
from components.common.shards import Images, ImageWriter
from components.common.store import Record
from serving.images import Pixels

_PREVIEW = "preview.png"
_IMAGES_PER_LOT = 32
_PREVIEW_VIEWS = 3
_OPERATIONS = ("flip", "rotate", "crop", "shift", "brightness", "contrast", "saturation", "cutout")


def augment(dataset: Dataset, recipe: Recipe, folder: Path) -> Record:
    """Write `num_views` variants of each training image: view v of row r is image number v * n + r of the `train` shards."""
    images = dataset.images("train")
    num_views = recipe.num_views
    with ImageWriter(folder, "train", dataset.image_size) as writer:
        for view in range(num_views):
            draws = draw(len(images), recipe.seed, view)
            starts = track(range(0, len(images), _IMAGES_PER_LOT), f"varying train images, view {view + 1} of {num_views}", unit="lot")
            for variants in map_on_all_cores(lambda start: _vary_lot(images, start, recipe.augment, draws), starts):  # noqa: B023
                for pixels in variants:
                    writer.append(pixels)
    _draw_preview(images[: min(4, len(images))], recipe, folder / _PREVIEW)
    policy = {**recipe.augment.model_dump(), "views": num_views}
    return Record(params=policy, metrics={"images.train.views": float(num_views * len(images))}, figures=[_PREVIEW])


def _vary_lot(images: Images, start: int, policy: Augment, draws: Draws) -> Pixels:
    lot = slice(start, start + _IMAGES_PER_LOT)
    return vary(images[lot], policy, draws[lot])


def _draw_preview(originals: Pixels, recipe: Recipe, path: Path) -> None:
    still = Augment(flip=False)
    alone = {operation: getattr(recipe.augment, operation) for operation in _OPERATIONS}
    columns = [("original", originals)]
    columns += [
        (f"{name}\n{value}", vary(originals, still.model_copy(update={name: value}), draw(len(originals), recipe.seed, 0)))
        for name, value in alone.items()
    ]
    columns += [
        (f"all, view {view + 1}", vary(originals, recipe.augment, draw(len(originals), recipe.seed, view)))
        for view in range(_PREVIEW_VIEWS)
    ]
    captions = [caption for caption, _ in columns] * len(originals)
    images = [variants[row] for row in range(len(originals)) for _, variants in columns]
    save_contact_sheet(images, captions, path, columns=len(columns), title="augmentation, training split only")
