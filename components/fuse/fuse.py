"""Fuse archives into one dataset: decode everything, account for everything, split by group, write shards.

In: folders with an archive each. Out: a dataset folder (see `components.common.dataset`). Nothing is dropped silently: a file that is
not used has a manifest row that says why. Memory does not grow with the number of images: pixels go from the decoder to a scratch file
and from there to the shards.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import imagehash
import numpy as np
import pandas as pd
from PIL import Image

from components.common.dataset import MANIFEST, MANIFEST_COLUMNS, ORIGINALS, REPORT, SPLITS, Dataset, ImageWriter, digest_manifest
from components.common.errors import PawflowError
from components.common.figures import save_contact_sheet
from components.common.progress import say, track
from components.common.recipe import Recipe, Source
from components.common.store import Record
from components.fuse.audit import METADATA, audit, describe_encoding, find_unconfounded, flatten, tabulate_metadata
from components.fuse.decisions import apply_decisions, read_decisions, report_decisions
from components.fuse.grouping import Placement, assign_groups, read_placement
from components.fuse.layouts import Entry, read_entries
from components.fuse.near_duplicates import Search, find_near_duplicates, parse_hashes, summarise
from components.fuse.proof import PROOF, list_conflicts, prove
from components.fuse.splitting import undersample
from serving.images import Pixels, UnreadableImageError, read_photo

_SCRATCH = "scratch.bin"
_SURPLUS = {
    "undersample": "surplus of its class in the training split",
    "sources": "surplus of its class in its source, in the training split",
}


@dataclass(frozen=True)
class Archive:
    """One downloaded source.

    Attributes:
        source: Its entry in the recipe.
        path: The archive.
        details: Contents of its `source.json`.
    """

    source: Source
    path: Path
    details: dict[str, object]


def fuse(archives: list[Archive], recipe: Recipe, folder: Path) -> Record:
    """Write the dataset of a recipe into `folder`.

    Raises:
        PawflowError: An archive is damaged or of another layout, too few images are usable, or the split leaks.
    """
    scratch, placement = folder / _SCRATCH, read_placement(recipe)
    with scratch.open("wb") as stream, zipfile.ZipFile(folder / ORIGINALS, "w") as originals:
        rows = [row for archive in archives for row in _read_archive(archive, recipe, placement, stream, originals)]
    if not rows:
        raise PawflowError(f"there is no file in {', '.join(archive.path.name for archive in archives)}; fetch the archives again")
    manifest = pd.DataFrame(rows)
    old, decisions = placement.is_old(manifest), read_decisions(recipe.decisions) if recipe.decisions else []
    apply_decisions(manifest, decisions)
    _resolve_duplicates(manifest, old)
    search = _find_near_duplicates(manifest, scratch, recipe.image_size)
    assign_groups(manifest, search.pairs, old)
    usable = manifest["status"] == "used"
    classes = sorted(manifest.loc[usable, "label"].unique())
    if len(classes) < 2:
        raise PawflowError(
            f"{usable.sum()} of {len(manifest)} files are usable, with the classes {classes}; at least two classes are needed"
        )
    manifest.loc[~usable, "split"] = None
    if recipe.balance != "none":
        surplus = undersample(manifest, recipe.seed, old, per_source=recipe.balance == "sources")
        manifest.loc[surplus, ["status", "reason", "split"]] = ["set_aside", _SURPLUS[recipe.balance], None]
    conflicts = list_conflicts(manifest, search.pairs)
    _write_shards(manifest, scratch, recipe.image_size, folder)
    scratch.unlink()
    tabulate_metadata(manifest).to_parquet(folder / METADATA, index=False)
    manifest["unconfounded"] = find_unconfounded(manifest, classes)
    manifest = manifest.drop(columns="position").reindex(columns=list(MANIFEST_COLUMNS)).astype(MANIFEST_COLUMNS)
    manifest.to_parquet(folder / MANIFEST, index=False)
    report = _make_report(manifest, classes, recipe, archives)
    report |= {"split_proof": prove(folder, classes), "near_duplicates": summarise(search), "conflicts": conflicts}
    report |= report_decisions(manifest, decisions, {archive.source.name: archive.source.layout for archive in archives})
    report["audit"] = audited = audit(Dataset(folder), recipe.seed)
    (folder / REPORT).write_text(json.dumps(report, indent=1))
    figures = _draw_contact_sheets(manifest, folder, bool(report["generated"]))
    return _make_record(manifest, report, figures, flatten(audited))


def _read_archive(
    archive: Archive, recipe: Recipe, placement: Placement, scratch: BinaryIO, originals: zipfile.ZipFile
) -> Iterator[dict[str, object]]:
    source = archive.source
    entries = read_entries(source.layout, archive.path, recipe.sources.limit)
    for entry, row, pixels in _decode_all(track(entries, f"decoding {source.name}"), recipe):
        image: dict[str, object] = {"id": f"{source.name}/{entry.path}", "source": source.name, "path": entry.path, "breed": entry.breed}
        image |= row | _judge(entry, row, source)
        if pixels is not None:
            image["position"] = scratch.tell() // pixels.nbytes
            scratch.write(pixels.tobytes())
        if image["status"] == "used":
            image["group"] = entry.group or entry.breed or row["sha256"]
            image["split"] = placement.choose(str(image["group"]), str(row["sha256"]))
            if image["split"] == "test" and entry.data is not None:
                originals.writestr(zipfile.ZipInfo(str(image["id"])), entry.data)
        yield image


def _decode_all(entries: Iterable[Entry], recipe: Recipe) -> Iterator[tuple[Entry, dict[str, object], Pixels | None]]:
    """Decode on all cores, in order, with few images in flight."""
    num_threads = os.cpu_count() or 1
    pending: deque[tuple[Entry, Future[tuple[dict[str, object], Pixels | None]]]] = deque()
    with ThreadPoolExecutor(num_threads) as pool:
        for entry in entries:
            pending.append((entry, pool.submit(_decode, entry, recipe.image_size, recipe.resize)))
            if len(pending) >= 8 * num_threads:
                first, future = pending.popleft()
                yield first, *future.result()
        for first, future in pending:
            yield first, *future.result()


def _decode(entry: Entry, size: int, resize: str) -> tuple[dict[str, object], Pixels | None]:
    data = entry.data
    if data is None and entry.problem:
        return {"bytes": 0, "status": "unreadable", "reason": entry.problem}, None
    if data is None:
        return {"bytes": 0, "status": "missing", "reason": "named in the labels, but not in the archive"}, None
    row: dict[str, object] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    try:
        photo = read_photo(data, size, resize)
    except UnreadableImageError as error:
        return {**row, "status": "unreadable", "reason": str(error)}, None
    # The hash is taken of the stored square: it then speaks of what training sees, and costs a fraction of one of the full image.
    perceptual_hash = str(imagehash.phash(Image.fromarray(photo.pixels)))
    measured = {"perceptual_hash": perceptual_hash, "width": photo.width, "height": photo.height, "mode": photo.mode}
    return {**row, **measured, **describe_encoding(photo), "status": "used", "reason": ""}, photo.pixels


def _judge(entry: Entry, row: dict[str, object], source: Source) -> dict[str, object]:
    """The class of an image, and why it is not used if it is not."""
    if row["status"] != "used":
        return {"label": None}
    if entry.label is None:
        return {"label": None, "status": "unlabelled", "reason": "the archive gives it no label"}
    label = entry.label if source.labels is None else source.labels.get(entry.label)
    if label is None:
        return {"label": None, "status": "excluded", "reason": f"the recipe does not use the label {entry.label!r} of {source.name}"}
    return {"label": label}


def _resolve_duplicates(manifest: pd.DataFrame, old: pd.Series) -> None:
    """Keep the first of identical files, one of an earlier dataset before all others; of new ones with different labels keep none."""
    used = manifest[manifest["status"] == "used"]
    for _, copies in used[used.duplicated("sha256", keep=False)].groupby("sha256", sort=False):
        copies = copies.loc[old[copies.index].sort_values(ascending=False, kind="stable").index]
        first_is_old = bool(old[copies.index[0]])
        if copies["label"].nunique() > 1:
            reason = f"identical files have different labels: {', '.join(copies['id'] + ' is ' + copies['label'])}"
            manifest.loc[copies.index[int(first_is_old) :], ["status", "reason"]] = ["conflict", reason]
        else:
            manifest.loc[copies.index[1:], ["status", "reason"]] = ["duplicate", f"identical to {copies['id'].iloc[0]}"]


def _find_near_duplicates(manifest: pd.DataFrame, scratch: Path, size: int) -> Search:
    """Near-duplicates among the used rows of `manifest`; the pairs are positions in it."""
    used = np.flatnonzero(manifest["status"] == "used")
    positions = manifest["position"].to_numpy()
    pixels = np.memmap(scratch, np.uint8, mode="r").reshape(-1, size, size, 3)
    search = find_near_duplicates(
        parse_hashes(manifest["perceptual_hash"].iloc[used].tolist()),
        lambda rows: np.asarray(pixels[positions[used[rows]].astype(np.int64)]),
    )
    say(f"{len(search.pairs)} pairs of near-duplicates among {len(used)} images ({search.num_candidates} compared on pixels)")
    return replace(search, pairs=used[search.pairs])


def _write_shards(manifest: pd.DataFrame, scratch: Path, size: int, folder: Path) -> None:
    """Copy the pixels of every split from the scratch file to its shards; sets the columns `shard` and `row`."""
    pixels = np.memmap(scratch, np.uint8, mode="r").reshape(-1, size, size, 3)
    manifest["shard"], manifest["row"] = None, None
    positions = manifest["position"]
    for split in SPLITS:
        chosen = manifest.index[manifest["split"] == split]
        writer = ImageWriter(folder, split, len(chosen), size)
        places = [writer.append(pixels[int(positions[index])]) for index in track(chosen, f"writing {split} shards")]
        writer.close()
        manifest.loc[chosen, "shard"] = [shard for shard, _ in places]
        manifest.loc[chosen, "row"] = [row for _, row in places]


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
        "sources": [archive.details for archive in archives],
        "status": {source: counts.value_counts().to_dict() for source, counts in manifest.groupby("source")["status"]},
        "splits": {split: placed.loc[placed["split"] == split, "label"].value_counts().to_dict() for split in SPLITS},
        "breeds": breeds.to_dict(),
    }


def _draw_contact_sheets(manifest: pd.DataFrame, folder: Path, generated: bool) -> list[str]:
    """One sheet of examples for each source and class."""
    (folder / "contact_sheets").mkdir()
    placed = manifest[manifest["split"].notna()]
    for (source, label), rows in placed.groupby(["source", "label"]):
        chosen = rows.sort_values("sha256").head(24)
        images = [np.load(folder / shard, mmap_mode="r")[row] for shard, row in zip(chosen["shard"], chosen["row"], strict=True)]
        captions = [f"{Path(path).stem[:18]}\n{split}" for path, split in zip(chosen["path"], chosen["split"], strict=True)]
        title = f"{source}: {label}, {len(rows)} images{' (generated)' if generated else ''}"
        save_contact_sheet(images, captions, folder / "contact_sheets" / f"{source}-{label}.png", title=title)
    return ["contact_sheets", REPORT, PROOF]


def _make_record(manifest: pd.DataFrame, report: dict[str, object], figures: list[str], audited: dict[str, float]) -> Record:
    counts = manifest["status"].value_counts()
    per_split = manifest["split"].value_counts()
    say(f"{len(manifest)} files: " + ", ".join(f"{count} {status}" for status, count in counts.items()))
    say("splits: " + ", ".join(f"{per_split[split]} {split}" for split in SPLITS) + "; no breed, group or content crosses")
    metrics = {f"files.{status}": float(count) for status, count in counts.items()}
    metrics |= {f"images.{split}": float(count) for split, count in per_split.items()} | audited
    params = {"digest": report["digest"], "classes": report["classes"], "image_size": report["image_size"]}
    return Record(params=params, metrics=metrics, tags={"pawflow.generated": str(report["generated"]).lower()}, figures=figures)
