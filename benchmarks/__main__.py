"""All benchmarks, one after the other: `python -m benchmarks [data] [training] [serving]`, or `make bench`.

In: what each reads from the environment. Out: what each prints; `benchmarks/results.json` with the last line of each, how long it took and
on what machine, beside what is there of those that were not run; and a picture of it, `docs/pictures/benchmarks.svg`.
`PAWFLOW_BENCHMARK_RESULTS` names another folder for both.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.picture import draw_results

_ROOT = Path(__file__).parents[1]
BENCHMARKS = ("data", "training", "serving")
_LIBRARIES = ("fastapi", "keras", "mlflow", "numpy", "onnxruntime", "opencv-python-headless", "pandas", "pillow", "scikit-learn")


def main(arguments: list[str]) -> int:
    """Run those that are named, or all; the exit code is 1 if one failed, and the others are kept."""
    unknown = set(arguments) - set(BENCHMARKS)
    if unknown:
        print(f"there is no benchmark {', '.join(sorted(unknown))}; known ones: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    folder = os.environ.get("PAWFLOW_BENCHMARK_RESULTS")
    results = Path(folder or _ROOT / "benchmarks") / "results.json"
    picture = Path(folder or _ROOT / "docs" / "pictures") / "benchmarks.svg"
    found: dict[str, Any] = json.loads(results.read_text()) if results.exists() else {}
    wanted = arguments or list(BENCHMARKS)
    for name in wanted:
        print(f"== {name}", flush=True)
        # Each with its own machine and commit: they take hours together, and are seldom run on one day.
        found[name] = {"environment": describe_environment(), **run_benchmark(["-m", f"benchmarks.{name}"])}
        results.write_text(json.dumps(found, indent=1) + "\n")
    draw_results(found, picture)
    print(f"wrote {results} and {picture}")
    return int(any("failed" in found[name] for name in wanted))


def run_benchmark(arguments: Iterable[str]) -> dict[str, Any]:
    """Run one, show what it prints, and return `seconds`, `load` before it, and `figures`, or why it `failed`."""
    started, load, lines = time.monotonic(), os.getloadavg()[0], list[str]()
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    done = {"seconds": round(time.monotonic() - started), "load": round(load, 2)}
    if process.returncode:
        return {**done, "failed": f"exit code {process.returncode}"}
    return {**done, "figures": json.loads(lines[-1])}


def describe_environment() -> dict[str, Any]:
    """What the figures are about: when, which code, which machine, which versions, which settings."""
    git = ["git", "-C", str(_ROOT), "describe", "--always", "--abbrev=40", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip() or "unknown",
        "processor": _name_processor(),
        "cores": len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / (1 << 30), 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "settings": {name: value for name, value in sorted(os.environ.items()) if name.startswith("PAWFLOW_BENCHMARK_")},
        # Where it lies says nothing of the figures, and perhaps too much of the machine.
        "data": "PAWFLOW_DATA" in os.environ,
    }


def _name_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
