"""What gradient training runs on: the CPU, one GPU, or several of them that share each batch.

One GPU needs nothing said: TensorFlow and PyTorch use it if it is there. Several are used through TensorFlow's `MirroredStrategy`, which
keeps a copy of the network on each.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from components.common.candidate import Candidate
from components.common.errors import PawflowError
from serving.cores import num_cores


def choose_backend(candidate: Candidate) -> None:
    """Make Keras run on the candidate's backend; must happen before Keras is imported.

    Raises:
        PawflowError: The backend is not installed.
    """
    require_backend(candidate)
    where, backend = f"candidate {candidate.name!r}", candidate.backend
    if "keras" in sys.modules and sys.modules["keras"].backend.backend() != backend:
        raise RuntimeError(
            f"{where} needs Keras on {backend}, but this process has imported it on {sys.modules['keras'].backend.backend()}"
        )
    os.environ["KERAS_BACKEND"] = backend
    # Candidates train side by side, and TensorFlow would otherwise take all of a GPU's memory for the first.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    # It counts the cores of the machine, of which a container may have few.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(num_cores()))


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


@contextmanager
def memory_explained(candidate: Candidate) -> Iterator[None]:
    """Where the memory of a device does not suffice for what is done inside, say so.

    Raises:
        PawflowError: It does not.
    """
    try:
        yield
    except Exception as error:
        if not _is_lack_of_memory(error, candidate):
            raise
        raise PawflowError(
            f"candidate {candidate.name!r} needs more memory than there is; lower its batch_size (now {candidate.batch_size}), "
            "or its input_size"
        ) from error


def _is_lack_of_memory(error: Exception, candidate: Candidate) -> bool:
    if candidate.backend == "torch":
        import torch

        return isinstance(error, torch.OutOfMemoryError)
    import tensorflow as tf

    return isinstance(error, tf.errors.ResourceExhaustedError)


def forbid_tf32(candidate: Candidate) -> None:
    """Compute in full float32 from here on: on a GPU, convolutions are else rounded to 10 bits, and then differ from what is served."""
    if candidate.backend == "torch":
        import torch

        torch.backends.cudnn.allow_tf32 = False
        return
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)


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
