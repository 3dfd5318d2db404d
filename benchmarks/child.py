"""The measured process: `python -m benchmarks.child MODULE FUNCTION ARGUMENT...` prepares, works, and says last what the work took.

It imports nothing but the standard library by itself, so that it runs in the environments of others as well.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time


def _usages() -> list[resource.struct_rusage]:
    return [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]


def used() -> float:
    """Processor time of this process and the children that it has waited for, in seconds."""
    return sum(usage.ru_utime + usage.ru_stime for usage in _usages())


def main(module: str, function: str, *arguments: str) -> None:
    """Run one task."""
    work = getattr(importlib.import_module(module), function)(*arguments)
    cpu, wall = used(), time.perf_counter()
    work()
    cost = {"cpu": used() - cpu, "wall": time.perf_counter() - wall}
    # Kilobytes, but for macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps({**cost, "peak_rss": unit * max(usage.ru_maxrss for usage in _usages())}))


if __name__ == "__main__":
    main(*sys.argv[1:])
