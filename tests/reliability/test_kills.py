"""SIGKILL, in every step and at random instants: whoever types the same command again gets what an undisturbed run gives."""

from __future__ import annotations

import os
import random
import time
from typing import Any

import psutil
import pytest

from tests.reliability.campaign import STEPS, Place, Report, wait_for_quiet

pytestmark = pytest.mark.reliability

Expected = tuple[Place, dict[str, Any]]


def test_killed_in_every_step_in_turn(place: Place, report: Report, undisturbed: Expected) -> None:
    for step in ("start", *STEPS, "finish"):
        with report.row("SIGKILL of everything", f"in {step}") as told:
            run = place.start()
            if step in STEPS:
                run.wait_for_step(step)
            else:
                # These have no run of their own: from the first sign of the database on, and after the last word of the others.
                run.wait_until((place.folder / "mlflow.db").exists if step == "start" else run.has_a_champion)
            run.kill()
            wait_for_quiet(place)
            told.append("nothing left behind")
    with report.row("the same command", "after these ten") as told:
        output = place.complete()
        assert place.result() == undisturbed[1]
        assert not place.open_runs()
        versions = place.client.search_model_versions(f"name = '{place.model}'")
        assert all("verdict" in version.tags for version in versions), "the killed register step's is gone"
        told.append(f"as the undisturbed run; {output.count('reused in')} steps reused")


def test_killed_at_random_instants(place: Place, report: Report, undisturbed: Expected) -> None:
    chance = random.Random(report.seed)
    length = next(row.seconds for row in report.rows if row.what == "nothing")
    for _ in range(int(os.environ.get("PAWFLOW_RELIABILITY_KILLS") or 5)):
        seconds = chance.uniform(1, 0.8 * length)
        with report.row("SIGKILL of everything", f"after {seconds:.1f} s") as told:
            run = place.start()
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and run.process.poll() is None:
                time.sleep(0.02)
            at = ", ".join(sorted(place.open_runs() & set(STEPS))) or "between steps"
            at = at if run.process.poll() is None else "its end, with what the runs before it had left to do"
            run.kill()
            wait_for_quiet(place)
            told.append(f"was at: {at}; nothing left behind")
    with report.row("the same command", "after these") as told:
        place.complete()
        assert place.result() == undisturbed[1]
        told.append("as the undisturbed run")


def test_one_task_killed_as_for_lack_of_memory(place: Place, report: Report, undisturbed: Expected) -> None:
    with report.row("SIGKILL of the training process alone", "in train cnn") as told:
        run = place.start()
        run.wait_for_step("train cnn")
        largest = max(run.tasks(), key=_memory)
        largest.kill()
        sentence = run.fail()
        told.append(f"exit code 2: “{sentence.split(';')[0]}”")
        wait_for_quiet(place)
        place.complete()
        assert place.result() == undisturbed[1]
        told.append("the same command: as the undisturbed run")


def test_the_runner_killed_and_its_tasks_left(place: Place, report: Report, undisturbed: Expected) -> None:
    with report.row("SIGKILL of the runner alone", "in train cnn") as told:
        run = place.start()
        run.wait_for_step("train cnn")
        run.process.kill()
        run.process.wait()
        place.complete()
        assert place.result() == undisturbed[1]
        wait_for_quiet(place)
        told.append("the same command, at once: as the undisturbed run, nothing left behind")


def test_two_runs_at_once(place: Place, report: Report, undisturbed: Expected) -> None:
    with report.row("two runs at once", "same recipe, same cache") as told:
        both = [place.start(), place.start()]
        for run in both:
            code, output = run.end()
            assert code == 0, output
        assert place.result() == undisturbed[1]
        waited = sum("another run is making the same output" in run.told for run in both)
        told.append(f"both end well, {waited} waited for the other, one champion")


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
