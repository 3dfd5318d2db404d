"""The parity certificate: on golden photos, every form of a model gives the same probabilities, down to the endpoint that callers ask.

Golden photos are the test originals with the smallest hashes: fixed by the data, chosen by nobody. Compared are Keras against ONNX in
float32, and the ONNX file that serves against MLflow's pyfunc and against HTTP. The same endpoint shows that the model serves at all: it
answers every golden photo, and refuses what is not a photo with a message and no stack trace.
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.progress import say
from components.common.store import hash_values
from components.register.endpoint import Endpoint
from components.register.gate import PARITY_TOLERANCE
from components.register.packaging import load_pyfunc
from components.register.serving_form import ServingForm
from serving.images import Pixels, read_photo
from serving.predictor import CARD_FILE, ModelCard, Predictor

_NUM_PHOTOS = 32
_NO_PHOTO = b"camera shy"

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Certificate:
    """What was found.

    Attributes:
        photos: Digest of the golden photos.
        num_photos: How many.
        form: Which network serves.
        form_reason: Why that one.
        same_labels: Share of validation images with the same label from the 8-bit network; None where there is none.
        tolerance: Largest difference in probability that is allowed.
        differences: Largest difference in probability between two forms of the model.
        seconds_to_serve: From the start of `mlflow models serve` to its first answer.
        milliseconds_per_request: Median over HTTP, decoding included.
    """

    photos: str
    num_photos: int
    form: str
    form_reason: str
    same_labels: float | None
    tolerance: float
    differences: dict[str, float]
    seconds_to_serve: float
    milliseconds_per_request: float

    @property
    def parity(self) -> float:
        """The largest difference of all; NaN if any is."""
        return float(np.max(list(self.differences.values())))

    @property
    def holds(self) -> bool:
        """Whether the model may be registered."""
        return self.parity <= self.tolerance

    def require(self) -> None:
        """Check that it holds.

        Raises:
            PawflowError: It does not.
        """
        if not self.holds:
            found = ", ".join(f"{name} {value:.2g}" for name, value in self.differences.items())
            raise PawflowError(
                f"the forms of the winner disagree on {self.num_photos} test photos by more than {self.tolerance:g} in probability "
                f"({found}), so it is not registered; train it again, and if it stays so report the architecture"
            )

    def write(self, path: Path) -> None:
        """Save as JSON."""
        path.write_text(json.dumps(asdict(self) | {"holds": self.holds}, indent=1))


def pick_golden_photos(dataset: Dataset) -> dict[str, bytes]:
    """Encoded test originals by SHA-256, those with the smallest ones; at most 32."""
    rows = dataset.rows("test").sort_values("sha256").head(_NUM_PHOTOS)
    hashes = dict(zip(rows["id"], rows["sha256"], strict=True))
    return {hashes[identifier]: data for identifier, data in dataset.originals() if identifier in hashes}


def certify(candidate: Path, form: ServingForm, uri: str, endpoint: Endpoint, golden: dict[str, bytes]) -> Certificate:
    """Compare all forms of a model.

    Args:
        candidate: Holds `model.keras` and the networks.
        form: Which of them serves.
        uri: Of the registered version.
        endpoint: One that has been started with it.
        golden: From `pick_golden_photos`.

    Raises:
        PawflowError: The endpoint does not start, fails on a photo, or does not refuse what is none.
    """
    photos = list(golden.values())
    card = ModelCard.read(candidate / CARD_FILE)
    squares = np.stack([read_photo(photo, card.image_size, card.resize).pixels for photo in photos])
    # Keras takes seconds to import, in which the endpoint starts.
    by_keras = _ask_keras(candidate / "model.keras", squares)
    exact, network = Predictor(candidate), form.load(candidate)
    by_file = _tabulate([network.predict(photo) for photo in photos], card)
    by_pyfunc = _tabulate(load_pyfunc(uri)(photos), card)
    seconds = endpoint.wait()
    answers, milliseconds = _ask_over_http(endpoint, photos)
    differences = {
        "Keras against ONNX": _compare(by_keras, np.stack([exact.score(pixels) for pixels in squares])),
        "ONNX against pyfunc": _compare(by_file, by_pyfunc),
        "ONNX against HTTP": _compare(by_file, _tabulate(answers, card)),
    }
    say(f"serves after {seconds:.0f} s; on {len(photos)} golden photos all forms agree to {max(differences.values()):.1g}")
    return Certificate(
        photos=hash_values(sorted(golden)),
        num_photos=len(photos),
        form=form.form,
        form_reason=form.reason,
        same_labels=form.same_labels,
        tolerance=PARITY_TOLERANCE,
        differences=differences,
        seconds_to_serve=round(seconds, 1),
        milliseconds_per_request=milliseconds,
    )


def _ask_keras(path: Path, squares: Pixels) -> Floats:
    import keras

    network = keras.saving.load_model(path, compile=False, safe_mode=True)
    return np.asarray(network.predict_on_batch(squares.astype(np.float32)))


def _ask_over_http(endpoint: Endpoint, photos: list[bytes]) -> tuple[list[dict[str, Any]], float]:
    """The answers, and the median milliseconds of one.

    Raises:
        PawflowError: What is not a photo is not refused as it should be.
    """
    answers, times = [], []
    for photo in photos:
        started = time.perf_counter()
        answers.append(endpoint.ask(photo))
        times.append(1000 * (time.perf_counter() - started))
    refusal = endpoint.post(_NO_PHOTO)
    if refusal.status_code != 400 or "Traceback" in refusal.text or "stack_trace" in refusal.text:
        raise PawflowError(
            f"the candidate does not serve: what is no photo got status {refusal.status_code}, expected 400 and a message: "
            f"{refusal.text[:300]}"
        )
    return answers, round(statistics.median(times), 1)


def _tabulate(answers: list[dict[str, Any]], card: ModelCard) -> Floats:
    return np.array([[answer["probabilities"][name] for name in card.classes] for answer in answers])


def _compare(first: Floats, second: Floats) -> float:
    """The largest difference; NaN if any value is."""
    return float(np.abs(first - second).max())
