from __future__ import annotations

import importlib.util

import pytest

from components.common.candidate import Candidate
from components.common.errors import PawflowError
from components.train.devices import choose_backend, find_scope, num_gpus

CANDIDATE = Candidate(name="c", architecture="simple_cnn", mode="scratch")


def test_tensorflow_on_one_processor_needs_no_scope() -> None:
    choose_backend(CANDIDATE)
    with find_scope(CANDIDATE)():
        assert num_gpus(CANDIDATE) == 0


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="PyTorch is installed")
def test_a_missing_pytorch_says_how_to_get_it() -> None:
    with pytest.raises(PawflowError, match="PyTorch, which is not installed: `make torch`"):
        choose_backend(CANDIDATE.model_copy(update={"backend": "torch"}))
