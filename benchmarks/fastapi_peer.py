"""The ONNX file behind FastAPI: `python -m benchmarks.fastapi_peer THREADS MODEL CLASSES SIZE PORT`; the photo is the body.

THREADS are those of each run of the network; 0 leaves their number to ONNX Runtime, which takes one for each core.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool

from benchmarks.network import Network


def main(threads: str, model: str, classes: str, size: str, port: str) -> None:
    """Serve until ended."""
    app, network = FastAPI(), Network(model, classes.split(","), int(size), int(threads))

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        return await run_in_threadpool(network.classify, await request.body())

    uvicorn.run(app, port=int(port), log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
