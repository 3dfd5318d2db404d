"""One team server in containers for all tests that are marked `compose`, and one with a champion."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PIL import Image

from tests.infra.composed import Composed, require_compose

#: One quick candidate, and a gate that lets it through.
RECIPE = f"""
name: drawn
model: {Composed.model}
image_size: 64
sources:
  archives:
    - {{name: dogs-vs-cats, provider: sample, layout: dogs_vs_cats, num_images: 120}}
    - {{name: dog-breed-identification, provider: sample, layout: dog_breeds, num_images: 60}}
split: {{validation: 0.2, test: 0.2}}
augment: {{views: 1}}
candidates:
  - {{name: frozen, architecture: efficientnet_lite0, mode: frozen}}
gate: {{floor: 0.0, min_images: 1, max_log_loss: 100.0, confounding: report}}
"""


@pytest.fixture(scope="session")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """Running, and empty but for what a test has done to it."""
    require_compose()
    server = Composed(tmp_path_factory.mktemp("composed"))
    try:
        server.up()
        yield server
    finally:
        server.down()


@pytest.fixture(scope="session")
def champion(composed: Composed, tmp_path_factory: pytest.TempPathFactory) -> Composed:
    """After a run into it on drawn data, with MLflow's endpoint beside the gateway; `photo.jpg` is in its folder."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "recipe.yaml").write_text(RECIPE)
    composed.run_pipeline(folder, "--recipe", "recipe.yaml")
    composed.start_endpoint()
    Image.new("RGB", (64, 48), (200, 120, 40)).save(composed.folder / "photo.jpg")
    return composed
