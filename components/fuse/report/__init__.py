"""A dataset as one page for people: `report.html`.

In: a finished dataset folder. Out: one HTML file that needs no other, no network and no script. What it shows was counted and decided by
fusion; nothing is decided here. Lists and thumbnails are capped, so the page stays small whatever the size of the data.
"""

from __future__ import annotations

from pathlib import Path

from components.common.album import Album
from components.common.dataset import Dataset
from components.common.pages import render_page
from components.fuse.report.counts import count_headline, group_left_out, list_findings, tabulate_splits
from components.fuse.report.figures import draw_audit, measure_sizes
from components.fuse.report.pictures import lay_out_sheets, show_conflicts, show_copies, show_doubtful, show_near_duplicates

PAGE = "report.html"


def write_page(dataset: Dataset, path: Path) -> None:
    """Write the page.

    Args:
        dataset: What it is about.
        path: HTML file to write.

    Raises:
        PawflowError: The dataset was made by a version that did not keep what the page tells.
    """
    manifest, report, album = dataset.manifest, dataset.report, Album(dataset)
    audit = report["audit"]
    assert isinstance(audit, dict)
    page = render_page(
        "components.fuse.report",
        "page.html",
        report=report,
        headline=count_headline(dataset),
        findings=list_findings(dataset),
        splits=tabulate_splits(manifest),
        questions=draw_audit(audit),
        panels=measure_sizes(manifest),
        sheets=lay_out_sheets(manifest, album),
        conflicts=show_conflicts(dataset, album),
        near_duplicates=show_near_duplicates(dataset, album),
        copies=show_copies(manifest, album),
        left_out=group_left_out(manifest, album),
        doubtful=show_doubtful(dataset, album),
    )
    path.write_text(page)
