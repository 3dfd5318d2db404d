"""What people have decided about single images, and the suspects that are known.

In: a `decisions.yaml`, named by the recipe, with a list of entries such as

    - {id: dogs-vs-cats/train.zip/train/cat.4085.jpg, action: relabel, label: dog, why: it is a dog}
    - {sha256: 9f86d0..., action: drop, why: a text and no animal}
    - {id: dogs-vs-cats/train.zip/train/dog.10.jpg, action: keep, why: looked at twice}

Out: the manifest with those decisions applied, before duplicates are resolved, so that a corrected label settles a conflict. The digest of
the dataset covers them through label and status.

`known_suspects.csv` lists file names of Kaggle's Dogs vs. Cats whose label several independent searches call wrong, with the number of
those that do. Suspects are counted in the report and never acted upon: to be named is not to be guilty.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from components.common.errors import PawflowError
from components.common.progress import say
from components.common.yaml_text import parse, read_file

SUSPECTS = Path(__file__).with_name("known_suspects.csv")
_SUSPECT_LAYOUT = "dogs_vs_cats"
_NUM_LISTED = 5
#: Status of images on which a decision, or a later one, has an effect.
_DECIDABLE = ("used", "dropped")


class Decision(BaseModel):
    """One entry of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str | None = None
    sha256: str | None = None
    action: Literal["keep", "drop", "relabel"]
    label: str | None = None
    why: str

    @model_validator(mode="after")
    def _is_whole(self) -> Decision:
        if (self.id is None) == (self.sha256 is None):
            raise ValueError("an entry names its image by `id` or by `sha256`, one of the two")
        if (self.action == "relabel") != (self.label is not None):
            raise ValueError("`relabel` needs a `label`, and no other action has one")
        return self


def read_decisions(path: Path) -> list[Decision]:
    """Load a file of decisions.

    Raises:
        PawflowError: It is missing, not UTF-8, no YAML list, has a key twice in an entry, or has an entry that says too little or too much.
    """
    if not path.is_file():
        raise PawflowError(f"the recipe names the decisions {path}, but there is no such file; correct `decisions` or remove it")
    entries = parse(read_file(path), origin=str(path)) or []
    try:
        return TypeAdapter(list[Decision]).validate_python(entries)
    except ValidationError as error:
        problems = "\n".join(f"  entry {'.'.join(map(str, item['loc'])) or 'list'}: {item['msg']}" for item in error.errors())
        raise PawflowError(f"{path} is not a list of decisions (id or sha256, action, label, why):\n{problems}") from error


def apply_decisions(manifest: pd.DataFrame, decisions: list[Decision]) -> list[dict[str, object]]:
    """Set `label`, `status` and `reason` as decided; where two entries speak of one image, the later one counts.

    Returns:
        What was done, for the report: `id`, `action`, `label_before`, `label` and `why` of each image that was decided upon.

    Raises:
        PawflowError: An entry names an image that is not there, or a label that no image has.
    """
    rows = _find(manifest, decisions)
    unknown = [decision.id or decision.sha256 for decision, found in zip(decisions, rows, strict=True) if not len(found)]
    if unknown:
        listed = ", ".join(map(str, unknown[:_NUM_LISTED])) + (", ..." if len(unknown) > _NUM_LISTED else "")
        raise PawflowError(
            f"{len(unknown)} of {len(decisions)} decisions name images that are not among the {len(manifest)} files: {listed}; "
            f"ids look like {manifest['id'].iloc[0]}"
        )
    known = sorted(manifest.loc[manifest["status"] == "used", "label"].unique())
    idle = sum(not manifest.loc[found, "status"].isin(_DECIDABLE).any() for found in rows)
    if idle:
        say(f"{idle} of {len(decisions)} decisions change nothing: their images are not used, for a reason that the manifest gives")
    applied: dict[str, dict[str, object]] = {}
    for decision, found in zip(decisions, rows, strict=True):
        usable = found[manifest.loc[found, "status"].isin(_DECIDABLE)]
        for identifier, label in manifest.loc[usable, ["id", "label"]].itertuples(index=False):
            before = applied.get(identifier, {}).get("label_before", label)
            told = {"id": identifier, "action": decision.action, "label_before": before, "label": decision.label or label}
            applied[identifier] = told | {"why": decision.why}
        reason = f"decided: {decision.why}"
        if decision.action == "drop":
            manifest.loc[usable, ["status", "reason"]] = ["dropped", reason]
            continue
        manifest.loc[usable, ["status", "reason"]] = ["used", reason]
        if decision.label is not None:
            if decision.label not in known:
                raise PawflowError(f"a decision gives {decision.id or decision.sha256} the label {decision.label!r}; known ones: {known}")
            manifest.loc[usable, "label"] = decision.label
    return list(applied.values())


def report_decisions(manifest: pd.DataFrame, decisions: list[Decision], layouts: dict[str, str]) -> dict[str, object]:
    """For the report: decisions by action, and which known suspects are among the images, with the votes against each.

    Args:
        manifest: After fusion.
        decisions: What was applied.
        layouts: Source -> layout, of sources of photos; suspects are files of one layout.
    """
    suspects = pd.read_csv(SUSPECTS)
    theirs = manifest[manifest["source"].map(layouts) == _SUSPECT_LAYOUT]
    votes = theirs["path"].map(lambda path: PurePosixPath(path).name).map(suspects.set_index("file")["num_sources"])
    present = theirs[votes.notna() & theirs["label"].notna()]
    decided = {decision.id for decision in decisions} | {decision.sha256 for decision in decisions}
    is_decided = present["id"].isin(decided) | present["sha256"].isin(decided)
    images = pd.DataFrame({"id": present["id"], "votes": votes[present.index].astype(int), "decided": is_decided})
    return {
        "decisions": {action: sum(decision.action == action for decision in decisions) for action in ("keep", "drop", "relabel")},
        "suspects": {
            "listed": len(suspects),
            "present": len(present),
            "undecided": int((~is_decided).sum()),
            "images": images.sort_values(["votes", "id"], ascending=[False, True]).to_dict("records"),
        },
    }


def _find(manifest: pd.DataFrame, decisions: list[Decision]) -> list[pd.Index]:
    """The rows that each decision speaks of; none where it names nothing that is there.

    Who decides on an image decides on its exact copies too, so that none moves up into its place: a new label is that of all of them, and
    with an image go those of its label.
    """
    by_id, by_content = manifest.groupby("id").groups, manifest.groupby("sha256").groups

    def find(decision: Decision) -> pd.Index:
        found = by_content.get(decision.sha256) if decision.id is None else by_id.get(decision.id)
        if found is None:
            return manifest.index[:0]
        copies = by_content.get(manifest.at[found[0], "sha256"], found)
        if decision.id is None or decision.action == "relabel":
            return copies
        same = copies[manifest.loc[copies, "label"] == manifest.at[found[0], "label"]]
        return same if decision.action == "drop" and len(same) else found

    return [find(decision) for decision in decisions]
