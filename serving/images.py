"""The one decoder and resizer of the project: encoded bytes in, a square of RGB pixels out.

Training fills its shards through this module and serving feeds its network through it, so a photo is the same tensor in both. It
lives in `serving` because it travels with every registered model, and depends on Pillow and NumPy alone.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

Pixels = NDArray[np.uint8]

#: Largest image that is decoded, in pixels: twice a 60-megapixel camera's.
MAX_PIXELS = 120_000_000
#: Longest side, in pixels: the longest that a JPEG file can have. Decoding time grows with the square of a longer row.
MAX_SIDE = 65_535

#: Decoders that may see untrusted bytes; JPEG includes the multi-picture files of phones. Everything else that Pillow can open
#: (PostScript, say) is refused.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")

# Pillow warns of oversized images before they are refused below with a better message, and of damage that hardly matters. Once and for
# all: filters belong to the process, and setting them while one photo is read would disturb the threads that read others.
warnings.filterwarnings("ignore", module=r"PIL\.")

#: Decoding that needs more memory than this waits its turn where memory is limited, in bytes.
_LARGE_DECODE = 32_000_000
_one_large_decode = threading.Lock()
#: What an image and its turning or conversion to RGB take, by Pillow's mode; others are converted in several passes.
_BYTES_PER_PIXEL = {"RGB": 8, "CMYK": 8, "YCbCr": 8, "L": 5, "P": 5, "1": 5}


class UnreadableImageError(ValueError):
    """The bytes are not an image that can be decoded in full; the message says why, in plain words."""


@dataclass(frozen=True)
class Photo:
    """One decoded image.

    Attributes:
        pixels: uint8 RGB, shape (size, size, 3), upright.
        width: Of the encoded image as displayed (after EXIF rotation), in pixels.
        height: Likewise.
        mode: Pillow's name of the encoded pixel format ("RGB", "L", "CMYK", ...).
        format: Pillow's name of the file format ("JPEG", "PNG", ...).
        has_exif: Whether the file carries EXIF entries.
        tables: Mean of each JPEG quantisation table; empty for other formats.
    """

    pixels: Pixels
    width: int
    height: int
    mode: str
    format: str
    has_exif: bool = False
    tables: tuple[float, ...] = ()


_TILE_WIDTH, _TILE_LENGTH = 322, 323


def read_photo(data: bytes, size: int, resize: str = "squeeze", max_memory: int | None = None) -> Photo:
    """Decode `data` completely, turn it upright, and make it a square of `size` x `size` pixels.

    Args:
        data: The encoded file.
        size: Side of the square that is returned, in pixels.
        resize: How a photo becomes a square; a key of `RESIZERS`.
        max_memory: Bytes that decoding may take, about; photos that come near take turns. None for no limit.

    Raises:
        UnreadableImageError: The bytes are no image, a truncated one, one of a format that is not accepted, or one too large.
    """
    if not data:
        raise UnreadableImageError("the file is empty (0 bytes); expected a photo such as a JPEG or PNG file")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return _decode(image, size, RESIZERS[resize], max_memory)
    except UnreadableImageError:
        raise
    except UnidentifiedImageError:
        raise UnreadableImageError(f"the {len(data):,} bytes are not an image in any accepted format ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise UnreadableImageError(f"the image has more than {MAX_PIXELS:,} pixels") from None
    except MemoryError:
        raise UnreadableImageError("the image needs more memory than there is") from None
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more on broken files.
        raise UnreadableImageError(f"the image is damaged and cannot be decoded in full ({error})") from None


def _decode(image: Image.Image, size: int, resize: Resizer, max_memory: int | None) -> Photo:
    file_format, mode = image.format or "unknown", image.mode
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImageError(f"the image has {image.width:,} x {image.height:,} pixels; at most {MAX_PIXELS:,} in all are accepted")
    if _measure_tile(image) > MAX_PIXELS:
        raise UnreadableImageError(f"a tile of the image has {_measure_tile(image):,} pixels; at most {MAX_PIXELS:,} are accepted")
    if max(image.size) > MAX_SIDE:
        raise UnreadableImageError(f"the image has {image.width:,} x {image.height:,} pixels; sides of at most {MAX_SIDE:,} are accepted")
    width, height = image.size
    tables = tuple(sum(table) / len(table) for _, table in sorted(getattr(image, "quantization", {}).items()))
    # A large JPEG is decoded at a half, a quarter or an eighth of its size, never below twice the size that is wanted.
    image.draft(None, (2 * size, 2 * size))
    memory = _estimate_memory(image, width * height)
    if max_memory is not None and memory > max_memory:
        raise UnreadableImageError(
            f"decoding this {file_format} of {width:,} x {height:,} pixels takes about {memory / 1e6:,.0f} MB of memory, and "
            f"{max_memory / 1e6:,.0f} MB are allowed; send it smaller, or as an ordinary JPEG"
        )
    turn = _one_large_decode if max_memory is not None and memory > _LARGE_DECODE else nullcontext()
    # Closing frees the pixels at once, before the next in turn takes as much.
    with turn, closing(image):
        # Of a PNG, this decodes all pixels already: the entries may come after them.
        exif = image.getexif()
        if exif.get(0x0112, 1) in (5, 6, 7, 8):
            width, height = height, width
        image.load()
        # Copies of a large image are dear, so it is turned in place, and left as it is where it needs no conversion.
        ImageOps.exif_transpose(image, in_place=True)
        square = resize(_to_rgb(image), size)
    return Photo(np.asarray(square), width, height, mode, file_format, bool(exif), tables)


def _estimate_memory(image: Image.Image, num_pixels: int) -> int:
    """Bytes that decoding takes at its peak, when Pillow holds an image and what it is being turned or converted to."""
    per_pixel = 20 if image.has_transparency_data else _BYTES_PER_PIXEL.get(image.mode, 20)
    # A decoder of WebP holds frames of its own.
    per_pixel = max(per_pixel, 16) if image.format == "WEBP" else per_pixel
    # A progressive JPEG is held in full, as coefficients of two bytes, whatever size comes out of it.
    coefficients = 6 * num_pixels if image.info.get("progressive") else 0
    return per_pixel * max(image.width * image.height, _measure_tile(image)) + coefficients


def _measure_tile(image: Image.Image) -> int:
    """Pixels of one tile of a TIFF, which is decoded whole, however little of it belongs to the image."""
    tags = getattr(image, "tag_v2", {})
    return int(tags.get(_TILE_WIDTH, 0)) * int(tags.get(_TILE_LENGTH, 0))


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB; transparent pixels become white, as on a page, and 16-bit greys keep their contrast."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        grey = np.array(image, dtype=np.float32)
        # Floats are by custom from 0 to 1, but some are levels.
        brightest = grey.max()
        # Some are no numbers.
        with np.errstate(invalid="ignore"):
            grey /= 65535.0 if brightest > 255 else 1.0 if image.mode == "F" and brightest <= 1 else 255.0
            np.clip(grey, 0, 1, out=grey)
            grey *= 255
            return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _squeeze(image: Image.Image, size: int) -> Image.Image:
    """All of the photo, its aspect lost."""
    return image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0)


def _pad(image: Image.Image, size: int) -> Image.Image:
    """All of the photo with its aspect kept, on middle grey, which is zero to a network that scales to -1..1."""
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    square = Image.new("RGB", (size, size), (128, 128, 128))
    inside = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    square.paste(inside, ((size - width) // 2, (size - height) // 2))
    return square


def _crop_centre(image: Image.Image, size: int) -> Image.Image:
    """The largest square in the middle of the photo, its aspect kept."""
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return image.resize((size, size), Image.Resampling.BILINEAR, (left, top, left + side, top + side), reducing_gap=2.0)


Resizer = Callable[[Image.Image, int], Image.Image]

#: How a photo becomes a square. Stored models name the one that they were trained with.
RESIZERS: dict[str, Resizer] = {
    "squeeze": _squeeze,
    "pad": _pad,
    "centre_crop": _crop_centre,
}
