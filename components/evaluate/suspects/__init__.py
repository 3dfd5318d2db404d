"""Images whose label may be wrong, for a person to decide upon: `suspects.csv`, and `suspects.html`, which writes a `decisions.yaml`.

In: what a `frozen` candidate says of images that its heads had not seen, and the suspects and decisions that the dataset tells of. Nothing
is changed here: fuse applies decisions in the next run.
"""

from components.evaluate.suspects.finding import SUSPECTS_FILE, count_suspects, find_suspects, read_suspects
from components.evaluate.suspects.flagged import Flagged, read_flagged
from components.evaluate.suspects.page import PAGE, write_page

__all__ = ["PAGE", "SUSPECTS_FILE", "Flagged", "count_suspects", "find_suspects", "read_flagged", "read_suspects", "write_page"]
