"""One network, trained in a minute, in every form that the compared servers take: `python -m benchmarks.weights FOLDER`.

It learns from 400 photos if `PAWFLOW_DATA` names a folder with `dogs-vs-cats.zip`, else from drawings.

Out, in FOLDER: `float32` and `int8`, folders as the gateway takes them; the same two, Keras and ONNX as models of MLflow, whose addresses
are in `addresses.json`. How well it classifies does not matter here, and how long it computes does not depend on that.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from components.common.cli import quiet_libraries

ADDRESSES, RAW = "addresses.json", "raw"
FORMS = ("float32", "int8")

_SOURCE, _CANDIDATE = "dogs-vs-cats", "lite0"
_PHOTOS = Path(os.environ.get("PAWFLOW_DATA", "."), f"{_SOURCE}.zip").absolute()
_RECIPE = f"""
name: benchmark
image_size: 256
sources:
  {f"root: '{_PHOTOS.parent}'" if _PHOTOS.is_file() else ""}
  limit: 400
  archives: [{{name: {_SOURCE}, provider: sample, layout: dogs_vs_cats}}]
split: {{validation: 0.2, test: 0.2}}
augment: {{views: 1, flip: true}}
candidates: [{{name: {_CANDIDATE}, architecture: efficientnet_lite0, mode: frozen, int8: true}}]
"""


def _train(folder: Path) -> Path:
    """The steps of the pipeline as far as a candidate; returns its folder."""
    from components.augment import run as augment
    from components.download import run as download
    from components.fuse import run as fuse
    from components.train import run as train

    raw, dataset, views, candidate = (folder / name for name in (RAW, "dataset", "views", "candidate"))
    download.run(recipe=_RECIPE, source=_SOURCE, out=raw)
    fuse.run(recipe=_RECIPE, raw=[raw], out=dataset)
    augment.run(recipe=_RECIPE, dataset=dataset, out=views)
    train.run(recipe=_RECIPE, candidate=_CANDIDATE, dataset=dataset, views=views, out=candidate)
    return candidate


def _log(candidate: Path, folder: Path) -> dict[str, str]:
    """Write every form; return the addresses of those that MLflow keeps."""
    import keras
    import mlflow
    import numpy as np
    import onnx
    from mlflow.models import infer_signature

    from benchmarks.population import draw
    from components.common import registry
    from components.register.packaging import log_model, packed
    from serving.predictor import MODEL_FILE

    addresses = {}
    for form in FORMS:
        with packed(candidate, form, frozenset()) as served:
            shutil.copytree(served, folder / form)
            name = f"benchmark-{form}"
            addresses[form] = f"models:/{name}/{registry.create_version(log_model(served, draw(0), {}).uri, name, form)}"
    network = keras.saving.load_model(candidate / "model.keras", safe_mode=True)
    square = np.zeros((1, *network.input_shape[1:]), np.float32)
    signature = infer_signature(square, network.predict_on_batch(square))
    addresses["keras"] = mlflow.keras.log_model(network, name="keras", signature=signature).model_uri
    exported = onnx.load(candidate / MODEL_FILE)
    addresses["onnx"] = mlflow.onnx.log_model(exported, name="onnx", signature=infer_signature({"image": square})).model_uri
    return addresses


def main(folder: Path) -> None:
    """Train, log, and say where everything is."""
    quiet_libraries()
    candidate = _train(folder)
    import mlflow

    mlflow.set_experiment("benchmark")
    with mlflow.start_run():
        addresses = _log(candidate, folder)
    (folder / ADDRESSES).write_text(json.dumps(addresses))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
