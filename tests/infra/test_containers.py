"""The images, with a real engine: who they run as, single steps by hand, the whole pipeline, and tasks that fail."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
import requests
import yaml
from PIL import Image

from components.common.kubeflow import IMAGES
from pipeline.containers import engine, run_container

pytestmark = pytest.mark.containers

ROOT = Path(__file__).parents[2]
NEEDED = ("data", "train", "serve", "tracking")
IMAGE = {name: f"pawflow/python-{name}:0.1.0" for name in (*NEEDED, "train-gpu")}
LIMITS = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    with engine() as opened:
        missing = {IMAGE[name] for name in NEEDED} - find_tags(opened)
        assert not missing, f"build {missing} first, with `make images`"
        yield opened


def find_tags(client: docker.DockerClient) -> set[str]:
    return {tag for image in client.images.list() for tag in image.tags}


def skip_unless_built(client: docker.DockerClient, name: str) -> None:
    if name not in NEEDED and IMAGE[name] not in find_tags(client):
        pytest.skip(f"`make images` builds {name} only when it is asked to")


def run_in(image: str, *command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    user = f"{os.getuid()}:{os.getgid()}" if os.getuid() else "10001:10001"
    arguments = ["docker", "run", "--rm", "--network", "host", "--user", user, *LIMITS, *options, IMAGE[image], *command]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("name", sorted(IMAGE))
def test_an_image_says_what_it_is_and_does_not_run_as_root(client: docker.DockerClient, name: str) -> None:
    skip_unless_built(client, name)
    about = client.images.get(IMAGE[name]).attrs["Config"]
    assert about["User"] == "10001:10001"
    assert {"org.opencontainers.image.version", "org.opencontainers.image.revision"} <= set(about["Labels"])
    assert not [entry for entry in about["Env"] if "password" in entry.lower() or "token" in entry.lower()]


def test_only_training_has_tensorflow(client: docker.DockerClient) -> None:
    look = "import importlib.util as u; print([name for name in ('tensorflow', 'mlflow', 'components', 'serving') if u.find_spec(name)])"
    found = {name: run_in(name, "python", "-c", look).stdout.strip() for name in ("data", "train", "serve")}
    assert found == {
        "data": "['mlflow', 'components', 'serving']",
        "train": "['tensorflow', 'mlflow', 'components', 'serving']",
        "serve": "['mlflow', 'serving']",
    }


def test_the_image_for_gpus_says_that_there_is_none(client: docker.DockerClient) -> None:
    skip_unless_built(client, "train-gpu")
    manifests = yaml.safe_load_all((ROOT / "infra" / "kubernetes" / "overlays" / "gpu" / "gpu.yaml").read_text())
    (job,) = [manifest["spec"]["template"]["spec"]["containers"][0] for manifest in manifests if manifest["kind"] == "Job"]
    look = "import tensorflow as tf; print(tf.test.is_built_with_cuda())"
    assert run_in("train-gpu", "python", "-c", look).stdout.strip() == "True"
    checked = run_in("train-gpu", *job["command"], *job["args"])
    assert checked.returncode == 1
    assert "TensorFlow finds no GPU" in checked.stderr


def test_steps_run_by_hand_with_a_read_only_root(client: docker.DockerClient, tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o777)
    folder = (
        "--volume",
        f"{tmp_path}:/data",
        "--env",
        "PAWFLOW_HOME=/data/cache",
        "--env",
        "MLFLOW_TRACKING_URI=sqlite:////data/mlflow.db",
    )
    workdir = (*folder, "--workdir", "/data")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text((ROOT / "pipeline" / "recipes" / "sample.yaml").read_text().replace("num_images: 600", "num_images: 120"))
    names = ("dogs-vs-cats", "dog-breed-identification")
    for name in names:
        step = ["python", "-m", "components.download", "--recipe", "/data/recipe.yaml", "--source", name, "--out", f"/data/raw/{name}"]
        fetched = run_in("data", *step, options=workdir)
        assert fetched.returncode == 0, fetched.stdout + fetched.stderr
    step = ["python", "-m", "components.fuse", "--recipe", "/data/recipe.yaml", "--raw", "/data/raw", "--out", "/data/dataset"]
    fused = run_in("data", *step, options=workdir)
    assert fused.returncode == 0, fused.stdout + fused.stderr
    assert json.loads((tmp_path / "dataset" / "report.json").read_text())
    assert sqlite3.connect(tmp_path / "mlflow.db").execute("select count(*) from runs").fetchone() == (3,)


def test_a_task_that_fails_at_once_is_never_taken_for_a_success(client: docker.DockerClient) -> None:
    codes = [run_container(client, IMAGES["data"], ["false"], {}) for _ in range(10)]
    assert codes == [1] * 10


def test_the_whole_pipeline_runs_in_containers(client: docker.DockerClient, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline", "run", "--recipe", "sample", "--smoke", "--runner", "docker"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "PAWFLOW"))}
    done = subprocess.run(command, cwd=tmp_path, env=inherited, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Verdict: promoted" in done.stdout
    (alias,) = sqlite3.connect(tmp_path / "mlflow.db").execute("select name, alias, version from registered_model_aliases").fetchall()
    assert alias == ("sample-smoke", "champion", 1)
    assert {path.stat().st_uid for path in tmp_path.rglob("*")} == {os.getuid()}
    assert not client.containers.list(all=True, filters={"label": "pawflow.run"})

    # What the run has registered answers from the serving image, which has no write access to anything.
    (model,) = (path.parent for path in (tmp_path / "mlruns").rglob("model/model.onnx"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = client.containers.run(
        IMAGE["serve"], ["python", "-m", "serving.gateway", "--model-dir", "/model", "--port", str(port)],
        detach=True, network_mode="host", read_only=True, tmpfs={"/tmp": ""}, mem_limit="512m", cap_drop=["ALL"],
        volumes={str(model): {"bind": "/model", "mode": "ro"}},
    )  # fmt: skip
    try:
        for _ in range(120):
            try:
                if requests.get(f"http://127.0.0.1:{port}/readyz", timeout=2).status_code == 200:
                    break
            except requests.ConnectionError:
                time.sleep(0.5)
        Image.new("RGB", (64, 48), (200, 120, 40)).save(tmp_path / "photo.jpg")
        answer = requests.post(f"http://127.0.0.1:{port}/predict", files={"image": (tmp_path / "photo.jpg").read_bytes()}, timeout=30)
        assert answer.status_code == 200, answer.text
        assert answer.json()["predictions"][0]["label"] in ("cat", "dog")
    finally:
        served.remove(force=True)
