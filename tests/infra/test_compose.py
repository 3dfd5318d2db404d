"""The team server in containers: who may ask it what, a whole run into it, and what is left after a kill and after a restore."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from tests.infra.composed import Composed, run_docker

pytestmark = pytest.mark.compose

CHECK = ("exec", "--no-TTY", "mlflow", "python", "/opt/healthy.py")
EXPERIMENT = "/api/2.0/mlflow/experiments/get?experiment_id=0"


def test_strangers_are_refused(composed: Composed) -> None:
    composed.check_refusals()
    written = composed.log()
    assert "mlflow-1" in written
    assert not [name for name, value in composed.passwords.items() if value in written]


def test_every_service_is_healthy_and_mlflow_by_the_name_that_clients_use(composed: Composed) -> None:
    for service in ("postgres", "s3", "mlflow", "gateway"):
        state = json.loads(run_docker("inspect", composed.container(service)))[0]["State"]
        assert state["Health"]["Status"] == "healthy"
    composed.compose(*CHECK, f"http://mlflow:5000{EXPERIMENT}")
    # `/health` says the same to a name that MLflow refuses, so a check of it would see nothing.
    composed.compose(*CHECK, "http://127.0.0.1:5000/health")
    assert "403" in composed.compose(*CHECK, f"http://127.0.0.1:5000{EXPERIMENT}", check=False).stderr


@pytest.mark.parametrize("address", [("postgres", 5432), ("s3", 8333)])
def test_mlflow_alone_reaches_the_database_and_the_store(composed: Composed, address: tuple[str, int]) -> None:
    connect = ("python", "-c", f"import socket; socket.create_connection({address}, 5)")
    composed.compose("exec", "--no-TTY", "mlflow", *connect)
    assert "gaierror" in composed.compose("exec", "--no-TTY", "gateway", *connect, check=False).stderr


def test_a_run_into_it_survives_a_kill_and_the_loss_of_all_volumes(champion: Composed, tmp_path: Path) -> None:
    photo = champion.folder / "photo.jpg"
    before = champion.ask(photo)
    assert before["model_version"] == "1"
    champion.check_endpoint(photo, before)
    page = requests.get(champion.address("gateway"), timeout=30)
    assert page.status_code == 200
    assert 'type="file"' in page.text
    kept = champion.take_inventory(tmp_path / "before")
    assert kept["aliases"] == {"champion": "1"}

    champion.kill()
    with pytest.raises(requests.ConnectionError):
        requests.get(champion.address("mlflow"), timeout=5)
    champion.compose("--profile", "endpoint", "up", "--wait")
    assert champion.take_inventory(tmp_path / "killed") == kept
    assert champion.ask(photo) == before
    champion.check_endpoint(photo, before)

    champion.follow_readme("^mkdir -p backup", "pg_dump", "prepare.py save")
    champion.down()
    champion.up()
    with champion.client() as client:
        assert not client.search_model_versions()
    champion.follow_readme("pg_restore", "prepare.py restore", "restart mlflow")
    champion.compose("up", "--wait")
    champion.start_endpoint()
    assert champion.take_inventory(tmp_path / "restored") == kept
    assert champion.ask(photo) == before
    champion.check_endpoint(photo, before)
