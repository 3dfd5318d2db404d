"""Photos answered by a champion, one after the other or by the thousand: from files, folders and archives, to lines of text or a CSV file.

In: paths. Out: an answer for each photo in order, computed on all cores. What cannot be read has an error in place of an answer.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from components.common.archives import open_archive, read_file
from components.common.errors import PawflowError
from components.common.parallel import map_on_all_cores
from serving.images import UnreadableImageError
from serving.predictor import Predictor

_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz")

Photo: TypeAlias = tuple[str, Callable[[], bytes]]


@dataclass(frozen=True)
class Answered:
    """What came of one photo.

    Attributes:
        photo: Its path, inside its archive if it is in one.
        answer: As `Predictor.predict` gives it; None if there is none.
        error: Why there is none.
    """

    photo: str
    answer: dict[str, Any] | None = None
    error: str = ""


def answer_photos(paths: Sequence[Path], predictor: Predictor) -> Iterator[Answered]:
    """Answer every photo in `paths`: photos, folders of them, or zip and tar archives.

    Raises:
        PawflowError: An archive cannot be opened or is refused.
    """

    def answer(photo: Photo) -> Answered:
        name, read = photo
        try:
            return Answered(name, predictor.predict(read()))
        except FileNotFoundError:
            return Answered(name, error="there is no such photo, folder or archive")
        except OSError as error:
            return Answered(name, error=f"it cannot be read: {error.strerror}")
        except (UnreadableImageError, PawflowError) as error:
            return Answered(name, error=str(error))

    return map_on_all_cores(answer, _list_photos(paths))


def _list_photos(paths: Iterable[Path]) -> Iterator[Photo]:
    for path in paths:
        if (path.is_file() and path.suffix.lower() in _ARCHIVES) or path.is_dir():
            with open_archive(path) as archive:
                if not archive.sizes:
                    yield str(path), partial(_raise, PawflowError("it holds no file; expected photos, or folders of them"))
                for name in archive.sizes:
                    # Read here, since an archive hands out one stream at a time.
                    try:
                        yield name, partial(bytes, read_file(archive, name))
                    except PawflowError as error:
                        yield name, partial(_raise, error)
        else:
            yield str(path), path.read_bytes


def _raise(error: PawflowError) -> bytes:
    raise error


def write_submission(answered: Iterable[Answered], classes: Sequence[str], path: Path) -> Iterator[Answered]:
    """Write Kaggle's submission file while answers pass through: `id`, the photo's name without folder and ending, and `label`.

    Args:
        answered: What to write; photos without an answer are left out.
        classes: Of the model. With two, the label is a number, as Dogs vs. Cats asks for: 0 the first (cat), 1 the second (dog); with
            more it is a name.
        path: File to write; there once all is in it.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["id", "label"])
        for one in answered:
            if one.answer is not None:
                label = one.answer["label"]
                rows.writerow([Path(one.photo).stem, classes.index(label) if len(classes) == 2 else label])
            yield one
    unfinished.replace(path)
