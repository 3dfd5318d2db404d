"""What a run will need, asked before it starts: the machine, the packages, and whatever the environment and the recipe point to.

In: a recipe and where its tasks are to run. Out: a finding for each thing, with the remedy where something is amiss. Nothing is changed,
but for a small file that is written and removed where checkpoints are kept.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

import psutil
import requests
from packaging.requirements import Requirement

from components.common import tracking_store
from components.common.archives import open_archive
from components.common.candidate import Candidate
from components.common.errors import PawflowError, state_cause
from components.common.recipe import Recipe
from components.common.store import home
from components.download.sources import Request, cifar10, find_provider, folder, kaggle, petimages
from components.fuse.decisions import read_decisions
from components.fuse.grouping import find_manifest
from components.fuse.layouts import LAYOUTS
from components.train.checkpoints import require_place
from components.train.devices import require_backend
from components.train.models import list_weights
from components.train.weights import MIRROR, locate_weights
from pipeline.profile import Profile
from serving.cores import num_cores

Level: TypeAlias = Literal["ok", "warning", "failed"]
Target: TypeAlias = Literal["local", "docker", "cluster"]

_GIB = 1 << 30
#: Free disk: less is a failure, less is a warning. The environment takes 3 GB by itself, but is there already.
_LEAST_DISK, _ENOUGH_DISK = 2 * _GIB, 10 * _GIB
_ENOUGH_MEMORY = 4 * _GIB
#: TensorFlow's build for CPUs, and the one that `make gpu` puts in its place.
_CPU_BUILD, _GPU_BUILD = "tensorflow-cpu", "tensorflow"
_PORTS = {5000: "make ui", 5001: "make serve", 5002: "make web"}


@dataclass(frozen=True)
class Finding:
    """What was found of one thing.

    Attributes:
        subject: The thing.
        level: Whether a run would fail for it.
        text: What is the case; for what is amiss, with the remedy.
    """

    subject: str
    level: Level
    text: str


def examine(recipe: Recipe, target: Target, profile: Profile | None = None) -> Iterator[Finding]:
    """Yield a finding for each thing that a run of `recipe` needs.

    Args:
        recipe: What is to run.
        target: Where.
        profile: Of the cluster.
    """
    yield from _check_installation()
    if target != "cluster":
        # There, tasks run on other machines.
        yield from _check_machine()
    yield _attempt("MLflow", tracking_store.require_server)
    yield _attempt("checkpoints", require_place)
    if target == "cluster":
        from pipeline.cluster import Cluster

        yield _attempt("Kubeflow Pipelines", lambda: Cluster(profile or Profile()).host)
    if target == "docker":
        from pipeline.containers import require_engine

        yield _attempt("container engine", require_engine)
    alone = len(recipe.sources.archives) == 1
    for source in recipe.sources.archives:
        yield from _check_source(Request(source, recipe.sources.root, recipe.seed), fewest_classes=2 if alone else 1)
    if recipe.decisions:
        yield _attempt("decisions", partial(_count_decisions, recipe.decisions))
    if recipe.sources.previous:
        yield _attempt("earlier dataset", partial(_find_dataset, recipe.sources.previous))
    for candidate in recipe.candidates:
        yield from _check_candidate(candidate, target)


def _count_decisions(path: Path) -> str:
    return f"{len(read_decisions(path)):,} in {path}"


def _find_dataset(folder: Path) -> str:
    return f"{find_manifest(folder)} is its manifest"


def _check_candidate(candidate: Candidate, target: Target) -> Iterator[Finding]:
    """What a candidate needs that is not in every installation; nothing is said of one that needs nothing."""
    subject = f"candidate {candidate.name}"
    # Containers have the packages of their image.
    if candidate.backend == "torch" and target == "local":
        yield _attempt(subject, partial(require_backend, candidate))
    # Tasks of a cluster run on other machines, with another network and another mirror.
    for name in list_weights(candidate) if target != "cluster" else ():
        yield _attempt(subject, partial(_look_for_weights, name))


def _look_for_weights(name: str) -> str:
    place = locate_weights(name)
    return f"weights {name} are here" if place == "here" else _reach(place, f"put the file into a folder and set {MIRROR} to that")


def _attempt(subject: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, "ok", check())
    except PawflowError as error:
        return Finding(subject, "failed", str(error))


def _check_installation() -> Iterator[Finding]:
    yield Finding("Python", "ok", sys.version.split()[0])
    wrong = list(_list_wrong_packages())
    yield Finding("packages", "failed" if wrong else "ok", f"{'; '.join(wrong)}: run `make -B setup`" if wrong else "all as required")


def _check_machine() -> Iterator[Finding]:
    place = home()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    remedy = "" if free >= _ENOUGH_DISK else "; make room, or set PAWFLOW_HOME to a folder on another disk"
    level: Level = "failed" if free < _LEAST_DISK else "warning" if free < _ENOUGH_DISK else "ok"
    yield Finding("disk", level, f"{free / _GIB:.0f} GiB free for {home()}{remedy}")
    memory = psutil.virtual_memory().available
    few = "; training may be killed, so close other programs" if memory < _ENOUGH_MEMORY else ""
    yield Finding("memory", "warning" if few else "ok", f"{memory / _GIB:.0f} GiB free{few}")
    gpus = _list_gpus()
    yield Finding("processor", "ok", f"{num_cores()} cores; {', '.join(gpus) or 'no GPU, so training uses the cores'}")
    if gpus and _version(_CPU_BUILD):
        yield Finding("GPU", "warning", f"not used, since {_CPU_BUILD} is installed; `make gpu` puts TensorFlow with CUDA in its place")
    for port, user in _PORTS.items():
        if _is_taken(port):
            yield Finding(f"port {port}", "warning", f"taken; `{user}` needs another one")


def _list_wrong_packages() -> Iterator[str]:
    for text in importlib.metadata.requires("pawflow") or []:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = _version(requirement.name) or (_version(_GPU_BUILD) if requirement.name == _CPU_BUILD else None)
        if version is None:
            yield f"{requirement.name} is missing"
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} is {version}, expected {requirement.specifier}"


def _version(package: str) -> str | None:
    """Of an installed package; None if it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _list_gpus() -> list[str]:
    """Names of NVIDIA's GPUs in this machine, whether or not anything here can compute on them."""
    import pynvml

    try:
        pynvml.nvmlInit()
        return [pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(index)) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _check_source(request: Request, fewest_classes: int) -> Iterator[Finding]:
    """Each place of a source; one that answers is enough, so the others are warnings then."""
    found = []
    for place in request.places():
        check = _REACHES.get(place.source.provider, _identify)
        if place.source.provider == "folder":
            check = partial(_count_files, fewest_classes=fewest_classes)
        found.append(_attempt(f"source {request.source.name}", partial(check, place)))
    is_served = any(finding.level == "ok" for finding in found)
    for finding in found:
        yield Finding(finding.subject, "warning" if is_served and finding.level == "failed" else finding.level, finding.text)


def _count_files(request: Request, fewest_classes: int) -> str:
    """Of a folder, as fuse will find them; no image is opened."""
    source, images = request.source, folder.find(request)
    with open_archive(images) as archive:
        labels = Counter(item.label for item in LAYOUTS[source.layout](archive))
    del labels[None]
    used = {label: count for label, count in labels.items() if source.labels is None or label in source.labels}
    text = f"{images} holds {sum(used.values()):,} files of {len(used):,} classes"
    if len(used) < fewest_classes:
        raise PawflowError(f"{text}; expected images of at least {fewest_classes} classes, each in its folder or in the table")
    return text


def _identify(request: Request) -> str:
    """For those that must look at what they serve to say what it is."""
    find_provider(request).identify(request)
    return f"{request.source.provider} has it"


def _reach(url: str, otherwise: str = "use sources.root=DIR") -> str:
    try:
        # Not HEAD, which not every server knows; the content is left where it is.
        with requests.get(url, stream=True, timeout=15) as answer:
            answer.raise_for_status()
    except requests.RequestException as error:
        raise PawflowError(f"{url} does not answer ({state_cause(error)}); check the network, or {otherwise}") from error
    return f"{url} answers"


#: By provider; the others are asked to identify what they would serve.
_REACHES: dict[str, Callable[[Request], str]] = {
    "kaggle": kaggle.require_access,
    "petimages": lambda request: _reach(petimages.ARCHIVE.url),
    "cifar10": lambda request: _reach(cifar10.ARCHIVE.url),
    "http": lambda request: _reach(str(request.source.url)),
}
