from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.common.candidate import Candidate
from components.common.dataset import Dataset
from components.train import frozen
from components.train.features import Backbone
from components.train.frozen import compute_features


def test_a_network_has_the_same_stored_features_alone_and_beside_another(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[dict[str, object]] = []

    def remember(build: object, key: dict[str, object], *arguments: object, **options: object) -> Backbone:
        keys.append(key)
        return Backbone(Path("backbone.onnx"), key, 0.0)

    monkeypatch.setattr(frozen, "export_backbone", remember)
    monkeypatch.setattr(frozen, "extract_features", lambda *arguments: (np.zeros((1, 2), np.float32), 0.0))
    sought: list[dict[str, Any]] = [
        {"architecture": "efficientnet_lite0"},
        {"architecture": "efficientnet_lite0", "options": {"weights": "imagenet"}},
        {"architecture": "concatenation", "options": {"of": ["efficientnet_lite0", "efficientnet_lite2"]}},
        {"architecture": "efficientnet_lite0", "options": {"weights": "random"}},
    ]
    for fields in sought:
        compute_features(dataset, Candidate(name="c", mode="frozen", **fields), {})
    alone, spelled_out, beside, other, random = keys
    assert alone == spelled_out == beside
    assert alone not in (other, random)
