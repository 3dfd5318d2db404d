from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.common.dataset import Dataset
from components.common.recipe import parse_recipe
from components.download.sources.sample import write_archive
from components.fuse.fuse import Archive, fuse
from serving.activation import draw_heat_map
from serving.images import UnreadableImageError
from serving.options import Options
from serving.predictor import CARD_FILE, INT8_FILE, ModelCard, Predictor
from tests.conftest import RECIPE, write_mean_model


def grey_photo(level: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (50, 40), (level, level, level)).save(stream, "PNG")
    return stream.getvalue()


def test_an_answer_has_the_fields_of_the_contract(tmp_path: Path) -> None:
    predictor = Predictor(write_mean_model(tmp_path, 32, 2.0), version="7")
    answer = predictor.predict(grey_photo(255))
    expected = 1 / (1 + np.exp(-4.0))
    assert answer == {
        "label": "dog",
        "probability": pytest.approx(expected, abs=1e-5),
        "probabilities": {"cat": pytest.approx(1 - expected, abs=1e-5), "dog": pytest.approx(expected, abs=1e-5)},
        "not_sure": False,
        "model_version": "7",
        "dataset_digest": "digest",
    }


@pytest.mark.parametrize(("level", "label", "not_sure"), [(255, "dog", False), (130, "dog", True), (120, "cat", True), (0, "cat", False)])
def test_the_label_is_the_most_probable_class_even_when_not_sure(tmp_path: Path, level: int, label: str, not_sure: bool) -> None:
    answer = Predictor(write_mean_model(tmp_path, 32, 2.0)).predict(grey_photo(level))
    assert (answer["label"], answer["not_sure"]) == (label, not_sure)


def test_options_change_the_answer_and_nothing_else(tmp_path: Path) -> None:
    predictor = Predictor(write_mean_model(tmp_path, 32, 2.0))
    plain = predictor.predict(grey_photo(255))
    short = predictor.predict(grey_photo(255), Options(top_k=1, threshold=0.999))
    assert short == {**plain, "probabilities": {"dog": plain["probability"]}, "not_sure": True}
    assert list(predictor.predict(grey_photo(255), Options(top_k=9))["probabilities"]) == ["dog", "cat"]


def test_the_heat_map_is_hot_where_the_evidence_is(tmp_path: Path) -> None:
    half_bright = np.zeros((64, 64, 3), np.uint8)
    half_bright[:, 32:] = 255
    half_bright[:, :2] = 255
    stream = io.BytesIO()
    Image.fromarray(half_bright).save(stream, "PNG")
    answer = Predictor(write_mean_model(tmp_path, 32, 2.0)).predict(stream.getvalue(), Options(heat_map=True))
    heat = np.array(answer["heat_map"])
    assert answer["label"] == "dog"
    assert heat.shape == (32, 32)
    assert (heat[:, 17:] == 1).all()
    assert (heat[:, 2:15] == 0).all()


def test_the_heat_map_of_a_class_shows_how_far_it_is_ahead() -> None:
    activation = np.array([[[5.0, 5.0, 5.0], [9.0, 5.0, 1.0]], [[0.0, 6.0, 0.0], [4.0, 1.0, 1.0]]], np.float32)
    np.testing.assert_allclose(draw_heat_map(activation, 0), np.array([[0, 1], [0, 0.5]]))
    assert (draw_heat_map(np.zeros((2, 2, 3), np.float32), 1) == 0).all()


def test_a_photo_of_nothing_known_has_no_heat_map(tmp_path: Path) -> None:
    folder = write_mean_model(tmp_path, 32, 2.0)
    answers = []
    for unfamiliar_below in (0.5, 1.5):
        dataclasses.replace(ModelCard.read(folder / CARD_FILE), unfamiliar_below=unfamiliar_below).write(folder / CARD_FILE)
        # The evidence of this grey is 2 * (191 - 127.5) / 127.5, at every position.
        answers.append(Predictor(folder).predict(grey_photo(191), Options(heat_map=True)))
    assert [answer["not_sure"] for answer in answers] == [False, True]
    assert [float(np.max(answer["heat_map"])) for answer in answers] == [1, 0]


def test_the_8_bit_network_is_loaded_when_asked_for(tmp_path: Path) -> None:
    folder = write_mean_model(tmp_path / "float32", 32, 2.0)
    (write_mean_model(tmp_path / "other", 32, -2.0) / "model.onnx").rename(folder / INT8_FILE)
    assert Predictor(folder).predict(grey_photo(255))["label"] == "dog"
    assert Predictor(folder, int8=True).predict(grey_photo(255))["label"] == "cat"


@pytest.mark.parametrize(("level", "not_sure"), [(255, False), (190, True), (60, True), (0, False)])
def test_a_photo_without_strong_evidence_anywhere_is_not_sure_however_probable(tmp_path: Path, level: int, not_sure: bool) -> None:
    folder = write_mean_model(tmp_path, 32, 20.0)
    card = dataclasses.replace(ModelCard.read(folder / CARD_FILE), unfamiliar_below=15.0)
    card.write(folder / CARD_FILE)
    answer = Predictor(folder).predict(grey_photo(level))
    assert answer["probability"] > 0.999
    assert answer["not_sure"] is not_sure


def test_threads_share_a_predictor(tmp_path: Path) -> None:
    predictor = Predictor(write_mean_model(tmp_path, 32, 2.0))
    levels = list(range(0, 256, 5)) * 4
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda level: predictor.predict(grey_photo(level))["probability"], levels))
    assert answers == [predictor.predict(grey_photo(level))["probability"] for level in levels]


def test_bytes_that_are_no_photo_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError):
        Predictor(write_mean_model(tmp_path, 32, 2.0)).predict(b"camera shy")


def test_a_card_survives_the_disk(tmp_path: Path) -> None:
    card = ModelCard(("a", "b", "c"), 96, "digest", 0.5, generated=False)
    card.write(tmp_path / "model.json")
    assert ModelCard.read(tmp_path / "model.json") == card


def test_serving_needs_neither_tensorflow_nor_the_pipeline() -> None:
    code = "import sys, serving.predictor; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]).stdout
    assert not {"tensorflow", "keras", "mlflow", "pandas", "kfp", "components"} & set(loaded.split())


@pytest.mark.parametrize("resize", ["squeeze", "pad", "centre_crop"])
def test_serving_feeds_the_tensor_that_training_stored(resize: str, tmp_path: Path) -> None:
    archive = tmp_path / "dogs-vs-cats.zip"
    write_archive("dogs-vs-cats", archive, num_images=120, seed=2)
    recipe = parse_recipe(RECIPE, overrides=(f"resize={resize}",))
    source = recipe.sources.archives[0]
    fuse([Archive(source, archive, {"origin": "test", "generated": True})], recipe, tmp_path)
    dataset = Dataset(tmp_path)
    assert dataset.resize == resize
    folder = write_mean_model(tmp_path / "model", dataset.image_size, 3.0)
    card = dataclasses.replace(ModelCard.read(folder / CARD_FILE), resize=dataset.resize)
    card.write(folder / CARD_FILE)
    predictor = Predictor(folder)
    fed = []
    look = predictor.look
    predictor.look = lambda pixels: (fed.append(pixels), look(pixels))[1]  # type: ignore[method-assign, func-returns-value]
    for _, data in dataset.originals():
        predictor.predict(data)
    np.testing.assert_array_equal(np.stack(fed), dataset.images("test")[:])


def test_a_card_from_before_a_field_existed_is_read(tmp_path: Path) -> None:
    folder = write_mean_model(tmp_path, 32, 1.0)
    values = json.loads((folder / CARD_FILE).read_text())
    for added in ("resize", "unfamiliar_below", "temperature"):
        del values[added]
    (folder / CARD_FILE).write_text(json.dumps(values))
    card = ModelCard.read(folder / CARD_FILE)
    assert (card.resize, card.unfamiliar_below, card.temperature) == ("squeeze", 0.0, 1.0)
