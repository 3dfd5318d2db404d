"""What must hold of every manifest, read as YAML: nothing here needs a cluster, an engine or kubectl."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.stack.credentials import NAMES

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "infra" / "kubernetes"
COMPOSE = yaml.safe_load((ROOT / "infra" / "compose" / "compose.yaml").read_text())
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
FILES = sorted(KUBERNETES.rglob("*.yaml"))
MANIFESTS = [(path, item) for path in FILES if path.name != "kustomization.yaml" for item in yaml.safe_load_all(path.read_text())]


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in MANIFESTS:
        name = f"{path.relative_to(KUBERNETES)}:{item['kind']}/{item['metadata']['name']}"
        if item["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield name, item["spec"]["template"]["spec"]
        elif item["kind"] == "InferenceService":
            yield name, item["spec"]["predictor"]


PODS = dict(pods())
#: Name -> keys of the secrets that README of infra says how to make.
SECRETS = {"pawflow-credentials": NAMES, "pawflow-webhook": ("SECRET", "ENCRYPTION_KEY")}
CONTAINERS = {
    f"{name}:{container['name']}": container
    for name, pod in PODS.items()
    for container in (*pod["containers"], *pod.get("initContainers", ()))
}


def test_there_are_pods() -> None:
    assert len(PODS) == 9


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_no_rights(name: str) -> None:
    pod = PODS[name]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] != "default"


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_is_bounded(name: str) -> None:
    container = CONTAINERS[name]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    for kind in ("requests", "limits"):
        assert {"cpu", "memory"} <= set(container["resources"][kind])
    assert {"name": "scratch", "mountPath": "/tmp"} in container["volumeMounts"]
    _, _, tag = container["image"].rpartition(":")
    assert tag not in ("", "latest")
    if "pawflow/" in container["image"]:
        assert tag == VERSION


@pytest.mark.parametrize("name", [name for name in CONTAINERS if not re.search(r"Job/|:bucket$", name)])
def test_what_serves_has_all_probes(name: str) -> None:
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(CONTAINERS[name])


@pytest.mark.parametrize("name", CONTAINERS)
def test_secrets_are_references_to_what_is_generated(name: str) -> None:
    for variable in CONTAINERS[name].get("env", ()):
        if re.search("PASSWORD|SECRET|API_KEY|ACCESS_KEY", variable["name"]):
            reference = variable["valueFrom"]["secretKeyRef"]
            assert reference["key"] in SECRETS[reference["name"]]


def test_no_file_holds_a_secret() -> None:
    assert not [path for path, item in MANIFESTS if item["kind"] == "Secret"]
    for path in (ROOT / "infra").rglob("*"):
        if path.suffix in (".yaml", ".ini", ".sh", "") and path.is_file() and path.name != ".env":
            # A name in capitals is that of a variable.
            assert not re.search(r"(?i:password|secret_key)\s*[:=]\s*[\"']?(?![A-Z_]+\b)[A-Za-z0-9]{6,}", path.read_text()), path


@pytest.mark.parametrize("path", sorted(KUBERNETES.rglob("kustomization.yaml")), ids=lambda path: str(path.parent.name))
def test_a_kustomization_names_every_file_beside_it(path: Path) -> None:
    listed = {resource for resource in yaml.safe_load(path.read_text())["resources"] if resource.endswith(".yaml")}
    assert listed == {file.name for file in path.parent.glob("*.yaml")} - {"kustomization.yaml"}


@pytest.mark.parametrize("kind", ["PodDisruptionBudget", "Service", "HorizontalPodAutoscaler"])
def test_what_serves_is_scaled_protected_and_found(kind: str) -> None:
    found = {item["metadata"]["name"] for path, item in MANIFESTS if item["kind"] == kind and path.parent.name == "base"}
    assert {"endpoint", "gateway"} <= found


def test_every_service_finds_pods() -> None:
    labels = {
        item["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]
        for _, item in MANIFESTS
        if item["kind"] in ("Deployment", "StatefulSet")
    }
    for _, item in MANIFESTS:
        if item["kind"] == "Service":
            assert item["spec"]["selector"]["app.kubernetes.io/name"] in labels


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_of_compose_is_bounded_and_checked(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    check = service["healthcheck"]
    # By the name that the others use, because MLflow tells those whom it refuses that it is healthy.
    assert check == {"disable": True} or re.search(rf"(//|--host=){name}\b", " ".join(check["test"]))
    for port in service.get("ports", ()):
        assert port.startswith("${BIND:-127.0.0.1}:")


def test_compose_takes_its_passwords_from_what_is_generated() -> None:
    text = (ROOT / "infra" / "compose" / "compose.yaml").read_text()
    required = set(re.findall(r"\$\{([A-Z0-9_]+):?\?run make compose-secrets\}", text))
    assert required == set(NAMES)
