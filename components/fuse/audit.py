"""Whether the source of an image, instead of the animal in it, predicts its class.

In: the manifest, what the files themselves say (`metadata.parquet`), and the stored squares. Out: cross-validated AUCs of classifiers
that never see an animal, and a finding in words. Where cats come from one archive and dogs from another, a network can score well by
recognising the archive; its test score, drawn from the same archives, does not show it.

Three kinds of question, each by gradient-boosted trees in five folds that keep groups whole: is the class told by the file (its width,
height, bytes, JPEG tables, EXIF); is the source told by the file within one class; and is either told by cheap statistics of the pixels
that training really sees. Pixel statistics may well tell the class honestly, but the source within a class they can only tell by its
processing. At most `_MOST_IMAGES` images are asked, so the audit takes a bounded time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from components.common.confounding import TELLING, TELLING_LEVELS
from components.common.dataset import SPLITS, Dataset
from components.common.parallel import map_on_all_cores
from components.common.progress import say, track
from serving.images import Photo, Pixels

METADATA = "metadata.parquet"
#: Columns of the side file besides `id`, with their pandas types.
METADATA_COLUMNS = {
    "format": "str",
    "has_exif": "boolean",
    "num_tables": "Int16",
    "luminance_table": "float64",
    "chrominance_table": "float64",
}

#: From which AUC on a probe is called so; 0.5 is guessing and 1.0 is certainty.
LEVELS = (
    (0.9, "severe"),
    (TELLING, "strong"),
    (0.63, "slight"),
    (0.0, "none"),
)
ADVICE = {
    "severe": "a score on all images says little: judge by the un-confounded slice, and train on sources that hold every class",
    "strong": "part of any score can be the source: judge by the un-confounded slice, and set `weights: source` or `balance: sources`",
    "slight": "the files differ a little between classes, as they do within one collection; compare with the un-confounded slice",
    "none": "the files do not tell the class",
}
#: True whatever the recipe's gate says, because a dataset does not depend on that.
_WAY_OUT = "gate.confounding=report is right, else collect the classes alike"
#: Where all images are of one source, there is no other to judge by.
_ADVICE_ALONE = f"the files of the classes differ{{}}: if the difference belongs to what they show, {_WAY_OUT}"
_ADVICE_BYTES = (
    "of the files of the classes only the number of bytes differs; busy pictures have more of these, so what they show may be the reason: "
    f"if it is, {_WAY_OUT}"
)
#: Fewest images of each class that are asked about; of fewer, a source among others does not hold the class.
FEWEST_IMAGES = 25
#: What of a file tells the class: probe -> its words, and the columns of `describe_files` that it sees. Asked where all together tell it.
_PARTS = {
    "class_from_size": ("width and height", ("width", "height", "aspect")),
    "class_from_bytes": ("number of bytes", ("bytes",)),
    "class_from_encoder": ("format and encoder", ("mode", "format", *(f"encoding_{number}" for number in range(4)))),
}

_NUM_FOLDS = 5
_MOST_IMAGES = 20_000
_NUM_STATISTICS = 14
_IMAGES_PER_LOT = 64

#: Rows to learn from and rows to judge on.
Fold: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]


def audit(dataset: Dataset, seed: int) -> dict[str, object]:
    """Ask every question that a dataset allows.

    Args:
        dataset: A finished one, with its side file.
        seed: Of the folds.

    Returns:
        `probes` (question -> AUC, n, number of classes), `level`, `finding`, and how many images of each class each source has.
    """
    rows = _sample(pd.concat([dataset.rows(split).assign(position=range(len(dataset.rows(split)))) for split in SPLITS], ignore_index=True))
    features = {"file": describe_files(rows, dataset.folder), "pixels": describe_pixels(rows, dataset)}
    probes: dict[str, dict[str, object]] = {}
    for name, chosen, target in _list_questions(rows):
        numbers, classes = pd.factorize(rows.loc[chosen, target], sort=True)
        if len(classes) > 1 and np.bincount(numbers).min() >= FEWEST_IMAGES:
            folds = _fold(numbers, rows.loc[chosen, "group"], seed)
            # Where few groups hold all images of a class, those who are to learn it may never see it.
            if any(len(np.unique(numbers[train])) < len(classes) for train, _ in folds):
                continue
            for kind, table in features.items():
                probes[name.format(kind)] = answer = _probe(table[chosen].to_numpy(np.float32), numbers, folds, seed)
                if name.format(kind) == "class_from_file" and _tells(answer):
                    probes |= {
                        part: _probe(table[list(columns)].to_numpy(np.float32), numbers, folds, seed)
                        for part, (_, columns) in _PARTS.items()
                    }
    level, finding = state_finding(probes, rows["source"].nunique())
    say(f"audit: {finding}")
    counts = dataset.manifest.dropna(subset=["split"]).groupby(["source", "label"]).size().unstack(fill_value=0)
    return {"level": level, "finding": finding, "probes": probes, "images": counts.to_dict("index")}


def flatten(report: dict[str, object]) -> dict[str, float]:
    """The AUCs as metrics for MLflow: `audit.class_from_file`, ..."""
    probes = report["probes"]
    assert isinstance(probes, dict)
    return {f"audit.{name}": answer["auc"] for name, answer in probes.items()}


def advise(level: str, probes: dict[str, dict[str, object]], num_sources: int) -> str:
    """What follows from a level, and from what decides it."""
    if level not in TELLING_LEVELS or num_sources > 1:
        return ADVICE[level]
    deciding = [part for part in _PARTS if part in probes and _tells(probes[part])]
    if deciding == ["class_from_bytes"]:
        return _ADVICE_BYTES
    return _ADVICE_ALONE.format(f" in {' and in '.join(_PARTS[part][0] for part in deciding)}" if deciding else "")


def state_finding(probes: dict[str, dict[str, object]], num_sources: int) -> tuple[str, str]:
    """How bad it is, in a word and in a sentence."""
    asked = probes.get("class_from_file")
    if asked is None:
        return "unknown", f"too few images to ask whether files tell the class (at least {FEWEST_IMAGES} of each class are needed)"
    value = float(str(asked["auc"]))
    level = next(name for least, name in LEVELS if value >= least)
    within = {
        name.removeprefix("class_from_file."): answer["auc"] for name, answer in probes.items() if name.startswith("class_from_file.")
    }
    parts = [f"{words} {probes[part]['auc']:.3f}" for part, (words, _) in _PARTS.items() if part in probes]
    compared = f"; alone, {', '.join(parts)}" if parts else ""
    compared += "".join(f"; within {source} alone {auc:.3f}" for source, auc in within.items())
    told = {
        name.removeprefix("source_from_file."): answer["auc"] for name, answer in probes.items() if name.startswith("source_from_file.")
    }
    compared += "".join(f"; the source of a {label} is told with {auc:.3f}" for label, auc in told.items())
    told_by = f"file metadata alone tells the class with AUC {value:.3f} (n = {asked['n']}){compared}"
    return level, f"{told_by}. Confounding: {level}; {advise(level, probes, num_sources)}."


def find_unconfounded(manifest: pd.DataFrame, classes: list[str]) -> pd.Series:
    """Which images are placed and from sources that hold every class, so that the source tells nothing: boolean, aligned.

    One of several sources holds a class from `FEWEST_IMAGES` images of it on: a few odd photos among the dogs are no second class.
    """
    placed = manifest["split"].notna()
    counts = pd.crosstab(manifest.loc[placed, "source"], manifest.loc[placed, "label"]).reindex(columns=classes, fill_value=0)
    fewest = FEWEST_IMAGES if len(counts) > 1 else 1
    return placed & manifest["source"].isin(counts.index[(counts >= fewest).all(axis=1)])


def describe_encoding(photo: Photo) -> dict[str, object]:
    """What the encoder of a file left in it, under the names of `METADATA_COLUMNS`."""
    luminance, chrominance = (*photo.tables, 0.0, 0.0)[:2]
    values = (photo.format, photo.has_exif, len(photo.tables), luminance, chrominance)
    return dict(zip(METADATA_COLUMNS, values, strict=True))


def tabulate_metadata(manifest: pd.DataFrame) -> pd.DataFrame:
    """The side file: a row for each image that could be read."""
    return manifest.loc[manifest["format"].notna(), ["id", *METADATA_COLUMNS]].astype({"has_exif": bool, "num_tables": "int16"})


def describe_files(rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """What a file tells before it is decoded; one row for each of `rows`."""
    metadata = rows[["id"]].merge(pd.read_parquet(folder / METADATA), on="id", how="left", validate="one_to_one")
    width, height = rows["width"].to_numpy(np.float64), rows["height"].to_numpy(np.float64)
    size = rows["bytes"].to_numpy(np.float64)
    measured = pd.DataFrame({"width": width, "height": height, "aspect": width / height, "bytes": size}, index=rows.index)
    named = [pd.factorize(rows["mode"], sort=True)[0], pd.factorize(metadata["format"], sort=True)[0]]
    tables = metadata[["has_exif", "num_tables", "luminance_table", "chrominance_table"]].to_numpy(np.float64)
    return measured.assign(mode=named[0], format=named[1]).join(pd.DataFrame(tables, index=rows.index).add_prefix("encoding_"))


def describe_pixels(rows: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """Statistics of the stored squares that see no shapes: levels, contrast, sharpness, clipping, frames."""
    described = np.empty((len(rows), _NUM_STATISTICS), np.float32)
    for split, part in rows.groupby("split"):
        images, positions = dataset.images(str(split)), part["position"].to_numpy(np.int64)
        lots = [slice(start, start + _IMAGES_PER_LOT) for start in range(0, len(part), _IMAGES_PER_LOT)]
        measured = map_on_all_cores(lambda lot: [_measure(pixels) for pixels in images.take(positions[lot])], lots)  # noqa: B023
        for lot, values in zip(lots, track(measured, f"audit of {split}", total=len(lots), unit="lot"), strict=True):
            described[part.index[lot]] = values
    return pd.DataFrame(described, index=rows.index)


def _measure(pixels: Pixels) -> list[float]:
    """Statistics of one square; OpenCV works on bytes, which costs a tenth of the same in floating point."""
    mean, deviation = cv2.meanStdDev(pixels)
    grey, saturation = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)[..., 1]
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    levels = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel() / grey.size
    return [
        *mean.ravel(),
        *deviation.ravel(),
        cv2.norm(grey[:, 1:], grey[:, :-1], cv2.NORM_L1) / grey.size,
        cv2.norm(grey[1:], grey[:-1], cv2.NORM_L1) / grey.size,
        float(cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))[1][0, 0]),
        float(cv2.mean(saturation)[0]),
        float(levels[251:].sum()),
        float(levels[:5].sum()),
        float(border.mean()),
        float(border.std()),
    ]


def _sample(rows: pd.DataFrame) -> pd.DataFrame:
    # By the files' own hashes, so that the choice does not depend on their order.
    return rows if len(rows) <= _MOST_IMAGES else rows.sort_values("sha256", ignore_index=True).head(_MOST_IMAGES)


def _list_questions(rows: pd.DataFrame) -> Iterator[tuple[str, NDArray[np.bool_], str]]:
    """Yield the name with a gap for the kind of features, the rows to ask about, and the column to tell."""
    everything = np.ones(len(rows), bool)
    yield "class_from_{}", everything, "label"
    for column, other, name in (("source", "label", "class"), ("label", "source", "source")):
        for value in sorted(rows[column].unique()):
            chosen = (rows[column] == value).to_numpy()
            if rows.loc[chosen, other].nunique() > 1 and not chosen.all():
                yield f"{name}_from_{{}}.{value}", chosen, other


def _fold(numbers: NDArray[np.int64], groups: pd.Series, seed: int) -> list[Fold]:
    return list(StratifiedGroupKFold(_NUM_FOLDS, shuffle=True, random_state=seed).split(numbers, numbers, groups))


def _tells(answer: dict[str, object]) -> bool:
    return float(str(answer["auc"])) >= TELLING


def _probe(table: NDArray[np.float32], numbers: NDArray[np.int64], folds: list[Fold], seed: int) -> dict[str, object]:
    """Cross-validated AUC, one class against the rest and averaged."""
    one_hot = np.eye(numbers.max() + 1)[numbers]
    scores = np.zeros(one_hot.shape)
    # One thread: the tables are small, and where cores are shared OpenMP's threads wait for one another most of the time.
    with threadpool_limits(1):
        for train, test in folds:
            model = HistGradientBoostingClassifier(
                max_iter=40, learning_rate=0.15, max_leaf_nodes=15, early_stopping=False, random_state=seed
            )
            model.fit(table[train], numbers[train])
            scores[np.ix_(test, model.classes_)] = model.predict_proba(table[test])
    auc = float(roc_auc_score(one_hot, scores, average="macro"))
    return {"auc": round(auc, 4), "n": len(numbers), "classes": one_hot.shape[1]}
