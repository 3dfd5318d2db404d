"""The machine of 512 MB: what can be told of it without one, and its containers with a champion of the team server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.infra.composed import Composed, Project, run_docker
from tests.infra.team_server import find_first_port
from tests.load.hostile import draw

COMPOSE = Path(__file__).parents[2] / "infra" / "compose"
SERVICES = yaml.safe_load((COMPOSE / "small.yaml").read_text())["services"]


def test_all_of_it_fits() -> None:
    assert sum(int(service["mem_limit"].removesuffix("m")) for service in SERVICES.values()) <= 512


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_can_do_more_than_it_must(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "ports" not in service or name == "proxy"


@pytest.mark.skipif(shutil.which("caddy") is None, reason="no Caddy on this machine")
def test_the_proxy_passes_photos_on_and_keeps_metrics_in() -> None:
    command = ["caddy", "adapt", "--adapter", "caddyfile", "--config", str(COMPOSE / "Caddyfile")]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(text)["admin"]["disabled"]
    assert '"dial":"gateway:5002"' in text
    assert '"path":["/metrics","/drift","/monitor","/readyz"]' in text


@dataclass(frozen=True)
class Machine:
    """The containers of `small.yaml`.

    Attributes:
        project: Its Compose project.
        key: What callers of the gateway must present.
        page: Address with TLS.
        plain: Address without.
        authority: Caddy's own certificate, by which `page` is checked.
    """

    project: Project
    key: str
    page: str
    plain: str
    authority: Path

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        return requests.request(method, f"{self.page}{path}", verify=str(self.authority), timeout=120, **options)

    def refuses(self, num_bytes: int, headers: dict[str, str]) -> bool:
        """Whether so large a request is answered with 413, or ended before its caller is ready to listen."""
        try:
            return self.ask("POST", "/predict", data=bytes(num_bytes), headers=headers).status_code == 413
        except requests.ConnectionError:
            return True


@pytest.fixture(scope="module")
def machine(champion: Composed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("small")
    download = f"mlflow artifacts download -u models:/{champion.model}@champion -d champion".split()
    environment = champion.client_environment()
    subprocess.run([sys.executable, "-m", *download], cwd=folder, env=environment, check=True, capture_output=True, timeout=200)
    port = find_first_port()
    key = champion.passwords["PAWFLOW_API_KEY"]
    ports = {"HTTP_PORT": f"127.0.0.1:{port}", "HTTPS_PORT": f"127.0.0.1:{port + 1}"}
    project = Project(
        "small.yaml",
        "pawflow-small",
        folder,
        {"MODEL_DIR": str(folder / "champion" / "artifacts" / "model"), "PAWFLOW_API_KEY": key, **ports},
    )
    try:
        project.compose("up", "--wait")
        authority = folder / "root.crt"
        for _ in range(60):
            found = project.compose("exec", "--no-TTY", "proxy", "cat", "/data/caddy/pki/authorities/local/root.crt", check=False)
            if found.returncode == 0:
                break
            time.sleep(0.5)
        authority.write_text(found.stdout)
        yield Machine(project, key, f"https://localhost:{port + 1}", f"http://localhost:{port}", authority)
    finally:
        project.down()


@pytest.mark.compose
def test_it_speaks_tls_and_keeps_callers_out_of_what_is_for_machines(machine: Machine) -> None:
    page = machine.ask("GET", "/")
    assert page.status_code == 200
    assert 'type="file"' in page.text
    assert page.headers["Strict-Transport-Security"]
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(machine.page, timeout=30)
    moved = requests.get(machine.plain, allow_redirects=False, timeout=30)
    assert (moved.status_code, moved.headers["Location"]) == (308, "https://localhost/")
    for path in ("/metrics", "/drift", "/monitor", "/readyz"):
        assert machine.ask("GET", path).status_code == 404


@pytest.mark.compose
def test_it_stays_within_its_memory(machine: Machine, champion: Composed) -> None:
    photo, large = (champion.folder / "photo.jpg").read_bytes(), draw(4000, 3000, "PNG")
    key = {"X-API-Key": machine.key}
    assert machine.ask("POST", "/predict", files={"image": photo}).status_code == 401
    assert machine.refuses(30_000_000, key)
    answer = machine.ask("POST", "/predict", files={"image": photo}, headers=key).json()["predictions"][0]
    assert answer["probabilities"] == pytest.approx(champion.ask(champion.folder / "photo.jpg")["probabilities"])
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(machine.ask, "POST", "/predict", files={"image": large}, headers=key) for _ in range(48)]
    statuses = [answer.result().status_code for answer in asked]
    assert set(statuses) <= {200, 503}
    assert 200 in statuses
    for service, about in SERVICES.items():
        found = json.loads(run_docker("inspect", machine.project.container(service)))[0]
        assert found["HostConfig"]["Memory"] == int(about["mem_limit"].removesuffix("m")) * 2**20
        assert (found["State"]["Running"], found["State"]["OOMKilled"], found["RestartCount"]) == (True, False, 0)
