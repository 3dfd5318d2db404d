"""The figures of the page as numbers: where each bar stands, so that the template only has to draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from components.fuse.audit import LEVELS

#: Columns of the manifest whose distribution is shown, with a title.
_MEASURES = {"width": "Width, pixels", "height": "Height, pixels", "bytes": "File, bytes"}
_NUM_BINS = 36
_MOST_SOURCES = 8
#: What lies further out is counted in the outermost bar.
_QUANTILES = (0.002, 0.998)

#: Kind of probe -> question, remark, and whether an answer is good or bad in itself.
_QUESTIONS = {
    "class_from_file": (
        "Can the class be told from the file, before it is decoded?",
        "By width, height, bytes and compression. From 0.63 on slightly, from 0.70 strongly, from 0.90 severely.",
        True,
    ),
    "class_from_pixels": (
        "Can the class be told from brightness, contrast, sharpness and colour alone?",
        "That may be honest, where classes are photographed in different surroundings: dogs on grass, cats on sofas.",
        False,
    ),
    "source_from_file": ("Can the source be told from the file, among images of one class?", "By the same facts.", True),
    "source_from_pixels": (
        "Can the source be told from brightness, contrast, sharpness and colour, among images of one class?",
        "Only how the pictures were processed can tell it, and a network sees that too.",
        True,
    ),
}


def measure_sizes(manifest: pd.DataFrame) -> list[dict[str, Any]]:
    """Histograms of each measure, a row for each source, on a common logarithmic axis; positions are shares of width and height, 0 to 1."""
    readable = manifest[manifest["width"].notna()]
    sources = readable["source"].value_counts().head(_MOST_SOURCES).sort_index().index
    return [_make_panel(readable, measure, title, list(sources)) for measure, title in _MEASURES.items()]


def _make_panel(readable: pd.DataFrame, measure: str, title: str, sources: list[str]) -> dict[str, Any]:
    values = readable[measure].to_numpy(np.float64)
    low, high = np.quantile(values, _QUANTILES)
    # A collection of one size gets a bar in the middle.
    low, high = (low / 1.5, high * 1.5) if high < 1.5 * low else (low, high)
    edges = np.geomspace(low, high, _NUM_BINS + 1)
    own = {source: values[(readable["source"] == source).to_numpy()] for source in sources}
    shares = {source: np.histogram(np.clip(part, low, high), edges)[0] / len(part) for source, part in own.items()}
    top = max(float(part.max()) for part in shares.values())
    rows = [
        {
            "source": source,
            "count": len(part),
            "median": int(np.median(part)),
            "low": int(part.min()),
            "high": int(part.max()),
            "bars": [{"x": bar / _NUM_BINS, "height": float(share) / top} for bar, share in enumerate(shares[source]) if share > 0],
        }
        for source, part in own.items()
    ]
    ticks = [{"x": float(np.log(tick / low) / np.log(high / low)), "label": _shorten(tick)} for tick in _choose_ticks(low, high)]
    return {"title": title, "bar_width": 1 / _NUM_BINS, "rows": rows, "ticks": ticks}


def _choose_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two values, at most five."""
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**power for power in range(10) for step in steps if low <= step * 10.0**power <= high]
        if len(ticks) <= 5:
            return ticks
    return ticks[:: len(ticks) // 4]


def _shorten(value: float) -> str:
    for size, suffix in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{suffix}"
    return f"{value:g}"


def draw_audit(audit: dict[str, Any]) -> list[dict[str, Any]]:
    """The questions of the audit with their answers; `length` is the share of the way from guessing to certainty."""
    questions = []
    for kind, (text, remark, is_judged) in _QUESTIONS.items():
        answers = [
            {
                "scope": f"only {name.partition('.')[2]}" if "." in name else "all images",
                "auc": probe["auc"],
                "n": probe["n"],
                "length": max(0.0, 2 * probe["auc"] - 1),
                "level": next(level for least, level in LEVELS if probe["auc"] >= least) if is_judged else "plain",
            }
            for name, probe in audit["probes"].items()
            if name.partition(".")[0] == kind
        ]
        if answers:
            questions.append({"text": text, "remark": remark, "answers": answers})
    return questions
