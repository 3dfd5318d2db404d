"""The cluster's pods as containers, beside the database and the store of the team server in Compose.

What kustomize builds is taken as it stands: image (or its stand-in), command, environment, user, read-only root, capabilities, limits, and
the probes, which are asked at the container's address as a kubelet does. What a cluster adds (services, network policies, volumes) is not
tried.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
import yaml
from docker.models.containers import Container

from pipeline.containers import engine
from tests.infra.composed import Composed, choose_images
from tests.infra.team_server import ask_endpoint, ask_gateway

pytestmark = pytest.mark.compose

ROOT = Path(__file__).parents[2]
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


class Pods:
    """Containers of what an overlay says, on a network where MLflow has the names that a cluster gives it."""

    def __init__(self, client: docker.DockerClient, server: Composed) -> None:
        self._client, self._server = client, server
        self._containers: list[Container] = []
        built = [item for overlay in ("overlays/local", "kserve") for item in _build(overlay)]
        self._settings = {item["metadata"]["name"]: item["data"] for item in built if item["kind"] == "ConfigMap"}
        self._items = {f"{item['kind']}/{item['metadata']['name']}": item for item in built}
        self._network = client.networks.create(f"{server.name}-pods")

    def spec(self, name: str) -> dict[str, Any]:
        """Of the pod that a `KIND/NAME` makes."""
        spec = self._items[name]["spec"]
        return dict(spec["predictor"] if "predictor" in spec else spec["template"]["spec"])

    def start(self, name: str, *, init: bool = False, names: tuple[str, ...] = (), with_data: bool = False) -> Container:
        """Start the one container of a pod, or the one before it."""
        pod = self.spec(name)
        (container,) = pod["initContainers" if init else "containers"]
        rights, security, limits = pod["securityContext"], container["securityContext"], container["resources"]["limits"]
        values = self._read_environment(container)
        arguments = {
            kind: [re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], word) for word in container.get(kind, ())] or None
            for kind in ("command", "args")
        }
        started = self._client.containers.create(
            choose_images().get(container["image"], container["image"]),
            entrypoint=arguments["command"], command=arguments["args"], environment=values, detach=True,
            user=f"{rights['runAsUser']}:{rights['runAsGroup']}", group_add=[rights["fsGroup"]],
            read_only=security["readOnlyRootFilesystem"], cap_drop=security["capabilities"]["drop"],
            security_opt=[] if security["allowPrivilegeEscalation"] else ["no-new-privileges"],
            # All volumes are empty, writable by the user of the pod, and count as the memory of the container.
            tmpfs={mount["mountPath"]: f"uid={rights['runAsUser']},gid={rights['fsGroup']}" for mount in container["volumeMounts"]},
            mem_limit=limits["memory"].removesuffix("i"), nano_cpus=int(limits["cpu"]) * 10**9,
            network=self._network.name,
            networking_config={self._network.name: self._client.api.create_endpoint_config(aliases=list(names))},
        )  # fmt: skip
        self._containers.append(started)
        if with_data:
            self._client.networks.get(f"{self._server.name}_data").connect(started)
        started.start()
        return started

    def find_address(self, started: Container) -> str:
        started.reload()
        return str(started.attrs["NetworkSettings"]["Networks"][self._network.name]["IPAddress"])

    def check_probes(self, name: str, started: Container) -> str:
        """Wait for the first probe for as long as a cluster would, then ask all three; return the base address of the port."""
        (container,) = self.spec(name)["containers"]
        address = self.find_address(started)
        startup = container["startupProbe"]
        deadline = time.monotonic() + startup["periodSeconds"] * startup["failureThreshold"]
        while not _ask(started, container, "startupProbe", address):
            started.reload()
            assert started.status == "running", started.logs().decode()
            assert time.monotonic() < deadline, started.logs().decode()
            time.sleep(1)
        assert [probe for probe in PROBES if not _ask(started, container, probe, address)] == []
        return f"http://{address}:{container['ports'][0]['containerPort']}"

    def stop(self, started: Container) -> None:
        """As a kubelet does, by the signal that the image names; what does not hear it is killed in the end, with exit code 137."""
        started.stop(timeout=30)
        started.reload()
        assert started.attrs["State"]["ExitCode"] != 137

    def close(self) -> None:
        for started in self._containers:
            started.remove(force=True)
        self._network.remove()

    def _read_environment(self, container: dict[str, Any]) -> dict[str, str]:
        values: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            values |= self._settings[source["configMapRef"]["name"]]
        for variable in container["env"]:
            secret = variable.get("valueFrom", {}).get("secretKeyRef")
            values[variable["name"]] = self._server.passwords[secret["key"]] if secret else variable["value"]
        return values


def _build(overlay: str) -> Iterator[dict[str, Any]]:
    done = subprocess.run([ROOT / "infra" / "kustomize", overlay], env=os.environ, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return (item for item in yaml.safe_load_all(done.stdout))


def _ask(started: Container, container: dict[str, Any], probe: str, address: str) -> bool:
    """Whether a probe is answered, in its time."""
    if "exec" in container[probe]:
        return bool(started.exec_run(container[probe]["exec"]["command"]).exit_code == 0)
    get = container[probe]["httpGet"]
    port = {port["name"]: port["containerPort"] for port in container["ports"]}.get(get["port"], get["port"])
    try:
        return requests.get(f"http://{address}:{port}{get['path']}", timeout=container[probe]["timeoutSeconds"]).status_code == 200
    except requests.RequestException:
        return False


@pytest.fixture(scope="module")
def pods(champion: Composed) -> Iterator[Pods]:
    with engine() as client:
        started = Pods(client, champion)
        try:
            yield started
        finally:
            started.close()


@pytest.fixture(scope="module")
def tracking(pods: Pods) -> Container:
    """MLflow's pod, which the others ask by its names, after the container that goes before it."""
    bucket = pods.start("Deployment/mlflow", init=True, with_data=True)
    assert bucket.wait(timeout=120)["StatusCode"] == 0, bucket.logs().decode()
    return pods.start("Deployment/mlflow", names=("mlflow", "mlflow.pawflow"), with_data=True)


def test_mlflow_answers_its_probes_and_refuses_strangers(pods: Pods, tracking: Container, champion: Composed) -> None:
    address = pods.check_probes("Deployment/mlflow", tracking)
    search = f"{address}/api/2.0/mlflow/registered-models/search"
    login = ("admin", champion.passwords["MLFLOW_ADMIN_PASSWORD"])
    for host, status in {"mlflow:5000": 200, "mlflow.pawflow.svc.cluster.local:5000": 200, "elsewhere.example": 403}.items():
        assert requests.get(search, auth=login, headers={"Host": host}, timeout=30).status_code == status
    assert requests.get(search, headers={"Host": "mlflow:5000"}, timeout=30).status_code == 401
    reader = pods.start("Job/reader")
    assert reader.wait(timeout=120)["StatusCode"] == 0, reader.logs().decode()


@pytest.mark.parametrize("name", ["StatefulSet/postgres", "StatefulSet/s3"])
def test_the_database_and_the_store_answer_their_probes(pods: Pods, name: str) -> None:
    pods.check_probes(name, pods.start(name))


def test_the_gateway_serves_the_champion(pods: Pods, tracking: Container, champion: Composed) -> None:
    pods.check_probes("Deployment/mlflow", tracking)
    gateway = pods.start("Deployment/gateway")
    address = pods.check_probes("Deployment/gateway", gateway)
    photo = champion.folder / "photo.jpg"
    assert ask_gateway(address, photo, champion.passwords["PAWFLOW_API_KEY"]) == champion.ask(photo)
    pods.stop(gateway)


@pytest.mark.parametrize("name", ["Deployment/endpoint", "InferenceService/dogs-vs-cats"])
def test_the_endpoint_serves_the_champion(pods: Pods, tracking: Container, champion: Composed, name: str) -> None:
    pods.check_probes("Deployment/mlflow", tracking)
    endpoint = pods.start(name)
    address = pods.check_probes(name, endpoint)
    photo = champion.folder / "photo.jpg"
    assert ask_endpoint(address, photo) == pytest.approx(champion.ask(photo)["probabilities"])
    pods.stop(endpoint)
