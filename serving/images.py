"""The one decoder and resizer of the project: encoded bytes in, a square of RGB pixels out.

Training fills its shards through this module and serving feeds its network through it, so a photo is the same tensor in both. It
lives in `serving` because it travels with every registered model, and depends on Pillow and NumPy alone.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

Pixels = NDArray[np.uint8]

#: Largest image that is decoded, in pixels: twice a 60-megapixel camera's.
MAX_PIXELS = 120_000_000

#: Decoders that may see untrusted bytes; JPEG includes the multi-picture files of phones. Everything else that Pillow can open
#: (PostScript, say) is refused.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")


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


def read_photo(data: bytes, size: int, resize: str = "squeeze") -> Photo:
    """Decode `data` completely, turn it upright, and make it a square of `size` x `size` pixels.

    Args:
        data: The encoded file.
        size: Side of the square that is returned, in pixels.
        resize: How a photo becomes a square; a key of `RESIZERS`.

    Raises:
        UnreadableImageError: The bytes are no image, a truncated one, one of a format that is not accepted, or one too large.
    """
    if not data:
        raise UnreadableImageError("the file is empty (0 bytes); expected a photo such as a JPEG or PNG file")
    try:
        with warnings.catch_warnings():
            # Pillow warns of oversized images before the check below can refuse them with a better message.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return _decode(image, size, RESIZERS[resize])
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


def _decode(image: Image.Image, size: int, resize: Resizer) -> Photo:
    file_format, mode = image.format or "unknown", image.mode
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImageError(f"the image has {image.width:,} x {image.height:,} pixels; at most {MAX_PIXELS:,} in all are accepted")
    width, height = image.size
    exif = image.getexif()
    tables = tuple(sum(table) / len(table) for _, table in sorted(getattr(image, "quantization", {}).items()))
    if exif.get(0x0112, 1) in (5, 6, 7, 8):
        width, height = height, width
    # A large JPEG is decoded at a half, a quarter or an eighth of its size, never below twice the size that is wanted.
    image.draft(None, (2 * size, 2 * size))
    image.load()
    upright = ImageOps.exif_transpose(image)
    square = resize(_to_rgb(upright), size)
    return Photo(np.asarray(square), width, height, mode, file_format, bool(exif), tables)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB; transparent pixels become white, as on a page, and 16-bit greys keep their contrast."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        grey = np.asarray(image, dtype=np.float32)
        top = 65535.0 if grey.max() > 255 else 255.0
        return Image.fromarray((np.clip(grey / top, 0, 1) * 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
    return image.convert("RGB")


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
