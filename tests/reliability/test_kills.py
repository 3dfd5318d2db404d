"""SIGKILL, in every step and at random instants: whoever types the same command again gets what an undisturbed run gives."""

from __future__ import annotations

import os
import random
import re
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.reliability.campaign import RECIPE, STEPS, Place, Report, wait_for_quiet

pytestmark = pytest.mark.reliability

Expected = tuple[Place, dict[str, Any]]

_CNN = "{name: cnn, architecture: simple_cnn, mode: scratch, epochs: 4, options: {conv_layers: 2, layer_size: 8}}"
TUNED = RECIPE.replace(_CNN, "{name: cnn, architecture: efficientnet_lite0, mode: fine_tune, head_epochs: 6, epochs: 6, batch_size: 8}")


def test_killed_in_every_step_in_turn(place: Place, report: Report, undisturbed: Expected) -> None:
    for step in ("start", *STEPS, "finish"):
        with report.row("SIGKILL of everything", f"in {step}") as told:
            run = place.start()
            if step in STEPS:
                run.wait_for_step(step)
            else:
                # These have no run of their own: from the first sign of the database on, and after the last word of the others.
                run.wait_until((lambda: any(place.folder.glob("mlflow.db*"))) if step == "start" else run.has_a_champion)
            run.kill()
            wait_for_quiet(place)
            told.append("nothing left behind")
    with report.row("the same command", "after these ten") as told:
        output = place.complete()
        assert place.result() == undisturbed[1]
        assert not place.open_runs()
        assert not place.unjudged_versions()
        told.append(f"as the undisturbed run; {output.count('reused in')} steps reused; no version without a verdict")


def test_killed_between_a_version_and_its_verdict(place: Place, report: Report, undisturbed: Expected) -> None:
    with report.row("SIGKILL of everything", "in register, with a version that has no verdict yet") as told:
        run = place.start()
        run.wait_for_step("register")
        run.wait_until(lambda: bool(place.unjudged_versions()))
        run.kill()
        left = place.unjudged_versions()
        output = place.complete()
        assert f"version {left[0]}, which a killed run left without a verdict, is deleted" in output
        assert place.result() == undisturbed[1]
        assert not place.unjudged_versions()
        told.append("the same command deletes that version and ends as the undisturbed run")


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


def test_killed_in_either_phase_of_a_fine_tune_and_among_features(place: Place, tmp_path: Path, report: Report) -> None:
    expected = Place(tmp_path / "expected")
    for one in (place, expected):
        (one.folder / f"{one.model}.yaml").write_text(TUNED)
    assert "head epoch" in expected.complete()
    with report.row("SIGKILL of everything", "while `frozen` computes features, then in either phase of a `fine_tune`") as told:
        run = place.start()
        run.wait_until(lambda: bool(_stored_features(place)))
        run.kill()
        kept, reached = _stored_features(place), [_last_epoch(run.told)]
        # The checkpoint of an epoch follows what is told of it, so in the second of a phase there is one.
        for words in ("head epoch", "body epoch 2/6"):
            run = place.start()
            run.wait_until(lambda run=run, words=words: words in run.told)  # type: ignore[misc]
            run.kill()
            reached.append(_last_epoch(run.told))
        output = place.complete()
        assert "continuing at body epoch" in output
        assert "head epoch" not in output
        assert kept.items() <= _stored_features(place).items(), "not computed again"
        assert place.result() == expected.result()
        told.append(f"killed after {', '.join(reached)}; {len(kept)} files of features kept; the same command: as the undisturbed run")


def test_one_task_killed_as_for_lack_of_memory(place: Place, report: Report, undisturbed: Expected) -> None:
    with report.row("SIGKILL of the training process alone", "in train cnn") as told:
        run = place.start()
        run.wait_for_step("train cnn")
        largest = max(run.tasks(), key=_memory)
        largest.kill()
        sentence = run.fail()
        assert "a step was killed, as the system does when memory runs out" in sentence
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
        ends = [run.end() for run in both]
        assert 0 in [code for code, _ in ends], ends
        waited = sum("another run is making the same output" in run.told for run in both)
        told.append(f"one champion; {waited} waited for the other's outputs")
        if any(code for code, _ in ends):
            # It was judged before the other one's model became champion, so its verdict does not hold any more.
            late = next(run for run in both if run.process.returncode)
            assert "was compared with champion none, but the champion is now" in late.fail()
            told.append("the later one: exit code 2, “compared with champion none, but the champion is now …; run the pipeline again”")
            place.complete()
        assert place.result() == undisturbed[1]
        told.append("then as the undisturbed run")


def _last_epoch(told: str) -> str:
    """The last epoch of a fine-tune that a run has told of."""
    return str((re.findall(r"(?:head|body) epoch \d+/\d+", told) or ["none"])[-1])


def _stored_features(place: Place) -> dict[Path, int]:
    """Files of whole entries, and when they were written."""
    found = (place.home / "cache" / "train").glob("*/features.npy")
    return {path: path.stat().st_mtime_ns for path in found if path.parent.suffix != ".partial"}


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
