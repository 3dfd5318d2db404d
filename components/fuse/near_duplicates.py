"""Photos that show the same picture although their bytes differ: resized, recompressed, brightened, or slightly cut.

In: the 64-bit perceptual hash of every image and access to their stored squares. Out: pairs of images. Two photos of which one is known
predict each other's label, so such a pair must not lie in two splits.

Hashes propose and pixels decide. Two hashes at most 7 bits apart have one of their four 16-bit bands at most one bit apart, so looking up
each band, as it is and with each of its bits flipped, finds every such pair (multi-index hashing, Norouzi et al. 2012) without comparing
all with all. Memory is linear in the number of images.

Both limits were chosen on the 23,000 photos of `dogs-vs-cats-96px.zip`, where all 264 million pairs were compared on pixels: 31 pairs
differ by at most 0.049, the next one, of two different animals, by 0.255. All 31 have hashes at most 4 bits apart, and of the pairs at
most 7 bits apart none is a false one. On 143 photos, copies recompressed at quality 30, halved, greyed, darkened by 30 % or two pixels
smaller differ by at most 0.025, and their hashes by 2 bits; copies brightened by 30 %, whose whites are cut off, by 0.147 in the 95th
percentile, and by 6 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.fuse.hashing import Hashes
from serving.images import Pixels

Rows = NDArray[np.int64]

#: Most bits in which the hashes of a pair differ; four bands with one flipped bit each find no more than this for certain.
RADIUS = 7
#: Largest mean absolute difference of two signatures, in standard deviations of their grey levels.
LARGEST_DIFFERENCE = 0.15

_NUM_BANDS, _BAND_BITS = 4, 16
_FLIPS = (0, *(1 << bit for bit in range(_BAND_BITS)))
#: Most partners that a hash is compared with in one bucket. Real photos share a band with a dozen others in 23,000.
_LARGEST_BUCKET = 1024
#: Of many images with one hash (blank ones, say), each is compared with the first and with this many of its neighbours.
_WINDOW = 32
_PAIRS_AT_ONCE = 1 << 20
_SIGNATURE_SIDE = 16
_READ_AT_ONCE, _COMPARED_AT_ONCE = 512, 1 << 14
#: A blank image has no contrast to scale to; noise below this many grey levels stays noise.
_LEAST_CONTRAST = 4.0


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        pairs: Rows of near-duplicates, shape (n, 2), the smaller row first, each pair once.
        differences: Of each pair on pixels, shape (n,).
        num_candidates: Pairs whose hashes are close, which were compared on pixels.
        num_capped: Hashes in buckets too large to be compared in full; 0 means that the search was exact.
    """

    pairs: Rows
    differences: NDArray[np.float32]
    num_candidates: int
    num_capped: int


def find_near_duplicates(hashes: Hashes, read: Callable[[Rows], Pixels]) -> Search:
    """Find all pairs of images that show the same picture.

    Args:
        hashes: 64-bit perceptual hashes, shape (n,).
        read: Returns the stored squares of given rows, uint8 (n, size, size, 3).
    """
    distinct, hash_of = np.unique(hashes, return_inverse=True)
    order = np.argsort(hash_of, kind="stable")
    starts = np.searchsorted(hash_of[order], np.arange(len(distinct) + 1))
    close, num_capped = find_close_hashes(distinct)
    pairs = [*_pair_same_hash(order, starts), *_pair_close_hashes(order, starts, close)]
    candidates = np.unique(np.sort(np.concatenate([np.empty((0, 2), np.int64), *pairs]), axis=1), axis=0)
    differences = compare(candidates, read)
    same = differences <= LARGEST_DIFFERENCE
    crowded = int((np.diff(starts) > _WINDOW).sum())
    return Search(candidates[same], differences[same], len(candidates), num_capped + crowded)


def summarise(search: Search) -> dict[str, object]:
    """A search in figures, for the report."""
    clustered = len(np.unique(search.pairs))
    return {"pairs": len(search.pairs), "images": clustered, "compared_on_pixels": search.num_candidates, "capped": search.num_capped}


def find_close_hashes(distinct: Hashes) -> tuple[Rows, int]:
    """Pairs of hashes at most `RADIUS` bits apart.

    Args:
        distinct: Hashes without repetition, shape (n,).

    Returns:
        Pairs of rows, shape (m, 2), possibly repeated; and how many hashes had more partners in a bucket than are looked at.
    """
    found, num_capped = [np.empty((0, 2), np.int64)], 0
    for band in range(_NUM_BANDS):
        values = (distinct >> np.uint64(band * _BAND_BITS)).astype(np.uint16).astype(np.int64)
        order = np.argsort(values, kind="stable")
        counts = np.bincount(values, minlength=1 << _BAND_BITS)
        starts = np.cumsum(counts) - counts
        num_capped += int(counts[counts > _LARGEST_BUCKET].sum())
        for flip in _FLIPS:
            # Every hash looks at the bucket of its flipped band; of each two buckets, only the lower one looks.
            position = np.arange(len(distinct))[values[order] <= values[order] ^ flip]
            partner = values[order[position]] ^ flip
            first = position + 1 if flip == 0 else starts[partner]
            number = np.minimum(starts[partner] + counts[partner] - first, _LARGEST_BUCKET)
            for left, right in _expand(position, first, number):
                near = np.bitwise_count(distinct[order[left]] ^ distinct[order[right]]) <= RADIUS
                found.append(np.column_stack([order[left[near]], order[right[near]]]))
    return np.concatenate(found), num_capped


def compare(pairs: Rows, read: Callable[[Rows], Pixels]) -> NDArray[np.float32]:
    """Difference of each pair of images in `pairs`, shape (n, 2): 0 for the same picture, about 1.1 for unrelated ones."""
    rows, place = np.unique(pairs, return_inverse=True)
    place = place.reshape(-1, 2)
    # Of each image once, however many others it resembles: 1 kB.
    signatures = np.empty((len(rows), _SIGNATURE_SIDE**2), np.float32)
    for start in range(0, len(rows), _READ_AT_ONCE):
        part = slice(start, start + _READ_AT_ONCE)
        signatures[part] = [describe(pixels) for pixels in read(rows[part])]
    differences = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), _COMPARED_AT_ONCE):
        part = slice(start, start + _COMPARED_AT_ONCE)
        one, other = signatures[place[part, 0]], signatures[place[part, 1]]
        differences[part] = np.abs(one - other).mean(axis=1)
    return differences


def describe(pixels: Pixels) -> NDArray[np.float32]:
    """The picture without its size, colour, brightness and contrast: 16 x 16 grey levels, standardised, shape (256,)."""
    small = Image.fromarray(pixels).convert("L").resize((_SIGNATURE_SIDE, _SIGNATURE_SIDE), Image.Resampling.BOX)
    grey = np.asarray(small, np.float32).ravel()
    grey = grey - grey.mean()
    return np.asarray(grey / max(float(grey.std()), _LEAST_CONTRAST), np.float32)


def _expand(position: Rows, first: Rows, number: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Yield (position, partner) for `number` consecutive partners from `first` on, at most about `_PAIRS_AT_ONCE` together."""
    block = np.cumsum(number) // _PAIRS_AT_ONCE
    for part in np.split(np.arange(len(position)), np.flatnonzero(np.diff(block)) + 1):
        repeated = number[part]
        offset = np.arange(repeated.sum()) - np.repeat(np.cumsum(repeated) - repeated, repeated)
        yield np.repeat(position[part], repeated), np.repeat(first[part], repeated) + offset


def _pair_same_hash(order: Rows, starts: Rows) -> Iterator[Rows]:
    """Each image with the next ones of its hash, and with the first one."""
    run = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    first = starts[run]
    yield np.column_stack([order[first], order])[first != np.arange(len(order))]
    for step in range(1, min(_WINDOW, int(np.diff(starts).max(initial=0))) + 1):
        same = run[step:] == run[:-step]
        yield np.column_stack([order[:-step][same], order[step:][same]])


def _pair_close_hashes(order: Rows, starts: Rows, close: Rows) -> Iterator[Rows]:
    """The first few images of each hash with those of the close one."""
    close = np.unique(np.sort(close, axis=1), axis=0)
    most = min(_WINDOW, int(np.diff(starts).max(initial=0)))
    for left in range(most):
        for right in range(most):
            exists = (starts[close[:, 0]] + left < starts[close[:, 0] + 1]) & (starts[close[:, 1]] + right < starts[close[:, 1] + 1])
            chosen = close[exists]
            yield np.column_stack([order[starts[chosen[:, 0]] + left], order[starts[chosen[:, 1]] + right]])
