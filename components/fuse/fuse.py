"""Fuse archives into one dataset: decode everything, account for everything, split by group, write shards.

In: folders with an archive each. Out: a dataset folder (see `components.common.dataset`). Nothing is dropped silently: a file that is
not used has a manifest row that says why. Memory does not grow with the number of images, but for a row of the manifest each: pixels
go from the decoder to the shards, and what is left out later is taken out of them.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from components.common.dataset import MANIFEST, MANIFEST_COLUMNS, REPORT, SPLITS, Dataset, digest_manifest
from components.common.errors import PawflowError
from components.common.figures import save_contact_sheet
from components.common.progress import say
from components.common.recipe import Recipe
from components.common.shards import Images, keep_images, list_shards, locate
from components.common.store import Record
from components.fuse.audit import METADATA, audit, find_unconfounded, flatten, tabulate_metadata
from components.fuse.decisions import apply_decisions, read_decisions, report_decisions
from components.fuse.decoding import Archive, decode_archives
from components.fuse.evidence import record_exhibits, record_near_duplicates, record_placement
from components.fuse.grouping import assign_groups, read_placement
from components.fuse.hashing import read_hashes
from components.fuse.near_duplicates import Search, find_near_duplicates, summarise
from components.fuse.proof import PROOF, list_conflicts, prove
from components.fuse.report import PAGE, write_page
from components.fuse.splitting import undersample

__all__ = ["Archive", "fuse"]

#: Named while a run goes on; the report has all.
_MOST_CLASSES = 12
_SHEET_NAME_BYTES = 200


def fuse(archives: list[Archive], recipe: Recipe, folder: Path) -> Record:
    """Write the dataset of a recipe into `folder`.

    Raises:
        PawflowError: An archive is damaged or of another layout, too few images are usable, or the split leaks.
    """
    placement = read_placement(recipe)
    manifest = decode_archives(archives, recipe, placement, folder)
    old, decisions = placement.is_old(manifest), read_decisions(recipe.decisions) if recipe.decisions else []
    decided = apply_decisions(manifest, decisions)
    _resolve_duplicates(manifest, old)
    record_placement(manifest, old, folder)
    own_split = manifest["split"].copy()
    _list_classes(manifest, archives)
    search = _form_groups(manifest, folder, old)
    record_near_duplicates(manifest, search, folder)
    usable, classes = manifest["status"] == "used", _list_classes(manifest, archives)
    manifest.loc[~usable, "split"] = None
    if recipe.balance != "none":
        surplus = undersample(manifest, recipe.seed, old, per_source=recipe.balance == "sources")
        manifest.loc[surplus.index, ["status", "split"]] = ["set_aside", None]
        manifest.loc[surplus.index, "reason"] = surplus
    conflicts = list_conflicts(manifest, search.pairs)
    record_exhibits(manifest, own_split, search.pairs, folder)
    _settle(manifest, folder)
    tabulate_metadata(manifest).to_parquet(folder / METADATA, index=False)
    manifest["unconfounded"] = find_unconfounded(manifest, classes)
    manifest = manifest[list(MANIFEST_COLUMNS)].astype(MANIFEST_COLUMNS)
    manifest.to_parquet(folder / MANIFEST, index=False)
    report = _make_report(manifest, classes, recipe, archives)
    report |= {"split_proof": prove(folder, classes), "near_duplicates": summarise(search), "conflicts": conflicts}
    # Drawn files have the names of photos, but nobody has doubted them.
    layouts = {archive.source.name: archive.source.layout for archive in archives if not archive.details["generated"]}
    report |= report_decisions(manifest, decisions, layouts)
    report["decided"] = decided
    report["audit"] = audited = audit(Dataset(folder), recipe.seed)
    (folder / REPORT).write_text(json.dumps(report, indent=1))
    figures = [PAGE, *_draw_contact_sheets(manifest, folder, bool(report["generated"]))]
    write_page(Dataset(folder), folder / PAGE)
    return _make_record(manifest, report, figures, flatten(audited))


def _list_classes(manifest: pd.DataFrame, archives: list[Archive]) -> list[str]:
    """The classes of the usable images, sorted.

    Raises:
        PawflowError: There are fewer than two.
    """
    usable = manifest["status"] == "used"
    classes = sorted(manifest.loc[usable, "label"].unique())
    if len(classes) > 1:
        return classes
    unused = manifest[~usable]
    example = f" (for instance {unused['path'].iloc[0]}: {unused['reason'].iloc[0]})" if len(unused) else ""
    looked = ", ".join(f"{archive.source.name} ({archive.details['origin']})" for archive in archives)
    counted = f"{usable.sum()} of {len(manifest)} files of {looked} can be used{example}"
    raise PawflowError(
        f"{counted}{', all of the class ' + classes[0] if classes else ''}; "
        "pawflow needs images of at least two classes: add images that can be decoded, in a folder for each class, or another source"
    )


def _resolve_duplicates(manifest: pd.DataFrame, old: pd.Series) -> None:
    """Keep the first of identical files, one of an earlier dataset before all others; of new ones with different labels keep none."""
    used = manifest.assign(is_old=old)[manifest["status"] == "used"]
    copies = used[used.duplicated("sha256", keep=False)].sort_values("is_old", ascending=False, kind="stable")
    if copies.empty:
        return
    of_content = copies.groupby("sha256", sort=False)
    is_first, first_id = ~copies.duplicated("sha256"), of_content["id"].transform("first")
    contradict = of_content["label"].transform("nunique") > 1
    described = copies["sha256"].map((copies["id"] + " is " + copies["label"]).groupby(copies["sha256"]).agg(", ".join))
    for status, chosen, reasons in (
        ("duplicate", ~contradict & ~is_first, "identical to " + first_id),
        ("conflict", contradict & ~(is_first & copies["is_old"]), "identical files have different labels: " + described),
    ):
        rows = copies.index[chosen]
        manifest.loc[rows, "status"], manifest.loc[rows, "reason"] = status, reasons[rows]


def _form_groups(manifest: pd.DataFrame, folder: Path, old: pd.Series) -> Search:
    """Set the groups, and reject what would bridge two splits; returns the near-duplicates among all used images."""
    found = search = _find_near_duplicates(manifest, folder)
    # In a crowd of one picture not every pair is looked at. Once some of it is rejected, others are neighbours.
    while assign_groups(manifest, search.pairs, old) and search.num_capped:
        search = _find_near_duplicates(manifest, folder)
    return found


def _find_near_duplicates(manifest: pd.DataFrame, folder: Path) -> Search:
    """Near-duplicates among the used rows of `manifest`; the pairs are positions in it."""
    shards = {split: list_shards(folder, split) for split in SPLITS}
    starts = dict(zip(SPLITS, itertools.accumulate((len(Images(shards[split])) for split in SPLITS), initial=0), strict=False))
    images = Images([file for split in SPLITS for file in shards[split]])
    used = np.flatnonzero(manifest["status"] == "used")
    chosen = manifest.iloc[used]
    positions = (chosen["row"] + chosen["split"].map(starts)).to_numpy(np.int64)
    search = find_near_duplicates(read_hashes(chosen["perceptual_hash"].tolist()), lambda rows: images.take(positions[rows]))
    pairs = "1 pair" if len(search.pairs) == 1 else f"{len(search.pairs)} pairs"
    say(f"near-duplicates: {pairs} among {len(used)} images ({search.num_candidates} compared on pixels)")
    return replace(search, pairs=used[search.pairs])


def _settle(manifest: pd.DataFrame, folder: Path) -> None:
    """Take the pixels of all images without a split out of the shards, and set the columns `shard` and `row`."""
    for split in SPLITS:
        chosen = manifest.index[manifest["split"] == split]
        keep_images(folder, split, manifest.loc[chosen, "row"].to_numpy(np.int64))
        manifest.loc[chosen, "shard"], manifest.loc[chosen, "row"] = locate(split, len(chosen))
    manifest.loc[manifest["split"].isna(), "row"] = pd.NA


def _make_report(manifest: pd.DataFrame, classes: list[str], recipe: Recipe, archives: list[Archive]) -> dict[str, object]:
    placed = manifest[manifest["split"].notna()]
    breeds = placed.dropna(subset=["breed"]).groupby("split")["breed"].agg(lambda column: sorted(set(column)))
    return {
        "digest": digest_manifest(manifest, recipe.image_size, recipe.resize),
        "recipe": recipe.name,
        "generated": any(bool(archive.details["generated"]) for archive in archives),
        "image_size": recipe.image_size,
        "resize": recipe.resize,
        "classes": classes,
        "seed": recipe.seed,
        "shares": recipe.split.model_dump(),
        "balance": recipe.balance,
        "sources": [archive.details for archive in archives],
        "status": {source: counts.value_counts().to_dict() for source, counts in manifest.groupby("source")["status"]},
        "splits": {split: placed.loc[placed["split"] == split, "label"].value_counts().to_dict() for split in SPLITS},
        "breeds": breeds.to_dict(),
    }


def _draw_contact_sheets(manifest: pd.DataFrame, folder: Path, generated: bool) -> list[str]:
    """One sheet of examples for each source and class."""
    (folder / "contact_sheets").mkdir()
    placed = manifest[manifest["split"].notna()]
    for number, ((source, label), rows) in enumerate(placed.groupby(["source", "label"]), start=1):
        chosen = rows.sort_values("sha256").head(24)
        images = [np.load(folder / shard, mmap_mode="r")[row] for shard, row in zip(chosen["shard"], chosen["row"], strict=True)]
        captions = [f"{Path(path).stem[:18]}\n{split}" for path, split in zip(chosen["path"], chosen["split"], strict=True)]
        title = f"{source}: {label}, {len(rows)} images{' (generated)' if generated else ''}"
        # The number tells `a-b` of `c` from `a` of `b-c`; a file's name has 255 bytes, and a letter of a class may take four.
        name = f"{number:03d}-{source}-{label}".encode()[:_SHEET_NAME_BYTES].decode(errors="ignore")
        save_contact_sheet(images, captions, folder / "contact_sheets" / f"{name}.png", title=title)
    return ["contact_sheets", REPORT, PROOF]


def _make_record(manifest: pd.DataFrame, report: dict[str, object], figures: list[str], audited: dict[str, float]) -> Record:
    counts = manifest["status"].value_counts()
    per_split = manifest["split"].value_counts()
    say(f"{len(manifest)} files: " + ", ".join(f"{count} {status}" for status, count in counts.items()))
    placed = manifest.loc[manifest["split"].notna(), "label"].value_counts()
    more = f" and {len(placed) - _MOST_CLASSES} more" if len(placed) > _MOST_CLASSES else ""
    say("classes: " + ", ".join(f"{label} {count}" for label, count in placed.head(_MOST_CLASSES).items()) + more)
    say("splits: " + ", ".join(f"{per_split[split]} {split}" for split in SPLITS) + "; no breed, group or content crosses")
    metrics = {f"files.{status}": float(count) for status, count in counts.items()}
    metrics |= {f"images.{split}": float(count) for split, count in per_split.items()} | audited
    params = {"digest": report["digest"], "classes": report["classes"], "image_size": report["image_size"]}
    return Record(params=params, metrics=metrics, tags={"pawflow.generated": str(report["generated"]).lower()}, figures=figures)
