"""The sample: drawings in place of photos, packed as Kaggle packs its archives.

In: the name of an archive, how many sound labelled drawings it should hold and a seed. Out: a zip file with the names, nesting and
tables of the real one. It exists because the photos may not be redistributed: tests and the first run need archives that can be made
anywhere, and everything after the download treats them like the real ones.

Real archives have flaws, so these have each of the following once. `num_images` counts the drawings that a careful reader can use;
files that should be dropped come on top of them, files that are merely stored in an odd way take the place of a plain one. ("dvc" is
dogs-vs-cats, "breeds" is dog-breed-identification.)

| flaw             | what it is                                                              | place             | archives |
|------------------|-------------------------------------------------------------------------|-------------------|----------|
| `truncated`      | a copy of a file that ends after 60 % of its bytes                      | on top            | both     |
| `empty`          | a file of zero bytes                                                    | on top            | both     |
| `duplicate`      | the bytes of another file of the class, under a name of its own         | on top            | both     |
| `near_duplicate` | another file of the class, 2 px smaller and recompressed                | on top            | both     |
| `png`            | a PNG whose name ends in .jpg                                           | of a plain one    | both     |
| `rotated`        | pixels on their side, with the EXIF orientation that puts them upright  | of a plain one    | both     |
| `grayscale`      | a JPEG of one channel                                                   | of a plain one    | both     |
| `cmyk`           | a JPEG of four inks                                                     | of a plain one    | dvc      |
| missing          | a row of labels.csv without a file                                      | on top, no file   | breeds   |
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from components.common.errors import PawflowError
from components.common.progress import track
from components.download.packing import describe_member
from components.download.sources import anatomy, drawing
from components.download.sources.request import Provenance, Request

MIN_IMAGES = 24  # Room for every flaw among plain drawings, and for every breed.
JPEG_QUALITY = (60, 96)
NEAR_DUPLICATE_SHRINK = 2
TRUNCATED_SHARE = 0.6
UNLABELLED_SHARE, MIN_UNLABELLED = 0.02, 4

ORIENTATION_TAG, TURN_CLOCKWISE = 0x0112, 6


@dataclass(frozen=True)
class Photo:
    """One drawing before it becomes a file.

    Attributes:
        label: Its class or breed.
        image: RGB pixels.
        quality: JPEG quality, 0..100.
    """

    label: str
    image: Image.Image
    quality: int


def _encode(photo: Photo) -> bytes:
    return _save(photo.image, "JPEG", quality=photo.quality)


def _encode_png(photo: Photo) -> bytes:
    return _save(photo.image, "PNG")


def _encode_rotated(photo: Photo) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = TURN_CLOCKWISE
    return _save(photo.image.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=photo.quality, exif=exif)


def _encode_grayscale(photo: Photo) -> bytes:
    return _save(photo.image.convert("L"), "JPEG", quality=photo.quality)


def _encode_cmyk(photo: Photo) -> bytes:
    return _save(photo.image.convert("CMYK"), "JPEG", quality=photo.quality)


def _encode_truncated(photo: Photo) -> bytes:
    whole = _encode(photo)
    return whole[: int(TRUNCATED_SHARE * len(whole))]


def _encode_empty(_: Photo) -> bytes:
    return b""


def _encode_near_duplicate(photo: Photo) -> bytes:
    smaller = (photo.image.width - NEAR_DUPLICATE_SHRINK, photo.image.height - NEAR_DUPLICATE_SHRINK)
    quality = photo.quality - 8 if photo.quality > sum(JPEG_QUALITY) / 2 else photo.quality + 8
    return _save(photo.image.resize(smaller), "JPEG", quality=quality)


Encoder = Callable[[Photo], bytes]

ON_TOP: dict[str, Encoder] = {
    "truncated": _encode_truncated,
    "empty": _encode_empty,
    "duplicate": _encode,
    "near_duplicate": _encode_near_duplicate,
}
IN_PLACE: dict[str, Encoder] = {"png": _encode_png, "rotated": _encode_rotated, "grayscale": _encode_grayscale, "cmyk": _encode_cmyk}
NOT_IN_BREEDS = frozenset({"cmyk"})


def _save(image: Image.Image, file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def _generator(archive: str, seed: int, index: int) -> np.random.Generator:
    """Return the generator of one image: no image depends on how many there are, or on the order in which they are drawn."""
    return np.random.default_rng([seed, zlib.crc32(archive.encode()), index])


def _draw(kind: anatomy.Anatomy | None, label: str, rng: np.random.Generator) -> Photo:
    """Draw a photo of the given kind of animal; None is a dog of mixed breed."""
    image = drawing.draw_photo(kind or anatomy.cross_breeds(rng), rng)
    return Photo(label, image, int(rng.integers(*JPEG_QUALITY)))


def _place_flaws(flaws: list[str], num_images: int) -> dict[int, str]:
    """Return which flaw goes to which drawing: spread evenly, and on odd and even numbers in turn so that every class gets some."""
    step = num_images // (len(flaws) + 1)
    return {(rank + 1) * step // 2 * 2 + rank % 2: flaw for rank, flaw in enumerate(flaws)}


def _make_files(photos: Iterator[Photo], flaws: dict[int, str]) -> Iterator[tuple[str, bytes]]:
    """Yield label and content of each file: every drawing once, and what the flaws add to it."""
    for index, photo in enumerate(photos):
        flaw = flaws.get(index, "")
        yield photo.label, IN_PLACE.get(flaw, _encode)(photo)
        if flaw in ON_TOP:
            yield photo.label, ON_TOP[flaw](photo)


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(describe_member(name), content)


def _write_dogs_vs_cats(archive: zipfile.ZipFile, num_images: int, seed: int) -> None:
    """Kaggle's Dogs vs. Cats: train.zip with `train/<class>.<number>.jpg`, test1.zip with unlabelled `test1/<number>.jpg`."""
    name = "dogs-vs-cats"
    kinds = (("cat", anatomy.CAT), ("dog", None))

    def draw(index: int) -> Photo:
        label, kind = kinds[index % len(kinds)]
        return _draw(kind, label, _generator(name, seed, index))

    counts = {label: 0 for label, _ in kinds}
    train, test = io.BytesIO(), io.BytesIO()
    photos = (draw(index) for index in track(range(num_images), f"drawing {name}", total=num_images, unit="image"))
    with zipfile.ZipFile(train, "w") as members:
        for label, content in _make_files(photos, _place_flaws([*IN_PLACE, *ON_TOP], num_images)):
            _add(members, f"train/{label}.{counts[label]}.jpg", content)
            counts[label] += 1
    num_unlabelled = max(MIN_UNLABELLED, round(UNLABELLED_SHARE * num_images))
    with zipfile.ZipFile(test, "w") as members:
        for number in range(1, num_unlabelled + 1):
            _add(members, f"test1/{number}.jpg", _encode(draw(num_images + number)))
    _add(archive, "train.zip", train.getvalue())
    _add(archive, "test1.zip", test.getvalue())


def _write_dog_breeds(archive: zipfile.ZipFile, num_images: int, seed: int) -> None:
    """Kaggle's Dog Breed Identification: labels.csv with `id,breed` and `train/<id>.jpg`, the id being 32 hex digits."""
    name = "dog-breed-identification"
    breeds = list(anatomy.BREEDS)

    def draw(index: int) -> Photo:
        breed = breeds[index % len(breeds)]
        return _draw(anatomy.BREEDS[breed], breed, _generator(name, seed, index))

    def identify_file(number: int) -> str:
        return hashlib.blake2b(f"{name}/{seed}/{number}".encode(), digest_size=16).hexdigest()

    rows: list[tuple[str, str]] = []
    flaws = [flaw for flaw in [*IN_PLACE, *ON_TOP] if flaw not in NOT_IN_BREEDS]
    photos = (draw(index) for index in track(range(num_images), f"drawing {name}", total=num_images, unit="image"))
    for breed, content in _make_files(photos, _place_flaws(flaws, num_images)):
        rows.append((identify_file(len(rows)), breed))
        _add(archive, f"train/{rows[-1][0]}.jpg", content)
    rows.append((identify_file(len(rows)), breeds[0]))  # The row without a file.
    table = io.StringIO(newline="")
    csv.writer(table, lineterminator="\n").writerows([("id", "breed"), *sorted(rows)])
    _add(archive, "labels.csv", table.getvalue().encode())


LAYOUTS: dict[str, Callable[[zipfile.ZipFile, int, int], None]] = {
    "dogs-vs-cats": _write_dogs_vs_cats,
    "dog-breed-identification": _write_dog_breeds,
}


def write_archive(name: str, path: Path, *, num_images: int, seed: int) -> None:
    """Write a generated archive; equal arguments give equal bytes with the same versions of Pillow and numpy.

    Args:
        name: A key of `LAYOUTS`.
        path: The zip file to write; its folder exists.
        num_images: Sound labelled drawings; the module's table says what comes on top. At least `MIN_IMAGES`.
        seed: Not negative.

    Raises:
        PawflowError: The name is unknown, or `num_images` is too small.
    """
    if name not in LAYOUTS:
        raise PawflowError(f"there is no sample of {name!r}; expected {' or '.join(LAYOUTS)}. Correct the source's name or its provider.")
    if num_images < MIN_IMAGES:
        raise PawflowError(
            f"a sample of {num_images} images is too small; expected at least {MIN_IMAGES}. Raise num_images of source {name!r}."
        )
    with zipfile.ZipFile(path, "w") as archive:
        LAYOUTS[name](archive, num_images, seed)


def identify(request: Request) -> dict[str, object]:
    """What the drawings follow from, next to the code and its libraries, which the cache knows of."""
    return {"num_images": request.source.num_images, "seed": request.seed}


def fetch(request: Request, folder: Path) -> Provenance:
    """Draw the archive into `folder`."""
    name, file = request.source.name, f"{request.source.name}.zip"
    write_archive(name, folder / file, num_images=request.source.num_images, seed=request.seed)
    return Provenance(file, origin=f"drawn by pawflow with seed {request.seed}", terms="generated; free to use", generated=True)
