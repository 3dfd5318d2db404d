from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import shutil
import socket
import sys
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import FastAPI, Request, Response
from typer.testing import CliRunner

from components.common import tracking_store
from components.common.candidate import Candidate
from components.common.errors import PawflowError
from components.common.recipe import Recipe, parse_recipe
from components.train import checkpoints
from components.train.checkpoints import require_place
from components.train.weights import PUBLISHED
from pipeline import doctor
from pipeline.__main__ import app
from pipeline.doctor import Finding, Target, examine
from tests.components.download.http_server import serving
from tests.processes import running_server
from tests.serving.http import serve_app


def find(findings: Iterator[Finding], subject: str) -> list[Finding]:
    return [finding for finding in findings if finding.subject == subject]


def test_a_sound_machine_has_no_failures(recipe: Recipe) -> None:
    findings = list(examine(recipe, "local"))
    assert not [finding for finding in findings if finding.level == "failed"]
    assert {"Python", "packages", "disk", "memory", "processor", "MLflow", "checkpoints"} <= {finding.subject for finding in findings}


@pytest.mark.parametrize(
    ("files", "layout", "level", "text"),
    [
        (("cat/1.jpg", "cat/2.jpg", "dog/1.jpg"), "class_folders", "ok", "photos holds 3 files of 2 classes"),
        (("cat/1.jpg",), "class_folders", "failed", "holds 1 files of 1 classes; expected images of at least 2 classes"),
        (("1.jpg",), "class_folders", "failed", "expected a folder for each class, .* or a table labels.csv"),
        ((), "class_folders", "failed", "expected a folder for each class"),
        (("1.jpg",), "csv", "failed", "expected one CSV file"),
    ],
)
def test_a_folder_is_asked_what_fuse_will_find_in_it(files: tuple[str, ...], layout: str, level: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in files:
        (tmp_path / "photos" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "photos" / name).touch()
    recipe = parse_recipe(f"""
name: own
model: own
sources: {{archives: [{{name: photos, provider: folder, layout: {layout}, path: {tmp_path / "photos"}}}]}}
candidates: [{{name: cnn, architecture: simple_cnn, mode: scratch}}]
""")
    (finding,) = find(examine(recipe, "local"), "source photos")
    assert finding.level == level
    assert re.search(text, finding.text), finding.text


def test_a_wrong_package_and_a_full_disk_are_named(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["numpy<1", "no-such-package", "keras; python_version < '3'"])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 30))
    findings = {finding.subject: finding for finding in examine(recipe, "local")}
    assert findings["packages"].level == findings["disk"].level == "failed"
    assert "expected <1; no-such-package is missing: run `make -B setup`" in findings["packages"].text
    assert "1 GiB free" in findings["disk"].text
    assert "PAWFLOW_HOME" in findings["disk"].text


def test_a_gpu_that_tensorflow_cannot_use_is_a_warning(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"tensorflow-cpu": "2.21.0"}
    monkeypatch.setattr(doctor, "_list_gpus", lambda: ["NVIDIA H100"])
    monkeypatch.setattr(doctor, "_version", versions.get)
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["tensorflow-cpu>=2.21,<2.22"])
    (finding,) = find(examine(recipe, "local"), "GPU")
    assert finding.level == "warning"
    assert "`make gpu`" in finding.text
    versions.clear()
    versions["tensorflow"] = "2.21.0"
    findings = {finding.subject: finding for finding in examine(recipe, "local")}
    assert "GPU" not in findings
    assert findings["packages"].level == "ok"


def test_a_taken_port_is_a_warning(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(doctor, "_PORTS", {port: "make ui"})
        assert find(examine(recipe, "local"), f"port {port}") == [Finding(f"port {port}", "warning", "taken; `make ui` needs another one")]


def test_one_place_of_a_source_is_enough() -> None:
    with serving() as server:
        server.files["/photos.zip"] = b"photos"
        text = """
name: two
sources:
  archives:
    - {{name: photos, provider: http, layout: class_folders, url: "{url}", sha256: "{digest}", fallbacks: [{fallback}]}}
"""
        fallback = f'{{provider: http, url: "{server.url}/photos.zip", sha256: "{"0" * 64}"}}'
        there = parse_recipe(text.format(url=f"{server.url}/gone.zip", digest="0" * 64, fallback=fallback))
        assert [finding.level for finding in find(examine(there, "local"), "source photos")] == ["warning", "ok"]
        gone = parse_recipe(text.format(url=f"{server.url}/gone.zip", digest="0" * 64, fallback=""))
        (finding,) = find(examine(gone, "local"), "source photos")
        assert finding.level == "failed"
        assert "404" in finding.text


def test_what_candidates_and_decisions_need_is_asked_too(recipe: Recipe, deserted_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", "/nonexistent")
    monkeypatch.setitem(PUBLISHED, "inception_v3", replace(PUBLISHED["inception_v3"], url=f"{deserted_address}/weights.h5"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    candidates = (
        Candidate(name="pretrained", architecture="inception_v3_mixed7", mode="frozen"),
        Candidate(name="other", architecture="simple_cnn", mode="scratch", backend="torch"),
        Candidate(name="plain", architecture="simple_cnn", mode="scratch"),
    )
    sources = recipe.sources.model_copy(update={"previous": Path("/nonexistent")})
    changed = recipe.model_copy(update={"candidates": candidates, "sources": sources, "decisions": Path("/nonexistent.yaml")})
    findings = {finding.subject: finding for finding in examine(changed, "local")}
    assert "set PAWFLOW_WEIGHTS to that" in findings["candidate pretrained"].text
    assert "`make torch`" in findings["candidate other"].text
    assert "there is no such file" in findings["decisions"].text
    assert "/nonexistent" in findings["earlier dataset"].text
    asked = ("candidate pretrained", "candidate other", "decisions", "earlier dataset")
    assert {findings[subject].level for subject in asked} == {"failed"}
    assert "candidate plain" not in findings

    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent.sock")
    expectations: dict[Target, set[str]] = {"docker": {"candidate pretrained"}, "cluster": set()}
    for target, expected in expectations.items():
        # Containers of this machine share its weights and its network, not its packages.
        named = {finding.subject for finding in examine(changed, target) if finding.subject.startswith("candidate ")}
        assert named == expected, target


def test_checkpoints_must_be_writable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(checkpoints.LOCATION, str(tmp_path / "file"))
    with pytest.raises(PawflowError, match="cannot be written, read and cleared.*PAWFLOW_CHECKPOINTS"):
        require_place()
    monkeypatch.setenv(checkpoints.LOCATION, str(tmp_path / "folder"))
    assert require_place() == str(tmp_path / "folder")
    assert not list((tmp_path / "folder").rglob("*.npz"))


def test_without_an_engine_docker_is_refused(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    (finding,) = find(examine(recipe, "docker"), "container engine")
    assert finding.level == "failed"
    assert "run without --runner docker" in finding.text


def test_the_command_fails_with_the_remedy_as_json() -> None:
    result = CliRunner().invoke(app, ["doctor", "--runner", "cluster", "--json"])
    assert result.exit_code == 2
    findings = {found["subject"]: found for found in map(json.loads, result.stdout.splitlines())}
    assert findings["Kubeflow Pipelines"]["level"] == "failed"
    assert findings["MLflow"]["level"] == "ok"
    assert "disk" not in findings, "that of this machine does not matter there"


@pytest.mark.parametrize(
    ("settings", "credentials"),
    [
        ({"USERNAME": "ann", "PASSWORD": "not-a-secret"}, f"Basic {b64encode(b'ann:not-a-secret').decode()}"),
        ({"TOKEN": "not-a-secret"}, "Bearer not-a-secret"),
    ],
    ids=["password", "token"],
)
def test_an_mlflow_server_that_does_not_accept_who_asks_says_what_to_set(
    settings: dict[str, str], credentials: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search(request: Request) -> Response:
        return Response(status_code=200 if request.headers.get("authorization") == credentials else 401)

    guarded = FastAPI()
    guarded.add_api_route("/api/2.0/mlflow/experiments/search", search)
    with serve_app(guarded) as client:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", client.address)
        for name in settings:
            monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "wrong")
        with pytest.raises(PawflowError, match=r"refuses \(status 401\): set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or"):
            tracking_store.require_server()
        for name, value in settings.items():
            monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
        assert tracking_store.require_server() == client.address


def test_an_mlflow_server_that_does_not_know_its_name_is_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mlflow", "server", "--port", "0", "--workers", "1", "--allowed-hosts", "mlflow.example"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--no-serve-artifacts"]
    with running_server(command, tmp_path / "log") as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
        with pytest.raises(PawflowError, match=rf"refuses \(status 403\).*--allowed-hosts {server.address.removeprefix('http://')}"):
            tracking_store.require_server()
