"""The same with LitServe: `python -m benchmarks.litserve_peer MODEL CLASSES SIZE PORT`, in an environment that has it.

The photo comes as base64 in JSON, as LitServe's own examples have it, and is computed in a process of its own.
LitServe compares annotations with types, so here they may not be text.
"""

import base64
import sys
from typing import Any

import litserve
from fastapi import Request

from benchmarks.network import Network


class Classifier(litserve.LitAPI):  # type: ignore[misc]
    """See `litserve.LitAPI`; at the top of a module, because the worker loads it by name."""

    def setup(self, device: str) -> None:
        """Load the network, in the worker."""
        model, classes, size, _ = sys.argv[1:]
        self._network = Network(model, classes.split(","), int(size))

    def decode_request(self, request: Request) -> bytes:
        """From JSON, which LitServe has parsed for this annotation, to a photo."""
        fields: Any = request
        return base64.b64decode(fields["image"])

    def predict(self, x: bytes) -> dict[str, Any]:
        """From a photo to probabilities."""
        return self._network.classify(x)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """From probabilities to JSON, which they are already."""
        return output


if __name__ == "__main__":
    litserve.LitServer(Classifier(), accelerator="cpu").run(port=int(sys.argv[-1]), log_level="warning", generate_client_file=False)
