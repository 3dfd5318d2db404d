"""When a step may answer from the cache: a field of the recipe that it reads is in its key, and one that it does not read is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from components.augment.run import run as augment
from components.common.dataset import Dataset
from components.common.recipe import Recipe, parse_recipe
from components.common.store import hash_values
from components.evaluate.run import run as evaluate
from components.fuse.evidence import PLACEMENT
from components.fuse.run import run as fuse
from components.train.run import run as train
from tests.conftest import RECIPE, deliver

KeyOf = Callable[[str, str], str]


@pytest.fixture
def key_of(dataset: Dataset, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyOf:
    """The key that a step has for the small recipe with an override; of `train`, with the name of the candidate behind it."""
    delivered = deliver(dataset, tmp_path / "dataset")
    (tmp_path / "decisions.yaml").write_text("[]")
    for source in recipe.sources.archives:
        found = {"name": source.name, "file": "a.zip", "sha256": "", "generated": True, "fetched_at": "", "tried_before": []}
        (tmp_path / "raw" / source.name).mkdir(parents=True)
        (tmp_path / "raw" / source.name / "source.json").write_text(json.dumps(found))
    for candidate in recipe.candidates:
        (tmp_path / "candidates" / candidate.name).mkdir(parents=True)
        (tmp_path / "candidates" / candidate.name / "candidate.json").write_text(candidate.model_dump_json())
        (tmp_path / "candidates" / candidate.name / "artifact.json").write_text('{"files": {}}')
    keys: list[str] = []
    for step in ("augment", "evaluate", "fuse", "train"):
        monkeypatch.setattr(f"components.{step}.run.execute", lambda *_, inputs, **__: keys.append(hash_values(inputs)))

    def ask(step: str, override: str) -> str:
        text, out = parse_recipe(RECIPE, overrides=(override,)).model_dump_json(), tmp_path / "out"
        if step == "fuse":
            fuse(recipe=text, raw=[tmp_path / "raw"], out=out)
        elif step == "augment":
            augment(recipe=text, dataset=delivered, out=out)
        elif step == "evaluate":
            evaluate(recipe=text, dataset=delivered, candidates=[tmp_path / "candidates"], out=out)
        else:
            train(recipe=text, candidate=step.removeprefix("train "), dataset=delivered, views=delivered, out=out)
        return keys[-1]

    return ask


READ = {
    "fuse": (
        *("name=other", "seed=3", "image_size=64", "resize=pad", "split.test=0.3", "balance=undersample", "decisions=decisions.yaml"),
        *("sources.limit=60", "sources.fewest_per_class=5", "sources.previous=dataset"),
        *("sources.archives.0.layout=petimages", "sources.archives.0.labels={cat: cat}"),
    ),
    "augment": ("seed=3", "augment.rotate=20", "augment.views=2", "candidates.1.augment=false"),
    "train cnn": ("seed=3", "weights=class", "not_sure_share=0.1", "augment.rotate=20", "candidates.0.epochs=3"),
    "train frozen": ("seed=3", "weights=class", "not_sure_share=0.1", "augment.views=0", "candidates.1.classifier=ridge"),
    "evaluate": ("seed=3", "select=log_loss", "sources.archives.1.layout=petimages"),
}
UNREAD = {
    "fuse": ("weights=class", "augment.rotate=20", "candidates.0.epochs=3", "select=log_loss", "gate.floor=0.1"),
    "augment": ("weights=class", "candidates.0.epochs=3", "select=log_loss", "gate.floor=0.1"),
    "train cnn": ("augment.views=2", "candidates.1.classifier=ridge", "select=log_loss", "gate.floor=0.1"),
    "train frozen": ("augment.rotate=20", "candidates.0.epochs=3", "select=log_loss", "gate.floor=0.1"),
    "evaluate": ("weights=class", "augment.rotate=20", "gate.floor=0.1"),
}


@pytest.mark.parametrize("step", READ)
def test_a_field_is_in_the_key_of_a_step_that_reads_it(step: str, key_of: KeyOf) -> None:
    assert [field for field in READ[step] if key_of(step, field) == key_of(step, "model=tiny")] == []


def test_the_keys_of_an_earlier_dataset_are_in_the_key(key_of: KeyOf, tmp_path: Path) -> None:
    before = key_of("fuse", "sources.previous=dataset")
    (tmp_path / "dataset" / PLACEMENT).unlink()
    assert key_of("fuse", "sources.previous=dataset") != before


@pytest.mark.parametrize("step", UNREAD)
def test_a_field_is_not_in_the_key_of_a_step_that_does_not_read_it(step: str, key_of: KeyOf) -> None:
    assert [field for field in UNREAD[step] if key_of(step, field) != key_of(step, "model=tiny")] == []
