"""Photos answered by a champion, one after the other or by the thousand: from files, folders and archives, to lines of text or a CSV file.

In: paths. Out: an answer for each photo in order, computed on all cores. What cannot be read has an error in place of an answer.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from components.common.archives import open_archive, read_file
from components.common.errors import PawflowError
from components.common.parallel import map_on_all_cores
from serving.images import UnreadableImageError
from serving.predictor import Predictor

#: In this order Dogs vs. Cats numbers its classes.
_KAGGLE_CLASSES = ("cat", "dog")
_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz")

Photo: TypeAlias = tuple[str, Callable[[], bytes]]


@dataclass(frozen=True)
class Answered:
    """What came of one photo.

    Attributes:
        photo: Its path; below its archive's, if it is in one.
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
                    photo = str(path / name)
                    # Read here, since an archive hands out one stream at a time.
                    try:
                        yield photo, partial(bytes, read_file(archive, name))
                    except PawflowError as error:
                        yield photo, partial(_raise, error)
        else:
            yield str(path), path.read_bytes


def _raise(error: PawflowError) -> bytes:
    raise error


def write_csv(answered: Iterable[Answered], classes: Sequence[str], path: Path) -> Iterator[Answered]:
    """Write a table while answers pass through, of which photos without an answer are left out.

    Cats and dogs make Kaggle's submission to Dogs vs. Cats: `id`, the photo's name without folder and ending, and `label`, 0 for a cat,
    1 for a dog. Other classes make `path`, `label` and `probability`.

    Args:
        answered: What to write.
        classes: Of the model.
        path: File to write, and its folder; there once all is in it.

    Raises:
        PawflowError: It cannot be written there, or two photos have one id.
    """
    is_submission = tuple(classes) == _KAGGLE_CLASSES
    ids: dict[str, str] = {}
    with _open_unfinished(path) as stream:
        rows = csv.writer(stream)
        rows.writerow(["id", "label"] if is_submission else ["path", "label", "probability"])
        for one in answered:
            if one.answer is not None:
                label, name = one.answer["label"], Path(one.photo).stem
                if is_submission and name in ids:
                    raise PawflowError(
                        f"{ids[name]} and {one.photo} would both be {name!r} in Kaggle's table of cats and dogs; "
                        "give photos names that differ, write a table for each folder, or print with --json, which has paths"
                    )
                ids[name] = one.photo
                rows.writerow([name, classes.index(label)] if is_submission else [one.photo, label, one.answer["probability"]])
            yield one
    Path(stream.name).replace(path)


def _open_unfinished(path: Path) -> TextIO:
    if path.is_dir():
        raise PawflowError(f"{path} is a folder; expected the name of the file to write, such as {path / 'answers.csv'}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.with_name(f".{path.name}.unfinished").open("w", newline="")
    except OSError as error:
        raise PawflowError(f"{path} cannot be written: {error.strerror}; name another place") from error
