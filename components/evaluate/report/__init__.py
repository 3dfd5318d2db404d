"""An evaluation as one page for people: `report.html`.

In: what `metrics.json` holds, the leaderboard and the winner's figures. Out: one HTML file with all of it; nothing is measured here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from components.common.metrics import state_count
from components.common.pages import inline_picture, render_page
from components.evaluate.report.words import list_findings, list_metrics, list_slices

PAGE = "report.html"
_MOST_CANDIDATES = 24


def write_page(summary: dict[str, Any], table: pd.DataFrame, figures: Path, path: Path) -> None:
    """Write the page.

    Args:
        summary: What `metrics.json` holds.
        table: The leaderboard.
        figures: Folder of the winner's.
        path: HTML file to write.
    """
    winner = summary["candidates"][summary["winner"]]
    page = render_page(
        "components.evaluate.report",
        "page.html",
        summary=summary,
        winner=winner,
        headline=state_count(winner["headline"]["accuracy"]),
        findings=list_findings(summary),
        parts=[
            {"name": name, "rows": list_metrics(winner[key])}
            for name, key in (
                ("Headline", "headline"),
                ("All test images", "test"),
                ("Out of fold, all splits", "out_of_fold"),
                ("Validation, which chose the winner", "validation"),
            )
            if winner[key]
        ],
        slices=list_slices(winner["slices"], summary["measures"]),
        leaderboard=table.head(_MOST_CANDIDATES).to_dict("records"),
        num_more=max(0, len(table) - _MOST_CANDIDATES),
        pictures={file.stem: inline_picture(file) for file in sorted(figures.glob("*.png"))},
    )
    path.write_text(page)
