"""What a request costs: the two servers of this project, those that others would use for the same network, and the least that is possible.

No arguments. It trains one network, starts every server, checks that all give the same answers, and then asks them in turn,
over and over, with photos of three sizes. It prints tables and, last, one line of JSON. What the figures mean: benchmarks/README.md.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import ceiling
from benchmarks.common import measure
from benchmarks.load import send_as_they_come, send_in_turn
from benchmarks.payloads import make_payloads
from benchmarks.servers import Kind, Server, list_kinds
from benchmarks.weights import FORMS
from components.common.store import home
from serving.images import read_photo
from serving.predictor import MODEL_FILE, Predictor

_ROUNDS = int(os.environ.get("PAWFLOW_BENCHMARK_REPETITIONS", "5"))
_WITH_PEERS = "PAWFLOW_BENCHMARK_WITHOUT_PEERS" not in os.environ
#: Size -> requests in a row, requests at random times, and how many of these come in a second.
_LOADS = {"23 KB": (120, 200, 20.0), "100 KB": (120, 200, 20.0), "3 MB": (16, 60, 3.0)}
#: The same for servers that take tensors, which are far slower.
_TENSOR_LOAD = (8, 30, 1.0)
#: Float32 multiply-adds take this many times as long as those of 8 bits in the instructions that processors have for both.
_INT8_GAIN = 4
_CONTROL = "gateway, int8, again"


class Measurements:
    """CPU-seconds per request, round by round, and seconds until an answer."""

    def __init__(self) -> None:
        self.cpu: dict[tuple[str, str], list[float]] = {}
        self.waits: dict[tuple[str, str], list[float]] = {}

    def add(self, title: str, size: str, cpu: float) -> None:
        """One round's CPU-seconds per request."""
        self.cpu.setdefault((title, size), []).append(cpu)

    def ratio(self, title: str, other: str, size: str, size_of_other: str = "") -> float:
        """Median over the rounds of the one's CPU-seconds for one of the other's."""
        pairs = zip(self.cpu[title, size], self.cpu[other, size_of_other or size], strict=True)
        return round(statistics.median(first / second for first, second in pairs), 3)


def main() -> None:
    """Measure everything and print it."""
    scratch = home() / "benchmarks" / "serving"
    shutil.rmtree(scratch, ignore_errors=True)
    models = scratch / "models"
    models.mkdir(parents=True)
    os.environ |= {"MLFLOW_TRACKING_URI": f"sqlite:///{scratch}/mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true"}
    print("training the network that all serve")
    with (scratch / "weights.log").open("w") as log:
        subprocess.run([sys.executable, "-m", "benchmarks.weights", str(models)], stdout=log, stderr=log, check=True)
    photos = make_payloads(models)
    for size, files in photos.items():
        (scratch / size).mkdir()
        for number, data in enumerate(files):
            (scratch / size / f"{number}.jpg").write_bytes(data)
    kinds, found = list_kinds(models, peers=_WITH_PEERS), Measurements()
    with ExitStack() as stack:
        servers = {title: stack.enter_context(Server(kind, scratch / f"{title}.log")) for title, kind in kinds.items()}
        print("starting", ", ".join(servers))
        for server in servers.values():
            server.wait(photos["23 KB"][0])
        _check(servers, photos, models)
        for number in range(_ROUNDS):
            print(f"round {number + 1} of {_ROUNDS}")
            _measure_round(servers, photos, scratch, found, number)
        for title, server in servers.items():
            print(f"at random times: {title}")
            _measure_waits(title, server, photos, found)
        memory = {title: server.memory() for title, server in servers.items()}
    _compute_floor(models, found)
    _show(found, memory)
    print(json.dumps(_compare(found)))
    shutil.rmtree(scratch)


def _sizes(kind: Kind) -> dict[str, tuple[int, int, float]]:
    return {"23 KB": _TENSOR_LOAD} if kind.takes_tensors else _LOADS


def _check(servers: dict[str, Server], photos: dict[str, list[bytes]], models: Path) -> None:
    """All must say the same of every photo, as far as their kind allows."""
    predictor = Predictor(models / FORMS[0])
    card = predictor.card
    for title, server in servers.items():
        differences = [
            float(np.abs(np.array(server.ask(photo)) - predictor.score(read_photo(photo, card.image_size, card.resize).pixels)).max())
            for size in _sizes(server.kind)
            for photo in photos[size]
        ]
        print(f"{title}: probabilities differ by {max(differences):.1e} at most from float32 in one process")
        if max(differences) > server.kind.tolerance:
            raise SystemExit(f"{title} does not serve the same network: more than {server.kind.tolerance:g} apart")


def _measure_round(servers: dict[str, Server], photos: dict[str, list[bytes]], scratch: Path, found: Measurements, number: int) -> None:
    # Each round starts with another, so that none is always first after a pause.
    titles = list(servers)[number % len(servers) :] + list(servers)[: number % len(servers)]
    for size, (in_turn, _, _) in _LOADS.items():
        for title in titles:
            server = servers[title]
            if size not in _sizes(server.kind):
                continue
            calls, requests = [server.kind.call(photo) for photo in photos[size]], _sizes(server.kind)[size][0]
            send_in_turn(server.port, calls, len(calls))
            before = server.used()
            send_in_turn(server.port, calls, requests)
            found.add(title, size, (server.used() - before) / requests)
        for form in FORMS:
            cost = measure(ceiling.answer, scratch / "models", form, scratch / size, in_turn)
            found.add(f"ceiling, {form}", size, cost.cpu / in_turn)
        found.add("decoding alone", size, measure(ceiling.decode, scratch / "models", scratch / size, in_turn).cpu / in_turn)


def _measure_waits(title: str, server: Server, photos: dict[str, list[bytes]], found: Measurements) -> None:
    for size, (_, number, rate) in _sizes(server.kind).items():
        calls = [server.kind.call(photo) for photo in photos[size]]
        found.waits[title, size] = send_as_they_come(server.port, calls, number, rate, seed=0)


def _compute_floor(models: Path, found: Measurements) -> None:
    """Decoding, and the network's multiply-adds at the speed that one core reaches at its best."""
    seconds = ceiling.count_multiplications(models / FORMS[0] / MODEL_FILE) / ceiling.measure_multiplications_per_second()
    for size in _LOADS:
        for form, gain in zip(FORMS, (1, _INT8_GAIN), strict=True):
            for decoding in found.cpu["decoding alone", size]:
                found.add(f"floor, {form}, computed", size, decoding + seconds / gain)


def _compare(found: Measurements) -> dict[str, float]:
    """The figures of the last line: of int8, which is what serves where its gate has passed, and with a suffix those of float32."""
    figures = {}
    for form, suffix in (("int8", ""), ("float32", "_float32")):
        endpoint, gateway = f"MLflow endpoint, {form}", f"gateway, {form}"
        for size, end in (("23 KB", ""), ("100 KB", "_100kb"), ("3 MB", "_3mb")):
            key = suffix + end
            if _WITH_PEERS:
                figures[f"cpu_ratio_keras{key}"] = found.ratio("mlflow.keras, tensor", endpoint, "23 KB", size)
                figures[f"cpu_ratio_onnx{key}"] = found.ratio("mlflow.onnx, tensor", endpoint, "23 KB", size)
                for name, peer in (
                    ("fastapi", "FastAPI, one thread"),
                    ("fastapi_default", "FastAPI, as it comes"),
                    ("litserve", "LitServe"),
                ):
                    figures[f"cpu_ratio_{name}{key}"] = found.ratio(peer, endpoint, size)
                    figures[f"cpu_ratio_{name}_gateway{key}"] = found.ratio(peer, gateway, size)
            figures[f"share_of_ceiling_mlflow{key}"] = found.ratio(f"ceiling, {form}", endpoint, size)
            figures[f"share_of_ceiling_gateway{key}"] = found.ratio(f"ceiling, {form}", gateway, size)
            figures[f"share_of_floor_gateway{key}"] = found.ratio(f"floor, {form}, computed", gateway, size)
    figures["ratio_control"] = found.ratio(_CONTROL, "gateway, int8", "23 KB")
    return figures


def _show(found: Measurements, memory: dict[str, int]) -> None:
    for size, (_, _, rate) in _LOADS.items():
        title = f"JPEG of {size}; at random times {rate:g} a second, for tensors {_TENSOR_LOAD[2]:g}"
        table = Table("", "CPU-ms a request", "of the ceiling", "p50, ms", "p95", "p99", "memory, MB", title=title, title_justify="left")
        for column in table.columns[1:]:
            column.justify = "right"
        rows = {name: costs for (name, other), costs in found.cpu.items() if other == size}
        for name, costs in sorted(rows.items(), key=lambda row: statistics.median(row[1])):
            waits = found.waits.get((name, size))
            times = [f"{1000 * value:.0f}" for value in np.percentile(waits, [50, 95, 99])] if waits else ["", "", ""]
            share = found.ratio("ceiling, int8" if "int8" in name else "ceiling, float32", name, size)
            held = f"{memory[name] / 1e6:.0f}" if name in memory else ""
            table.add_row(name, f"{1000 * statistics.median(costs):.2f}", f"{share:.2f}", *times, held)
        Console(width=110).print(table)


if __name__ == "__main__":
    main()
