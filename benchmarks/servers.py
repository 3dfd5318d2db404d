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
_TOLERANCES = {"float32": SAME, "int8": OTHER}


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


@dataclass(frozen=True)
class Forms:
    """One network in the forms that `benchmarks.weights` wrote; each method is a way to serve it.

    Attributes:
        folder: Where they are.
        card: What the network's outputs mean.
        addresses: Name -> address of each form that MLflow keeps.
    """

    folder: Path
    card: ModelCard
    addresses: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> Forms:
        """What is in the folder."""
        return cls(folder, ModelCard.read(folder / FORMS[0] / CARD_FILE), json.loads((folder / ADDRESSES).read_text()))

    def gateway(self, python: Path, form: str) -> Kind:
        """Our gateway in a Python that has what it needs."""
        options = ["--model-dir", str(self.folder / form), *(["--int8"] if form == "int8" else [])]
        return Kind(
            lambda port: [str(python), "-m", "serving.gateway", *options, "--port", str(port)],
            _send_photo,
            self._read_first,
            _TOLERANCES[form],
        )

    def endpoint(self, form: str) -> Kind:
        """`mlflow models serve` of our pyfunc."""
        return self.mlflow(form, _send_table, self._read_first, tolerance=_TOLERANCES[form])

    def mlflow(self, name: str, call: Callable[[bytes], Call], read: Callable[[Any], list[float]], **others: Any) -> Kind:
        """`mlflow models serve` of one of the addresses."""
        return Kind(lambda port: serving_command(self.addresses[name], "127.0.0.1", port), call, read, **others)

    def program(self, python: str | Path, module: list[str], call: Callable[[bytes], Call]) -> Kind:
        """A module of this folder, with its options."""
        command = [
            str(python),
            "-m",
            *module,
            str(self.folder / FORMS[0] / MODEL_FILE),
            ",".join(self.card.classes),
            str(self.card.image_size),
        ]
        return Kind(lambda port: [*command, str(port)], call, self._order, OTHER)

    def send_tensor(self, wrap: Callable[[list[Any]], object]) -> Callable[[bytes], Call]:
        """The decoded photo as JSON, in whole numbers: the shortest text that says the same; `wrap` gives it the name that is expected."""

        def send(photo: bytes) -> Call:
            pixels = read_photo(photo, self.card.image_size, self.card.resize).pixels[np.newaxis].tolist()
            return Call("/invocations", json.dumps({"inputs": wrap(pixels)}, separators=(",", ":")).encode(), _JSON)

        return send

    def _read_first(self, answer: dict[str, Any]) -> list[float]:
        return self._order(answer["predictions"][0]["probabilities"])

    def _order(self, answers: dict[str, float]) -> list[float]:
        return [answers[name] for name in self.card.classes]


def list_kinds(models: Path, *, peers: bool) -> dict[str, Kind]:
    """Title -> everything that is compared; `models` is what `benchmarks.weights` wrote. Ours first, then, if wanted, the others."""
    forms, small = Forms.read(models), make_environment("gateway", "-r", str(_ROOT / "requirements-serve.lock"))
    ours = {
        "gateway, int8": forms.gateway(small, "int8"),
        "MLflow endpoint, int8": forms.endpoint("int8"),
        "gateway, float32": forms.gateway(small, "float32"),
        "MLflow endpoint, float32": forms.endpoint("float32"),
        "gateway, int8, again": forms.gateway(small, "int8"),
    }
    return ours | (_list_peers(forms) if peers else {})


def _list_peers(forms: Forms) -> dict[str, Kind]:
    same = [f"{name}=={importlib.metadata.version(name)}" for name in ("numpy", "onnxruntime", "pillow")]
    of_onnx, of_keras = forms.send_tensor(lambda pixels: {"image": pixels}), forms.send_tensor(lambda pixels: pixels)
    return {
        "FastAPI, one thread": forms.program(sys.executable, ["benchmarks.fastapi_peer", "1"], _send_photo),
        "FastAPI, as it comes": forms.program(sys.executable, ["benchmarks.fastapi_peer", "0"], _send_photo),
        "LitServe": forms.program(make_environment("litserve", _LITSERVE, *same), ["benchmarks.litserve_peer"], _send_encoded),
        "mlflow.onnx, tensor": forms.mlflow(
            "onnx", of_onnx, lambda answer: list(answer["predictions"]["probabilities"][0]), takes_tensors=True
        ),
        "mlflow.keras, tensor": forms.mlflow("keras", of_keras, lambda answer: list(answer["predictions"][0]), takes_tensors=True),
    }


def _send_photo(photo: bytes) -> Call:
    return Call("/predict", photo, "image/jpeg")


def _send_encoded(photo: bytes) -> Call:
    return Call("/predict", json.dumps({"image": base64.b64encode(photo).decode()}).encode(), _JSON)


def _send_table(photo: bytes) -> Call:
    envelope = {"dataframe_split": {"columns": ["image"], "data": [[base64.b64encode(photo).decode()]]}}
    return Call("/invocations", json.dumps(envelope).encode(), _JSON)
