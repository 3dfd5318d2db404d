"""What gradient training runs on: the CPU, one GPU, or several of them that share each batch.

One GPU needs nothing said: TensorFlow and PyTorch use it if it is there. Several are used through TensorFlow's `MirroredStrategy`, which
keeps a copy of the network on each.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from components.common.candidate import Candidate
from components.common.errors import PawflowError


def choose_backend(candidate: Candidate) -> None:
    """Make Keras run on the candidate's backend; must happen before Keras is imported.

    Raises:
        PawflowError: The backend is not installed.
    """
    require_backend(candidate)
    where, backend = f"candidate {candidate.name!r}", candidate.backend
    if "keras" in sys.modules and sys.modules["keras"].backend.backend() != backend:
        raise RuntimeError(f"{where} needs Keras on {backend}, but this process has imported it on {os.environ.get('KERAS_BACKEND')}")
    os.environ["KERAS_BACKEND"] = backend
    # Candidates train side by side, and TensorFlow would otherwise take all of a GPU's memory for the first.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


def require_backend(candidate: Candidate) -> str:
    """Check that the candidate's backend is installed; returns its name.

    Raises:
        PawflowError: It is not.
    """
    if candidate.backend == "torch" and importlib.util.find_spec("torch") is None:
        where = f"candidate {candidate.name!r}"
        raise PawflowError(f"{where} trains with PyTorch, which is not installed: `make torch` installs it; or drop its backend")
    return candidate.backend


def num_gpus(candidate: Candidate) -> int:
    """GPUs that training uses."""
    if candidate.backend == "torch":
        import torch

        return int(torch.cuda.is_available())
    import tensorflow as tf

    return len(tf.config.list_logical_devices("GPU"))


def memory_errors(candidate: Candidate) -> tuple[type[Exception], ...]:
    """What training raises where the memory of its device does not suffice."""
    if candidate.backend == "torch":
        import torch

        return (torch.OutOfMemoryError,)
    import tensorflow as tf

    return (tf.errors.ResourceExhaustedError,)


def find_scope(candidate: Candidate) -> Callable[[], AbstractContextManager[object]]:
    """What to enter while building a network or its optimiser, so that they are trained on all GPUs of this machine."""
    if candidate.backend == "torch":
        return nullcontext
    import tensorflow as tf

    # A CPU is one logical device unless TensorFlow was told to split it, as tests do.
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:
        return nullcontext
    scope: Callable[[], AbstractContextManager[object]] = tf.distribute.MirroredStrategy([device.name for device in devices]).scope
    return scope
