"""`python -m serving.gateway` as a process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.conftest import write_mean_model
from tests.processes import PATIENCE, command_environment, running_server
from tests.serving.http import Client, draw


def test_it_listens_to_this_machine_alone_and_wants_the_key_of_its_environment(tmp_path: Path) -> None:
    model, log = write_mean_model(tmp_path / "model", 32, 2.0), tmp_path / "log"
    command = [sys.executable, "-m", "serving.gateway", "--model-dir", str(model), "--port", "0"]
    with (
        running_server(command, log, {**command_environment(), "PAWFLOW_API_KEY": "secret"}) as server,
        Client(server.address) as client,
    ):
        sockets = psutil.Process(server.process.pid).net_connections()
        assert {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
        assert client.post("/predict", data=draw(255)).status_code == 401
        assert client.post("/predict", data=draw(255), headers={"X-API-Key": "secret"}).json()["predictions"][0]["label"] == "dog"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["status"] for line in lines if line.get("route") == "/predict"] == [401, 200]


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_what_is_no_port_is_said_in_a_sentence(port: str, tmp_path: Path) -> None:
    model = write_mean_model(tmp_path / "model", 32, 2.0)
    command = [sys.executable, "-m", "serving.gateway", "--model-dir", str(model), "--port", port]
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=command_environment())
    assert result.returncode == 2
    assert f"{port} is no port; expected 0 to 65535" in result.stderr
