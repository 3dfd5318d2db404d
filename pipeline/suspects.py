"""The page of labels in doubt, made once more from a finished run, with the photos that people flagged."""

from __future__ import annotations

import json
from pathlib import Path

from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.files import METRICS_FILE
from components.evaluate.suspects import SUSPECTS_FILE, read_flagged, read_suspects, write_page


def write_suspects(dataset: Dataset, evaluation: Path, flagged: Path | None, path: Path) -> str:
    """Write the page.

    Args:
        dataset: Of the run.
        evaluation: Output of the evaluate step of the same run.
        flagged: Folder of flagged photos, if they are to be on the page.
        path: HTML file to write.

    Returns:
        What is on it, in words.

    Raises:
        PawflowError: No candidate of the run says anything of images that it had not learned from.
    """
    summary = json.loads((evaluation / METRICS_FILE).read_text())
    if "suspects" not in summary:
        raise PawflowError(f"an earlier version of this project made {evaluation}; run the recipe again, which reuses what it can")
    counts = summary["suspects"]
    if counts is None:
        raise PawflowError(
            f"no candidate of this run ({', '.join(summary['candidates'])}) is `frozen`, and only such a one is trained anew fast enough "
            "to judge images that it has not learned from. Add one to the recipe's candidates, such as "
            "{name: lite0_frozen, architecture: efficientnet_lite0, mode: frozen}, and run it again"
        )
    photos = read_flagged(flagged) if flagged else []
    write_page(dataset, read_suspects(evaluation / SUSPECTS_FILE), counts["candidate"], path, photos)
    said = f"{counts['candidate']}, trained without them, calls {counts['called_otherwise']} of {counts['n']:,} images otherwise"
    known = f"; {counts['known']} are on the public list, {counts['both']} of them too" if counts["known"] else ""
    added = f", and {len(photos)} photos were flagged by people" if flagged else ""
    return f"{said}, {counts['confident']} of them with confidence{known}{added}. Undecided: {counts['undecided']}.\nwrote {path}"
