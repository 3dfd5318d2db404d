"""What the workflows run: each target of tests; and what a tag publishes: the images that the same job built once and tested."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"
JOBS: dict[str, dict[str, Any]] = yaml.safe_load((WORKFLOWS / "ci.yaml").read_text())["jobs"]


def read_commands(job: str) -> list[str]:
    return [step["run"] for step in JOBS[job]["steps"] if "run" in step]


def test_every_target_of_tests_is_run_by_some_workflow() -> None:
    targets = re.findall(r"^(test-[a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    run = "\n".join(path.read_text() for path in WORKFLOWS.iterdir())
    assert len(targets) > 5
    assert [target for target in targets if not re.search(rf"\b{target}\b", run)] == []


def test_what_is_pushed_was_built_once_and_tested() -> None:
    assert [job for job in JOBS for command in read_commands(job) if "make images" in command] == ["images"]
    assert [job for job in JOBS for command in read_commands(job) if "docker push" in command] == ["images"]
    commands = read_commands("images")
    order = ["make images", "make test-containers", "make test-compose"]
    assert [command for command in commands if command in order] == order
    assert "docker push" in commands[-1]
    assert "docker build" not in commands[-1]


def test_only_a_tag_pushes_and_only_after_all_other_jobs() -> None:
    pushing = JOBS["images"]["steps"][-1]
    assert pushing["if"] == "startsWith(github.ref, 'refs/tags/v')"
    assert set(JOBS["images"]["needs"]) == JOBS.keys() - {"images"}
    # No other step sees the registry's password.
    assert [step.get("name") for job in JOBS.values() for step in job["steps"] if "secrets." in str(step.get("env"))] == ["publish"]
