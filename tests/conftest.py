"""What tests share: a workspace of their own, small archives, and one dataset, all made by the project's own code."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from components.common.cli import quiet_libraries
from components.common.dataset import Dataset
from components.common.recipe import Recipe, parse_recipe
from components.download.sources.sample import write_archive
from components.fuse.fuse import Archive, fuse
from serving.predictor import CARD_FILE, MODEL_FILE, ModelCard
from tests.processes import SETTINGS

quiet_libraries()
# The tests speak of what every machine can do, and several that run side by side would not fit into one GPU.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

#: Of a recipe: two small archives of drawings.
SMALL_DATA = """
seed: 2
image_size: 32
sources:
  archives:
    - {name: dogs-vs-cats, provider: sample, layout: dogs_vs_cats, num_images: 120}
    - {name: dog-breed-identification, provider: sample, layout: dog_breeds, num_images: 60}
split: {validation: 0.2, test: 0.25}
"""
RECIPE = (
    SMALL_DATA
    + """
name: tiny
model: tiny
augment: {views: 1, rotate: 10}
candidates:
  - {name: cnn, architecture: simple_cnn, mode: scratch, epochs: 2, options: {conv_layers: 2, layer_size: 8}}
  - {name: frozen, architecture: efficientnet_lite0, mode: frozen}
  - {name: tuned, architecture: efficientnet_lite0, mode: fine_tune, epochs: 1, head_epochs: 1}
gate: {floor: 0.0, min_images: 5}
"""
)


@contextmanager
def fresh_environment() -> Iterator[None]:
    """No settings while the body runs, and after it the environment of before: tests, the project and MLflow all write into it."""
    before = dict(os.environ)
    # What the tests of reliability are told stays.
    for name in [name for name in before if name.startswith(SETTINGS) and not name.startswith("PAWFLOW_RELIABILITY_")]:
        del os.environ[name]
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@pytest.fixture(scope="session", autouse=True)
def environment_of_session() -> Iterator[None]:
    """No settings in what tests share, either."""
    with fresh_environment():
        yield


@pytest.fixture(autouse=True)
def environment_of_test() -> Iterator[None]:
    """Nothing that earlier tests, or what they share, left in the environment, and no experiment or open run of MLflow."""
    if "mlflow.tracking.fluent" in sys.modules:
        # They are in the store of another test. MLflow has no public way to forget an experiment, and ends a run only in its store.
        remembered = vars(sys.modules["mlflow.tracking.fluent"])
        remembered["_active_experiment_id"] = None
        remembered["_active_run_stack"].get().clear()
    with fresh_environment():
        yield


@pytest.fixture(autouse=True)
def workspace(environment_of_test: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder, cache and MLflow store that no other test sees."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAWFLOW_HOME", str(tmp_path / "pawflow"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tmp_path


@pytest.fixture
def deserted_address() -> Iterator[str]:
    """An address that refuses every connection: nobody listens there, and for the length of the test nobody else can."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """Small data, each training mode once."""
    return parse_recipe(RECIPE)


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> list[Archive]:
    """The two generated archives in Kaggle's layouts."""
    folder = tmp_path_factory.mktemp("archives")
    made = []
    for source in recipe.sources.archives:
        path = folder / f"{source.name}.zip"
        write_archive(source.name, path, num_images=source.num_images, seed=recipe.seed)
        made.append(Archive(source, path, {"origin": "drawn for tests", "generated": True}))
    return made


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory, archives: list[Archive], recipe: Recipe) -> Dataset:
    """Both archives, fused."""
    folder = tmp_path_factory.mktemp("dataset")
    fuse(archives, recipe, folder)
    return Dataset(folder)


def deliver(dataset: Dataset, folder: Path) -> Path:
    """Copy a dataset to where a step would have put it, with its index."""
    shutil.copytree(dataset.folder, folder)
    (folder / "artifact.json").write_text(json.dumps({"files": {"manifest.parquet": dataset.digest}, "record": {}}))
    return folder


def write_mean_model(folder: Path, image_size: int, weight: float, classes: tuple[str, ...] = ("cat", "dog"), *, bias: float = 0.0) -> Path:
    """Write a model whose evidence for the second class at a pixel is `weight` times the pixel's mean, scaled to -1..1, plus `bias`."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir(parents=True, exist_ok=True)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [None, image_size, image_size, 3])
    outputs = [
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
        helper.make_tensor_value_info("class_activation", TensorProto.FLOAT, [None, image_size, image_size, 2]),
    ]
    constants = [
        numpy_helper.from_array(np.array([3], np.int64), "channels"),
        numpy_helper.from_array(np.array([1, 2], np.int64), "positions"),
        numpy_helper.from_array(np.array(127.5, np.float32), "middle"),
        numpy_helper.from_array(np.array([[-weight, weight]], np.float32), "weights"),
        numpy_helper.from_array(np.array([[-bias, bias]], np.float32), "bias"),
    ]
    nodes = [
        helper.make_node("Sub", ["image", "middle"], ["centred"]),
        helper.make_node("Div", ["centred", "middle"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled", "channels"], ["grey"]),
        helper.make_node("MatMul", ["grey", "weights"], ["weighted"]),
        helper.make_node("Add", ["weighted", "bias"], ["class_activation"]),
        helper.make_node("ReduceMean", ["class_activation", "positions"], ["scores"], keepdims=0),
        helper.make_node("Softmax", ["scores"], ["probabilities"]),
    ]
    graph = helper.make_graph(nodes, "mean", [image], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / MODEL_FILE)
    ModelCard(classes, image_size, "digest", 0.7, generated=True).write(folder / CARD_FILE)
    reported = {"train.cpu_seconds": 10.0 * weight, "train.gpu_seconds": 0.0, "num_parameters": 2.0}
    reported["onnx_bytes"] = float((folder / MODEL_FILE).stat().st_size)
    (folder / "artifact.json").write_text(json.dumps({"files": {}, "record": {"metrics": reported}}))
    return folder
