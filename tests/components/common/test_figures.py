from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from components.common.figures import save_contact_sheet


def test_the_words_of_a_caption_stand_apart(tmp_path: Path) -> None:
    save_contact_sheet([np.full((8, 8, 3), 255, np.uint8)], ["o o"], tmp_path / "sheet.png", columns=1)
    with Image.open(tmp_path / "sheet.png") as sheet:
        columns = np.flatnonzero((np.asarray(sheet.convert("L")) < 200).any(axis=0))
    assert len(columns) > 1
    assert np.diff(columns).max() >= 4
