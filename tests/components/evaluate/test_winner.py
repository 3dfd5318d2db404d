"""What is measured of the winner alone: robustness, strangers, explanations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from scipy.stats import binomtest

from components.common.shards import Images
from components.evaluate.answers import Answers
from components.evaluate.explanations import _shuffle_weights, check_explanations
from components.evaluate.robustness import TREATMENTS, measure_robustness
from components.evaluate.strangers import KINDS, draw_strangers, measure_strangers
from serving.images import Pixels
from serving.predictor import CARD_FILE, MODEL_FILE, ModelCard, Predictor
from tests.conftest import write_mean_model

SIZE = 48


@pytest.fixture
def images(tmp_path: Path) -> Images:
    """Dark scenes with a bright spot (the mean model's dogs), and bright ones with a dark spot (its cats)."""
    generator = np.random.default_rng(0)
    pixels = np.full((24, SIZE, SIZE, 3), 30, np.uint8)
    for image in pixels:
        top, left = generator.integers(0, SIZE - 24, 2)
        image[top : top + 24, left : left + 24] = 255
    pixels[::2] = 255 - pixels[::2]
    np.save(tmp_path / "test-0000.npy", pixels)
    return Images([tmp_path / "test-0000.npy"])


@pytest.mark.parametrize("name", TREATMENTS)
def test_a_treatment_changes_the_picture_and_not_its_shape(name: str, images: Images) -> None:
    treat, strength = TREATMENTS[name]
    first, second = (treat(images[0], strength, np.random.default_rng(0)) for _ in range(2))
    assert first.shape == images[0].shape
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)
    assert (first != images[0]).mean() > 0.01


def test_robustness_judges_the_chosen_images_treated(images: Images, tmp_path: Path) -> None:
    predictor = Predictor(write_mean_model(tmp_path / "model", SIZE, 3.0))
    labels = np.array([predictor.score(image).argmax() for image in images])
    found = measure_robustness(predictor, images, labels, np.arange(24) // 2, np.arange(10), seed=0)
    assert set(found) == {"as they are", *TREATMENTS}
    assert all(estimate["n"] == 10 for estimate in found.values())
    assert found["as they are"]["errors"] == 0
    assert found["turned by 90 degrees"]["errors"] == 0, "the mean does not turn"
    cut = found["cut to 50 % of the side"]
    assert cut["errors"] > 0
    assert cut["low"] < binomtest(10 - cut["errors"], 10).proportion_ci(method="wilson").low, "ten images in five groups"


def test_strangers_are_many_and_the_same_every_time() -> None:
    first, second = draw_strangers(SIZE, seed=0), draw_strangers(SIZE, seed=0)
    assert set(first) == set(KINDS)
    for kind, pictures in first.items():
        assert len(pictures) == 60
        assert all(picture.shape == (SIZE, SIZE, 3) and picture.dtype == np.uint8 for picture in pictures)
        np.testing.assert_array_equal(np.stack(pictures), np.stack(second[kind]))
        assert len({picture.tobytes() for picture in pictures}) == 60


def test_strangers_are_told_by_the_peak_where_the_network_has_one(tmp_path: Path) -> None:
    folder = write_mean_model(tmp_path, SIZE, 3.0)
    ModelCard(("cat", "dog"), SIZE, "digest", 0.5, generated=True, unfamiliar_below=1.0).write(folder / CARD_FILE)
    known = Answers(np.tile([0.1, 0.9], (20, 1)), np.full(20, 3.0), np.zeros(20, bool))
    grey: list[Pixels] = [np.full((SIZE, SIZE, 3), level, np.uint8) for level in range(110, 140)]
    white: list[Pixels] = [np.full((SIZE, SIZE, 3), 255, np.uint8)] * 5
    found = measure_strangers(Predictor(folder), known, {"grey": grey, "white": white})
    assert found["grey"] == {"n": 30, "not_sure": 1.0, "auroc_peak": 1.0, "auroc_probability": 1.0}
    assert found["white"]["not_sure"] == 0.0


def test_a_map_that_shows_what_counts_passes_the_mask_and_one_that_repeats_the_image_fails_the_shuffle(
    images: Images, tmp_path: Path
) -> None:
    folder = write_mean_model(tmp_path / "model", SIZE, 3.0)
    predictor = Predictor(folder)
    labels = [predictor.card.classes[int(predictor.score(image).argmax())] for image in images]
    found = check_explanations(folder, images, labels, np.arange(len(images)), seed=0)
    assert found["masking"]["n"] == len(images)
    assert found["masking"]["share"] > 0.9
    assert found["masking"]["drop_hot"] > found["masking"]["drop_elsewhere"] + 0.1
    assert found["randomised"]["rank_correlation"] == pytest.approx(1.0), "this model's map is the image, whatever its weights"
    nothing = check_explanations(folder, images, labels, np.arange(0), seed=0)
    assert nothing["masking"]["n"] == 0


def test_the_shuffle_is_the_same_in_whatever_order_the_kernels_were_exported(tmp_path: Path) -> None:
    folder = write_mean_model(tmp_path / "model", SIZE, 3.0)
    network = onnx.load(folder / MODEL_FILE)
    kernels = {name: np.random.default_rng(number).random((5, 4), np.float32) for number, name in enumerate("abc")}
    network.graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in kernels.items())
    found = []
    for order in (1, -1):
        initializers = list(network.graph.initializer)[::order]
        del network.graph.initializer[:]
        network.graph.initializer.extend(initializers)
        onnx.save(network, folder / MODEL_FILE)
        out = tmp_path / f"shuffled{order}"
        out.mkdir()
        _shuffle_weights(folder, out, seed=0)
        shuffled = {weights.name: numpy_helper.to_array(weights) for weights in onnx.load(out / MODEL_FILE).graph.initializer}
        found.append({name: shuffled[name] for name in kernels})
    for name, values in kernels.items():
        np.testing.assert_array_equal(found[0][name], found[1][name])
        assert (found[0][name] != values).any()
        np.testing.assert_array_equal(np.sort(found[0][name].ravel()), np.sort(values.ravel()))
