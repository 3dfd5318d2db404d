"""How many cores there are for this process, which in a container are fewer than the machine has."""

from __future__ import annotations

import math
import os
from pathlib import Path

#: Microseconds of processor time in a period, or `max`, and the period; version 2 of control groups, which Kubernetes uses for a CPU limit.
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def num_cores() -> int:
    """Cores that this process may run on, and no more than its container's limit comes to, rounded up.

    With a thread for each core of a large machine, a container of two would be halted most of the time, and need memory for all.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text().split()
    except OSError:
        return cores
    return cores if quota == "max" else max(1, min(cores, math.ceil(int(quota) / int(period))))
