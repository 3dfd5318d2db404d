"""One dataset in which something happened to every kind of image, for the tests of what is told about it."""

from __future__ import annotations

import pytest
import yaml

from components.common.dataset import Dataset
from components.common.recipe import parse_recipe
from components.fuse.fuse import fuse
from tests.components.fuse.drawing import encode, scene, vary, write_dog_breeds, write_dogs_vs_cats
from tests.conftest import RECIPE

PREFIX = "dogs-vs-cats/train.zip/train/"
HOSTILE = "<img src=x onerror=alert(1)>.jpg"
NUM_SCENES, NUM_VARIED = 120, 20


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Cats and dogs with near-duplicates, a copy, a conflict, a known suspect, decisions and a hostile name; and four breeds."""
    folder = tmp_path_factory.mktemp("told")
    files = {f"{'cat' if number % 2 else 'dog'}.{number}.jpg": encode(scene(number)) for number in range(NUM_SCENES)}
    files |= {f"{'cat' if number % 2 else 'dog'}.{number + 500}.jpg": vary(number) for number in range(NUM_VARIED)}
    files |= {
        "dog.900.jpg": files["dog.30.jpg"],
        "cat.901.jpg": files["dog.32.jpg"],
        "cat.902.jpg": vary(34),
        "cat.4085.jpg": encode(scene(4085)),
    }
    files |= {"dog.903.jpg": b"", HOSTILE: encode(scene(999))}
    breeds = {f"{number:04d}": ("abcd"[number % 4], encode(scene(number))) for number in range(2000, 2040)}
    decisions = [
        {"id": f"{PREFIX}dog.40.jpg", "action": "drop", "why": "a text & no animal"},
        {"id": f"{PREFIX}dog.42.jpg", "action": "relabel", "label": "cat", "why": "it is a cat"},
    ]
    (folder / "decisions.yaml").write_text(yaml.safe_dump(decisions))
    recipe = parse_recipe(RECIPE, overrides=(f"decisions={folder / 'decisions.yaml'}", "balance=undersample"))
    archives = [write_dogs_vs_cats(folder / "a.zip", files), write_dog_breeds(folder / "b.zip", breeds)]
    (folder / "dataset").mkdir()
    fuse(archives, recipe, folder / "dataset")
    return Dataset(folder / "dataset")
