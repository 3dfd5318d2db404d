"""The servers that are compared: how each is started, what a caller sends it, and where its answer holds the probabilities."""

from __future__ import annotations

import base64
import contextlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.common import FailedTaskError, make_environment
from benchmarks.load import Call, Caller
from benchmarks.weights import ADDRESSES, FORMS
from components.register.endpoint import find_free_port, serving_command, serving_environment
from serving.images import read_photo
from serving.predictor import CARD_FILE, MODEL_FILE, ModelCard

_ROOT = Path(__file__).parents[1]
_PATIENCE = 180.0
_LITSERVE = "litserve==0.2.19"
_JSON = "application/json"

#: How far probabilities may be from those of float32 in this process: the same computation, another decoder, or 8 bits.
SAME, OTHER = 0.001, 0.1


@dataclass(frozen=True)
class Kind:
    """One way to serve.

    Attributes:
        command: Arguments of the process, for a port.
        call: What is sent for a photo.
        read: Probabilities, class by class, from the body of an answer.
        tolerance: See `SAME`.
        takes_tensors: Whether callers decode the photo and send its pixels; then its size in bytes makes no difference.
    """

    command: Callable[[int], list[str]]
    call: Callable[[bytes], Call]
    read: Callable[[Any], list[float]]
    tolerance: float = SAME
    takes_tensors: bool = False


class Server:
    """A running one. Entering the context starts it without waiting; leaving it ends it with all its processes."""

    def __init__(self, kind: Kind, log: Path) -> None:
        self.kind = kind
        self._log = log
        self.port = find_free_port()

    def __enter__(self) -> Server:
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                self.kind.command(self.port),
                env={**serving_environment(), "PYTHONPATH": str(_ROOT)},
                cwd=self._log.parent,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(self._process.pid, number)
                self._process.wait(10)

    def ask(self, photo: bytes) -> list[float]:
        """Probabilities of one photo."""
        caller = Caller(self.port)
        try:
            return self.kind.read(json.loads(caller.send(self.kind.call(photo))))
        finally:
            caller.close()

    def wait(self, photo: bytes) -> None:
        """Wait until it answers.

        Raises:
            FailedTaskError: It ends, or does not answer for long; the message is the end of what it said.
        """
        deadline = time.monotonic() + _PATIENCE
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                self.ask(photo)
                return
            except OSError:
                time.sleep(0.3)
            except RuntimeError as error:
                raise FailedTaskError(f"{self._log.stem} refuses: {error}\n{self._log.read_text()[-1500:]}") from None
        raise FailedTaskError(f"{self._log.stem} does not answer: {self._log.read_text()[-1500:]}")

    def used(self) -> float:
        """CPU-seconds so far, of all its processes."""
        times = [process.cpu_times() for process in self._processes()]
        # Of children that have ended, only those that were waited for are known.
        return sum(time.user + time.system for time in times) + sum(time.children_user + time.children_system for time in times)

    def memory(self) -> int:
        """Bytes that all its processes hold now; what they share counts for each."""
        return sum(process.memory_info().rss for process in self._processes())

    def _processes(self) -> list[psutil.Process]:
        root = psutil.Process(self._process.pid)
        return [root, *root.children(recursive=True)]


def list_kinds(models: Path, *, peers: bool) -> dict[str, Kind]:
    """Title -> everything that is compared; `models` is what `benchmarks.weights` wrote. Ours first, then, if wanted, the others."""
    addresses, card = json.loads((models / ADDRESSES).read_text()), ModelCard.read(models / FORMS[0] / CARD_FILE)
    small = make_environment("gateway", "-r", str(_ROOT / "requirements-serve.lock"))

    def by_class(answers: dict[str, float]) -> list[float]:
        return [answers[name] for name in card.classes]

    def gateway(form: str) -> Kind:
        command = [
            str(small),
            "-m",
            "serving.gateway",
            "--model-dir",
            str(models / form),
            *(["--int8"] if form == "int8" else []),
            "--port",
        ]
        return Kind(
            lambda port: [*command, str(port)],
            lambda photo: Call("/predict", photo, "image/jpeg"),
            lambda answer: by_class(answer["predictions"][0]["probabilities"]),
            OTHER if form == "int8" else SAME,
        )

    def mlflow(name: str, call: Callable[[bytes], Call], read: Callable[[Any], list[float]], **others: Any) -> Kind:
        return Kind(lambda port: serving_command(addresses[name], "127.0.0.1", port), call, read, **others)

    def endpoint(form: str) -> Kind:
        def call(photo: bytes) -> Call:
            envelope = {"dataframe_split": {"columns": ["image"], "data": [[base64.b64encode(photo).decode()]]}}
            return Call("/invocations", json.dumps(envelope).encode(), _JSON)

        read = lambda answer: by_class(answer["predictions"][0]["probabilities"])  # noqa: E731
        return mlflow(form, call, read, tolerance=OTHER if form == "int8" else SAME)

    def square(photo: bytes) -> list[Any]:
        # Whole numbers: the shortest text that says the same.
        pixels: list[Any] = read_photo(photo, card.image_size, card.resize).pixels[np.newaxis].tolist()
        return pixels

    def web(python: str | Path, module: list[str], call: Callable[[bytes], Call]) -> Kind:
        command = [str(python), "-m", *module, str(models / "float32" / MODEL_FILE), ",".join(card.classes), str(card.image_size)]
        return Kind(lambda port: [*command, str(port)], call, by_class, OTHER)

    def tensor(inputs: Callable[[list[Any]], object]) -> Callable[[bytes], Call]:
        return lambda photo: Call("/invocations", json.dumps({"inputs": inputs(square(photo))}, separators=(",", ":")).encode(), _JSON)

    kinds = {
        "gateway, int8": gateway("int8"),
        "MLflow endpoint, int8": endpoint("int8"),
        "gateway, float32": gateway("float32"),
        "MLflow endpoint, float32": endpoint("float32"),
        "gateway, int8, again": gateway("int8"),
    }
    if peers:
        raw = lambda photo: Call("/predict", photo, "image/jpeg")  # noqa: E731
        encoded = lambda photo: Call("/predict", json.dumps({"image": base64.b64encode(photo).decode()}).encode(), _JSON)  # noqa: E731
        same = [f"{name}=={importlib.metadata.version(name)}" for name in ("numpy", "onnxruntime", "pillow")]
        kinds |= {
            "FastAPI, one thread": web(sys.executable, ["benchmarks.fastapi_peer", "1"], raw),
            "FastAPI, as it comes": web(sys.executable, ["benchmarks.fastapi_peer", "0"], raw),
            "LitServe": web(make_environment("litserve", _LITSERVE, *same), ["benchmarks.litserve_peer"], encoded),
            "mlflow.onnx, tensor": mlflow(
                "onnx",
                tensor(lambda pixels: {"image": pixels}),
                lambda answer: list(answer["predictions"]["probabilities"][0]),
                takes_tensors=True,
            ),
            "mlflow.keras, tensor": mlflow(
                "keras", tensor(lambda pixels: pixels), lambda answer: list(answer["predictions"][0]), takes_tensors=True
            ),
        }
    return kinds
