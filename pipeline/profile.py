"""How a cluster runs the pipeline: images, sizes, places, secrets, retries; all of it in one file, such as `infra/kubeflow/profile.yaml`.

In: a YAML file. Out: a `Profile`, which `pipeline.training` applies to each task while the pipeline is compiled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from kfp import dsl, kubernetes
from pydantic import Field, ValidationError

from components.common.candidate import Strict
from components.common.errors import PawflowError
from components.common.validation import describe_validation_error
from components.common.yaml_text import parse_mapping, read_file

#: The tasks of the pipeline, by the names of their folders under `components`.
StepName = Literal["start", "download", "fuse", "augment", "train", "evaluate", "register", "promote", "finish"]

_SHARED_MEMORY, _HOME = "/dev/shm", "/var/lib/pawflow"  # noqa: S108 (inside the pod)
_DURATION = r"^[1-9]\d*[smh]$"
#: Quantities, as kfp takes them.
_CPU, _MEMORY = r"^([0-9]*[.])?[0-9]+m?$", r"^[0-9]+([EPTGMK]i?)?$"


class Toleration(Strict):
    """A taint of nodes that a step puts up with."""

    key: str = Field(description="of the taint")
    operator: Literal["Equal", "Exists"] = Field(default="Exists", description="whether its value matters")
    value: str | None = Field(default=None, description="of the taint, for `Equal`")
    effect: Literal["NoExecute", "NoSchedule", "PreferNoSchedule"] | None = Field(default=None, description="of the taint; by default all")


class Gpu(Strict):
    """Accelerators of a step."""

    resource: str = Field(default="nvidia.com/gpu", description="what the cluster calls them")
    count: int = Field(default=1, ge=1, description="how many")


class Retry(Strict):
    """What happens after a failure. A step that is started again finds finished work in the cache, and training its checkpoint."""

    count: int = Field(default=2, ge=0, description="how often it is tried again")
    first_wait: str = Field(default="30s", pattern=_DURATION, description="before the first time")
    factor: float = Field(default=2.0, ge=1, description="each wait is so many times the one before")
    longest_wait: str = Field(default="10m", pattern=_DURATION, description="no wait is longer")


class Step(Strict):
    """One step, or what holds for all that do not say otherwise. What is left out is the cluster's default."""

    image: str | None = Field(default=None, description="of the container; by default the project's own for the step")
    cpu: str | None = Field(default=None, pattern=_CPU, description="cores asked for, such as 2 or 500m")
    cpu_limit: str | None = Field(default=None, pattern=_CPU, description="most cores")
    memory: str | None = Field(default=None, pattern=_MEMORY, description="asked for, such as 4Gi")
    memory_limit: str | None = Field(default=None, pattern=_MEMORY, description="most memory; a step that takes more is killed")
    gpu: Gpu | None = Field(default=None, description="accelerators; `{}` is one from NVIDIA")
    shared_memory: str | None = Field(
        default=None, pattern=_MEMORY, description="size of /dev/shm, which several GPUs talk through; a container has 64 MB"
    )
    node_selector: dict[str, str] | None = Field(default=None, description="labels that its node must have")
    tolerations: list[Toleration] | None = Field(default=None, description="taints that it puts up with")
    timeout_seconds: int | None = Field(default=None, ge=1, description="after which it is ended")
    retry: Retry | None = Field(default=None, description="what happens after a failure")


class Profile(Strict):
    """A cluster, as the pipeline uses it."""

    host: str | None = Field(default=None, description="address of the KFP API; by default what kfp finds, such as KF_PIPELINES_ENDPOINT")
    namespace: str | None = Field(default=None, description="of a multi-user installation")
    experiment: str = Field(default="pawflow", description="of Kubeflow, that runs are listed under")
    pipeline_root: str | None = Field(default=None, description="where artifacts lie, such as s3://bucket/runs")
    service_account: str | None = Field(default=None, description="that tasks run as")
    cache_volume: str | None = Field(default=None, description="persistent volume claim (ReadWriteMany) for pawflow's own cache")
    cache: bool = Field(default=False, description="whether KFP's cache is on too; it hardly ever hits, because every task is told its run")
    env: dict[str, str] = Field(default_factory=dict, description="for every task")
    secrets: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="for every task: name of a Kubernetes secret -> its key -> environment variable"
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(default=None, description="of the tasks' images")
    image_pull_secrets: list[str] = Field(default_factory=list, description="names of secrets for a private registry of images")
    defaults: Step = Field(default=Step(), description="what holds for every step")
    steps: dict[StepName, Step] = Field(default_factory=dict, description="what holds for one, by its name, before `defaults`")

    def step(self, name: StepName) -> Step:
        """What holds for a step: its own fields, and the defaults for the others."""
        own = self.steps.get(name, Step())
        return self.defaults.model_copy(update={field: getattr(own, field) for field in own.model_fields_set})

    def apply(self, name: StepName, task: dsl.PipelineTask) -> dsl.PipelineTask:
        """Set all of it on a task of the pipeline that is being compiled."""
        step = self.step(name)
        for value, setter in (
            (step.image, task.set_container_image),
            (step.cpu, task.set_cpu_request),
            (step.cpu_limit, task.set_cpu_limit),
            (step.memory, task.set_memory_request),
            (step.memory_limit, task.set_memory_limit),
        ):
            if value is not None:
                setter(value)
        if step.gpu:
            task.set_accelerator_type(step.gpu.resource).set_accelerator_limit(step.gpu.count)
        if step.shared_memory:
            kubernetes.empty_dir_mount(task, "shared-memory", _SHARED_MEMORY, medium="Memory", size_limit=step.shared_memory)
        for label, value in (step.node_selector or {}).items():
            kubernetes.add_node_selector(task, label, value)
        for toleration in step.tolerations or []:
            kubernetes.add_toleration(task, **toleration.model_dump())
        if step.timeout_seconds:
            kubernetes.set_timeout(task, step.timeout_seconds)
        if step.retry and step.retry.count:
            task.set_retry(step.retry.count, step.retry.first_wait, step.retry.factor, step.retry.longest_wait)
        if self.cache_volume:
            kubernetes.mount_pvc(task, self.cache_volume, _HOME)
            task.set_env_variable("PAWFLOW_HOME", _HOME)
        for variable, text in self.env.items():
            task.set_env_variable(variable, text)
        for secret, variables in self.secrets.items():
            kubernetes.use_secret_as_env(task, secret, variables)
        if self.image_pull_policy:
            kubernetes.set_image_pull_policy(task, self.image_pull_policy)
        if self.image_pull_secrets:
            kubernetes.set_image_pull_secrets(task, self.image_pull_secrets)
        return task


def read_profile(path: Path) -> Profile:
    """Read a profile.

    Raises:
        PawflowError: There is no such file, it is not YAML, or it has a field that no profile has, or of a wrong type.
    """
    try:
        text = read_file(path)
    except OSError as error:
        raise PawflowError(f"there is no profile {path} ({error.strerror}); infra/kubeflow/profile.yaml is one to copy") from error
    content = parse_mapping(text, origin=f"profile {path}", example="namespace: pets")
    try:
        return Profile.model_validate(content)
    except ValidationError as error:
        wrong = describe_validation_error(error, Profile, "the profile")
        raise PawflowError(f"profile {path} does not fit its format:\n{wrong}") from error
