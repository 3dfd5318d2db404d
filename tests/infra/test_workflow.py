"""What a tag publishes: the images that the same job built once and tested, and each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
JOBS: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yaml").read_text())["jobs"]


def read_commands(job: str) -> list[str]:
    return [step["run"] for step in JOBS[job]["steps"] if "run" in step]


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
