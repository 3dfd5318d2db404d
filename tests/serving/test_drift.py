"""Measures of photos, and the distance between two distributions of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2

from serving.drift import MEASURES, REFERENCE_FILE, Bins, Reference, Window, explain_by_chance, measure, stability_index

PROBABILITIES, ACTIVATION = np.array([0.2, 0.8]), np.zeros((2, 2, 2))


def look(pixels: np.ndarray, width: int = 40, height: int = 10) -> dict[str, float]:
    values = measure(np.asarray(pixels, np.uint8), width, height, PROBABILITIES, ACTIVATION, not_sure=True)
    return dict(zip(MEASURES, values.tolist(), strict=True))


def test_a_plain_photo() -> None:
    told = look(np.full((32, 32, 3), (200, 100, 50)))
    assert told["brightness"] == pytest.approx(0.299 * 200 + 0.587 * 100 + 0.114 * 50, abs=1)
    assert (told["contrast"], told["colour"], told["sharpness"]) == pytest.approx((0, 150, 0), abs=1e-3)
    assert (told["size"], told["aspect"]) == (20, 4)
    assert (told["probability"], told["evidence"], told["label"], told["not_sure"]) == (0.8, 0, 1, 1)


@pytest.mark.parametrize("size", [32, 33, 255, 256, 257, 512])
def test_a_photo_of_any_size_is_measured_alike(size: int) -> None:
    """A chequered floor of squares of five pixels: half of it white."""
    rows, columns = np.indices((size, size)) // 5
    told = look(np.repeat(255 * ((rows + columns) % 2)[..., np.newaxis], 3, axis=2))
    assert told["brightness"] == pytest.approx(127.5, abs=8)
    assert told["contrast"] == pytest.approx(127.5, abs=2)
    assert told["sharpness"] > 100
    assert told["colour"] == 0


def test_the_index_is_that_of_its_definition() -> None:
    then, now = (1000, 3000), (2000, 2000)
    assert stability_index(then, now) == pytest.approx((0.5 - 0.25) * np.log(0.5 / 0.25) + (0.5 - 0.75) * np.log(0.5 / 0.75), abs=1e-3)
    assert stability_index(then, then) == 0
    assert np.isfinite(stability_index((0, 5), (5, 0)))


@pytest.mark.parametrize("num_bins", [2, 3, 12, 100])
def test_what_chance_explains_is_the_quantile_of_chi_squared(num_bins: int) -> None:
    expected = chi2.ppf(0.999, num_bins - 1) * (1 / 300 + 1 / 1000)
    assert explain_by_chance(num_bins, 300, 1000) == pytest.approx(expected, rel=0.04)


def draw(generator: np.random.Generator, num_photos: int, shift: float = 0.0) -> np.ndarray:
    """Measures of made-up photos: normal, but for constant sizes, and labels of which the second has three in four."""
    values = generator.normal(shift, 1, (num_photos, len(MEASURES)))
    values[:, list(MEASURES).index("size")] = 32
    values[:, list(MEASURES).index("label")] = generator.random(num_photos) < 0.75
    values[:, list(MEASURES).index("not_sure")] = generator.random(num_photos) < 0.05
    return values


def fill(window: Window, values: np.ndarray) -> Window:
    for row in values:
        window.add(row)
    return window


def test_photos_of_the_same_kind_hardly_ever_count_as_moved() -> None:
    generator = np.random.default_rng(0)
    moved = []
    for _ in range(30):
        window = fill(Window(Reference.describe(draw(generator, 300), 2)), draw(generator, 500))
        moved += [drift.moved for drift in window.compare().values()]
    assert sum(moved) <= 2


def test_what_has_moved_is_named_and_nothing_else() -> None:
    generator = np.random.default_rng(0)
    reference = Reference.describe(draw(generator, 300), 2)
    values = draw(generator, 500)
    values[:, 0] += 1.5
    values[:, list(MEASURES).index("size")] = 31
    drifts = fill(Window(reference), values).compare()
    assert {name for name, drift in drifts.items() if drift.moved} == {"brightness", "size"}
    assert sum(drifts["brightness"].now) == pytest.approx(1)
    assert len(drifts["brightness"].now) == len(drifts["brightness"].edges) + 1


def test_few_photos_move_nothing() -> None:
    generator = np.random.default_rng(0)
    window = Window(Reference.describe(draw(generator, 300), 2))
    assert window.compare() == {}
    assert not any(drift.moved for drift in fill(window, draw(generator, 99, shift=9)).compare().values())
    assert any(drift.moved for drift in fill(window, draw(generator, 1, shift=9)).compare().values())


def test_the_window_forgets_what_is_old() -> None:
    generator = np.random.default_rng(0)
    reference, recent = Reference.describe(draw(generator, 300), 2), draw(generator, 200)
    window = fill(fill(Window(reference, size=200), draw(generator, 450, shift=9)), recent)
    assert window.num_photos == 200
    assert window.compare() == fill(Window(reference), recent).compare()


def test_a_reference_is_read_as_it_was_written(tmp_path: Path) -> None:
    reference = Reference.describe(draw(np.random.default_rng(0), 50), 3)
    assert reference.measures["label"] == Bins((0.0, 1.0), reference.measures["label"].counts)
    assert sum(reference.measures["label"].counts) == 50
    reference.write(tmp_path)
    assert Reference.read(tmp_path) == reference
    assert Reference.read(tmp_path / "elsewhere") is None


def test_a_reference_that_lacks_a_measure_serves_for_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    generator = np.random.default_rng(0)
    Reference.describe(draw(generator, 300), 2).write(tmp_path)
    values = json.loads((tmp_path / REFERENCE_FILE).read_text())
    del values["measures"]["contrast"]
    (tmp_path / REFERENCE_FILE).write_text(json.dumps(values))
    reference = Reference.read(tmp_path)
    assert reference
    assert f"{REFERENCE_FILE} lacks contrast" in caplog.text
    photos = draw(generator, 200)
    photos[:, list(MEASURES).index("label")] = 0
    drifts = fill(Window(reference), photos).compare()
    assert list(drifts) == [name for name in MEASURES if name != "contrast"]
    assert {name for name, drift in drifts.items() if drift.moved} == {"label"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "\x00" * len(text),
        lambda text: "[]",
        lambda text: text.replace("num_photos", "photos"),
        lambda text: text.replace('"num_photos": 300', '"num_photos": 0'),
        lambda text: text.replace('"counts": [', '"counts": [7,'),
        lambda text: text.replace('"edges": [', '"edges": [1e9, '),
        lambda text: text.replace('"edges": [', '"edges": ["wide", '),
    ],
)
def test_a_damaged_reference_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[str], str]) -> None:
    Reference.describe(draw(np.random.default_rng(0), 300), 2).write(tmp_path)
    file = tmp_path / REFERENCE_FILE
    assert damage(file.read_text()) != file.read_text()
    file.write_text(damage(file.read_text()))
    assert Reference.read(tmp_path) is None
    assert f"{REFERENCE_FILE} is damaged" in caplog.text
