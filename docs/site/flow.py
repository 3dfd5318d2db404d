"""The picture of the data's flow, drawn of the pipeline as it is compiled: prints docs/pictures/flow.svg (`make reference`)."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler

from pipeline.training import define_training

_WIDTH, _HEIGHT, _GAP, _MARGIN, _LIFT = 96, 44, 44, 20, 34
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2937;text-anchor:middle}.small{font-size:11px;fill:#4b5563}"
    "rect{fill:#eef2ff;stroke:#4f46e5;rx:8px}.last{fill:#f3f4f6;stroke:#6b7280}path{fill:none;stroke:#6b7280;stroke-width:1.3}"
)


@dataclass(frozen=True)
class Edge:
    """An artifact on its way."""

    producer: str
    consumer: str
    artifact: str


class Pipeline:
    """The compiled pipeline with its loops and conditions unfolded."""

    def __init__(self, compiled: dict[str, Any]) -> None:
        self._components = compiled["components"]
        self.steps: list[str] = []
        self.repeated: set[str] = set()
        self.conditional: set[str] = set()
        self.last: list[str] = []
        self.edges = list(dict.fromkeys(self._walk(compiled["root"]["dag"]["tasks"], {}, frozenset())))

    def _walk(self, tasks: dict[str, Any], given: dict[str, tuple[str, str]], around: frozenset[str]) -> Iterator[Edge]:
        """Edges to the tasks of one level; `given` says what its input artifacts are: the step that made each, and its name there."""
        for name, task in tasks.items():
            inside = self._components[task["componentRef"]["name"]].get("dag")
            kinds = around | ({"loop"} if "parameterIterator" in task else set())
            kinds |= {"condition"} if task.get("triggerPolicy", {}).get("condition") else set()
            received = {key: self._find(tasks, given, source) for key, source in task.get("inputs", {}).get("artifacts", {}).items()}
            if inside:
                yield from self._walk(inside["tasks"], received, frozenset(kinds))
                continue
            self.steps.append(name)
            self.repeated |= {name} if "loop" in kinds else set()
            self.conditional |= {name} if "condition" in kinds else set()
            self.last += [name] if task.get("triggerPolicy", {}).get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED" else []
            yield from (Edge(producer, name, artifact) for producer, artifact in received.values())

    def _find(self, tasks: dict[str, Any], given: dict[str, tuple[str, str]], source: dict[str, Any]) -> tuple[str, str]:
        """The step that makes an artifact, however deep it lies, and the artifact's name there."""
        if "componentInputArtifact" in source:
            return given[source["componentInputArtifact"]]
        made = source["taskOutputArtifact"]
        return self._open(tasks, made["producerTask"], made["outputArtifactKey"])

    def _open(self, tasks: dict[str, Any], task: str, key: str) -> tuple[str, str]:
        inside = self._components[tasks[task]["componentRef"]["name"]].get("dag")
        if not inside:
            return task, key
        (selected,) = inside["outputs"]["artifacts"][key]["artifactSelectors"]
        return self._open(inside["tasks"], selected["producerSubtask"], selected["outputArtifactKey"])


def read_pipeline() -> Pipeline:
    """Compile and unfold it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(define_training(), str(path))
        return Pipeline(next(yaml.safe_load_all(path.read_text())))


def order_steps(pipeline: Pipeline) -> list[str]:
    """The steps as the data meets them, by the longest way that leads to each; before them what all wait for, without what comes last."""
    depth = dict.fromkeys(pipeline.steps, 0)
    for _ in pipeline.steps:
        for edge in pipeline.edges:
            depth[edge.consumer] = max(depth[edge.consumer], depth[edge.producer] + 1)
    carrying = {step for edge in pipeline.edges for step in (edge.producer, edge.consumer)}
    first = [step for step in pipeline.steps if step not in {*carrying, *pipeline.last}]
    return first + sorted(carrying, key=depth.__getitem__)


def draw(pipeline: Pipeline) -> Iterator[str]:
    """Lines of the picture: steps in a row, what goes to the next one between them, and what goes further in arcs above."""
    row = order_steps(pipeline)
    place = {step: _MARGIN + number * (_WIDTH + _GAP) for number, step in enumerate(row)}
    far = [edge for edge in pipeline.edges if row.index(edge.consumer) - row.index(edge.producer) > 1]
    lifts = {producer: number for number, producer in enumerate(reversed(list(dict.fromkeys(edge.producer for edge in far))), 1)}
    top = _MARGIN + len(lifts) * _LIFT + 16
    width, height = place[row[-1]] + _WIDTH + _MARGIN, top + _HEIGHT + 96
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="The flow of data">'
    yield f'<style>{_STYLE}</style><rect width="{width}" height="{height}" style="fill:#fff;stroke:none"/>'
    yield '<marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    yield '<path d="M0 0L8 4L0 8z" style="fill:#6b7280;stroke:none"/></marker>'
    for edge in pipeline.edges:
        start, end = place[edge.producer], place[edge.consumer]
        if edge in far:
            level = top - lifts[edge.producer] * _LIFT
            yield f'<path marker-end="url(#end)" d="M{start + 64} {top}V{level + 8}q0 -8 8 -8H{end + 24}q8 0 8 8V{top - 2}"/>'
    for producer, number in lifts.items():
        artifact = next(edge.artifact for edge in far if edge.producer == producer)
        yield f'<text class="small" x="{place[producer] + _WIDTH + _GAP}" y="{top - number * _LIFT - 5}">{artifact}</text>'
    for step, following in itertools.pairwise(row):
        carried = next((edge.artifact for edge in pipeline.edges if (edge.producer, edge.consumer) == (step, following)), "")
        middle = top + _HEIGHT / 2
        yield f'<path marker-end="url(#end)" d="M{place[step] + _WIDTH} {middle}H{place[following] - 2}"/>'
        yield f'<text class="small" x="{place[step] + _WIDTH + _GAP / 2}" y="{top + _HEIGHT + 14}">{carried}</text>'
    for step in row:
        if step in pipeline.repeated:
            yield f'<rect x="{place[step] + 5}" y="{top - 5}" width="{_WIDTH}" height="{_HEIGHT}"/>'
        dashed = ' stroke-dasharray="5 4"' if step in pipeline.conditional else ""
        yield f'<rect x="{place[step]}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}"{dashed}/>'
        yield f'<text x="{place[step] + _WIDTH / 2}" y="{top + _HEIGHT / 2 + 5}">{step}</text>'
    for step in pipeline.last:
        yield f'<rect class="last" x="{_MARGIN}" y="{top + _HEIGHT + 34}" width="{width - 2 * _MARGIN}" height="28"/>'
        yield f'<text x="{width / 2}" y="{top + _HEIGHT + 53}">{step}: whatever happens, in the end</text>'
    legend = "behind one another: once for each source or candidate; dashed: only if the verdict says so"
    yield f'<text class="small" x="{width / 2}" y="{height - 14}">{legend}</text></svg>'


if __name__ == "__main__":
    print(*draw(read_pipeline()), sep="\n")
