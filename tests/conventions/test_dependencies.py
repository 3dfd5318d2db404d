"""The three lists of dependencies agree: pyproject.toml says what, requirements.lock which version, conda.yaml repeats it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]

# The environments in which a requirement may be wanted; one of them is enough.
ENVIRONMENTS = [
    {"python_full_version": "3.11.9", "python_version": "3.11", "sys_platform": "linux", "platform_machine": "x86_64"},
    {"python_full_version": "3.11.9", "python_version": "3.11", "sys_platform": "darwin", "platform_machine": "arm64"},
]


def read_lock(name: str = "requirements.lock") -> dict[str, str]:
    text = (ROOT / name).read_text()
    locked = [Requirement(line.rstrip(" \\")) for line in text.splitlines() if re.match(r"[a-z0-9]", line)]
    wanted = [item for item in locked if item.marker is None or any(item.marker.evaluate(environment) for environment in ENVIRONMENTS)]
    return {item.name: str(item.specifier).removeprefix("==") for item in wanted}


def read_project() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(text) for text in project["dependencies"]]


def test_conda_lists_the_direct_dependencies_at_locked_versions() -> None:
    lock = read_lock()
    expected = {item.name.lower(): (lock[item.name.lower()], str(item.marker or "")) for item in read_project()}
    conda = yaml.safe_load((ROOT / "conda.yaml").read_text())
    packages = next(entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict))
    found = {item.name: (str(item.specifier).removeprefix("=="), str(item.marker or "")) for item in map(Requirement, packages)}
    assert found == expected


def test_every_locked_version_satisfies_the_project() -> None:
    lock = read_lock()
    for item in read_project():
        assert item.specifier.contains(lock[item.name.lower()]), item


IMAGES = "infra/docker/locks"


@pytest.mark.parametrize(
    ("lock", "fewest"),
    [
        ("requirements.lock", 100),
        ("requirements-torch.lock", 10),
        ("requirements-serve.lock", 20),
        ("requirements-stack.lock", 50),
        ("requirements-docs.lock", 15),
        ("requirements-security.lock", 30),
        (f"{IMAGES}/builder.lock", 2),
        (f"{IMAGES}/data.lock", 100),
        (f"{IMAGES}/train.lock", 100),
        (f"{IMAGES}/train-gpu.lock", 100),
        (f"{IMAGES}/serve.lock", 20),
        (f"{IMAGES}/tracking.lock", 50),
    ],
)
def test_every_locked_package_has_hashes_and_no_index_address(lock: str, fewest: int) -> None:
    text = (ROOT / lock).read_text()
    entries = re.split(r"\n(?=[a-z0-9])", text)
    assert len(entries) >= fewest
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text


def test_pytorch_changes_no_other_package() -> None:
    base, torch = read_lock(), read_lock("requirements-torch.lock")
    assert "torch" in torch
    assert "torch" not in base
    shared = base.keys() & torch.keys()
    assert {name: torch[name] for name in shared} == {name: base[name] for name in shared}


@pytest.mark.parametrize("image", ["data", "train", "serve", "tracking", "train-gpu"])
def test_an_image_has_the_same_versions_as_everything_else(image: str) -> None:
    base, locked = read_lock(), read_lock(f"{IMAGES}/{image}.lock")
    shared = base.keys() & locked.keys()
    assert {name: locked[name] for name in shared} == {name: base[name] for name in shared}
    tensorflow = {"train": {"tensorflow-cpu", "tensorflow"}, "train-gpu": {"tensorflow"}}
    assert {name for name in locked if name.startswith("tensorflow")} == tensorflow.get(image, set())


def test_the_gateway_has_a_small_part_of_the_same_environment() -> None:
    everything, gateway = read_lock(), read_lock("requirements-serve.lock")
    assert gateway.items() <= everything.items()
    assert not {"mlflow", "pandas", "tensorflow", "tensorflow-cpu", "keras", "scikit-learn", "pyarrow"} & set(gateway)
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["serve"]
    assert {Requirement(text).name for text in wanted} <= set(gateway)


def test_tensorflow_is_chosen_by_platform() -> None:
    linux, mac = ENVIRONMENTS
    chosen = [
        {item.name for item in read_project() if item.name.startswith("tensorflow") and item.marker and item.marker.evaluate(environment)}
        for environment in (linux, mac)
    ]
    assert chosen == [{"tensorflow-cpu"}, {"tensorflow"}]
