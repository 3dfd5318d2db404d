from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.common.errors import PawflowError
from pipeline.cluster import compile_pipeline
from pipeline.profile import Profile, Retry, Step, read_profile

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "infra" / "kubeflow" / "profile.yaml"
GOLDEN = Path(__file__).parent / "golden" / "pawflow-training.yaml"


def test_the_compiled_pipeline_is_the_one_that_was_read_line_by_line(tmp_path: Path) -> None:
    """After a change that is meant: `python -m pipeline compile --profile infra/kubeflow/profile.yaml --output` the golden file."""
    compile_pipeline(tmp_path / "out.yaml", read_profile(SHIPPED))
    assert (tmp_path / "out.yaml").read_text() == GOLDEN.read_text()


def test_a_step_inherits_what_it_does_not_say() -> None:
    profile = Profile(defaults=Step(cpu="1", memory="1Gi", retry=Retry(count=3)), steps={"train": Step(cpu="4", retry=None)})
    assert profile.step("fuse") == profile.defaults
    assert profile.step("train") == Step(cpu="4", memory="1Gi", retry=None)


def test_every_field_reaches_its_task(tmp_path: Path) -> None:
    file = tmp_path / "profile.yaml"
    file.write_text("""
cache_volume: cache
env: {MLFLOW_TRACKING_URI: http://mlflow}
secrets: {keys: {id: AWS_ACCESS_KEY_ID}}
image_pull_policy: IfNotPresent
image_pull_secrets: [registry]
steps:
  train:
    image: mine/python-train:1
    cpu: "2"
    cpu_limit: "3"
    memory: 4Gi
    memory_limit: 5Gi
    gpu: {count: 2}
    shared_memory: 1Gi
    node_selector: {pool: gpu}
    tolerations: [{key: nvidia.com/gpu, effect: NoSchedule}]
    timeout_seconds: 77
    retry: {count: 4, first_wait: 5s, factor: 3, longest_wait: 2m}
""")
    compile_pipeline(tmp_path / "out.yaml", read_profile(file))
    spec, platform = yaml.safe_load_all((tmp_path / "out.yaml").read_text())
    executors, pods = spec["deploymentSpec"]["executors"], platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    container, pod = executors["exec-train"]["container"], pods["exec-train"]
    assert container["image"] == "mine/python-train:1"
    assert {name: container["resources"][name] for name in ("resourceCpuRequest", "resourceCpuLimit", "resourceMemoryLimit")} == {
        "resourceCpuRequest": "2",
        "resourceCpuLimit": "3",
        "resourceMemoryLimit": "5Gi",
    }
    assert container["resources"]["accelerator"] == {
        "count": "2",
        "type": "nvidia.com/gpu",
        "resourceCount": "2",
        "resourceType": "nvidia.com/gpu",
    }
    assert {"name": "PAWFLOW_HOME", "value": "/var/lib/pawflow"} in container["env"]
    assert pod["emptyDirMounts"][0]["mountPath"] == "/dev/shm"
    assert pod["nodeSelector"] == {"labels": {"pool": "gpu"}}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["activeDeadlineSeconds"] == "77"
    fused = pods["exec-fuse"]
    assert fused["secretAsEnv"][0]["keyToEnv"][0]["envVar"] == "AWS_ACCESS_KEY_ID"
    assert fused["imagePullPolicy"] == "IfNotPresent"
    assert "tolerations" not in fused
    retried = [task["retryPolicy"] for task in _list_tasks(spec) if task["taskInfo"]["name"] == "train"]
    assert retried == [{"backoffDuration": "5s", "backoffFactor": 3.0, "backoffMaxDuration": "120s", "maxRetryCount": 4}]


def _list_tasks(spec: dict[str, Any]) -> list[dict[str, Any]]:
    bodies = [spec["root"], *spec["components"].values()]
    return [task for body in bodies for task in body.get("dag", {}).get("tasks", {}).values()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid YAML"),
        ("# nothing yet", "holds nothing, expected fields such as"),
        ("steps: {trian: {cpu: '1'}}", "steps.trian"),
        ("steps: {train: {cpus: '1'}}", "steps.train.cpus: unknown field; did you mean 'cpu'"),
        ("defaults: {retry: {first_wait: soon}}", "first_wait"),
        ("defaults: {tolerations: [{ky: a}]}", "defaults.tolerations.0.ky: unknown field; did you mean 'key'"),
        ("defaults: {cpu: 2}", r"defaults.cpu: Input should be a valid string \(got 2\)"),
        ("defaults: {cpu: two}", r"defaults.cpu: String should match pattern .* \(got 'two'\)"),
        ("steps: {train: {memory: 4GB}}", r"steps.train.memory: String should match pattern .* \(got '4GB'\)"),
    ],
)
def test_a_wrong_profile_says_where(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "profile.yaml"
    file.write_text(text)
    with pytest.raises(PawflowError, match=message):
        read_profile(file)


def test_a_missing_profile_names_one_to_copy(tmp_path: Path) -> None:
    with pytest.raises(PawflowError, match="infra/kubeflow/profile.yaml is one to copy"):
        read_profile(tmp_path / "none.yaml")
