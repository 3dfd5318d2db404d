from __future__ import annotations

import io
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from serving import images as module
from serving.images import UnreadableImageError, read_photo
from serving.predictor import MAX_DECODING_MEMORY
from tests.processes import ROOT

TOP_LEFT_RED = np.zeros((64, 96, 3), np.uint8)
TOP_LEFT_RED[:32, :48, 0] = 255


def encode(pixels: np.ndarray, file_format: str = "PNG", mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, file_format, **options)
    return stream.getvalue()


def encode_floats(levels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, "TIFF")
    return stream.getvalue()


def red_corner(pixels: np.ndarray) -> tuple[int, int]:
    """(row, column) of the corner that is red: 0 or 1 each."""
    size = len(pixels)
    reds = {(row, column): int(pixels[row * (size - 1), column * (size - 1), 0]) for row in (0, 1) for column in (0, 1)}
    return max(reds, key=lambda corner: reds[corner])


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_every_accepted_format_is_read(file_format: str) -> None:
    photo = read_photo(encode(TOP_LEFT_RED, file_format), 32)
    assert (photo.width, photo.height, photo.format) == (96, 64, file_format)
    assert photo.pixels.shape == (32, 32, 3)
    assert photo.pixels.dtype == np.uint8
    assert red_corner(photo.pixels) == (0, 0)


@pytest.mark.parametrize(
    ("mode", "file_format"), [("L", "PNG"), ("1", "PNG"), ("P", "PNG"), ("LA", "PNG"), ("RGBA", "PNG"), ("CMYK", "JPEG"), ("I;16", "PNG")]
)
def test_every_pixel_format_becomes_rgb(mode: str, file_format: str) -> None:
    grey = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    image = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    stream = io.BytesIO()
    image.save(stream, file_format)
    photo = read_photo(stream.getvalue(), 32)
    assert photo.mode == mode
    assert photo.pixels[-2:].mean() > photo.pixels[:2].mean() + 150


@pytest.mark.parametrize("brightest", [1.0, 255.0])
def test_floats_are_levels_or_shares(brightest: float) -> None:
    pixels = read_photo(encode_floats(np.linspace(0, brightest, 64 * 64, dtype=np.float32).reshape(64, 64)), 32).pixels
    assert pixels[0].max() < 10
    assert pixels[-1].min() > 245


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (1, 1)), (6, (0, 1)), (8, (1, 0))])
def test_exif_orientation_is_applied(orientation: int, corner: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = read_photo(encode(TOP_LEFT_RED, "JPEG", exif=exif), 32)
    assert red_corner(photo.pixels) == corner
    assert (photo.width, photo.height) == ((64, 96) if orientation in (6, 8) else (96, 64))


def test_transparent_pixels_are_white() -> None:
    clear = np.zeros((16, 16, 4), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(clear).save(stream, "PNG")
    assert (read_photo(stream.getvalue(), 8).pixels == 255).all()


def test_a_large_jpeg_is_reduced_while_decoding_without_visible_change() -> None:
    ramp = np.linspace(0, 255, 1200, dtype=np.uint8)
    large = np.dstack([np.tile(ramp, (900, 1)), np.tile(ramp[:900, None], (1, 1200)), np.full((900, 1200), 90, np.uint8)])
    expected = np.asarray(Image.fromarray(large).resize((64, 64), Image.Resampling.BOX)).astype(int)
    found = read_photo(encode(large, "JPEG", quality=95), 64).pixels.astype(int)
    assert np.abs(found - expected).mean() < 2


def png_header(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"camera shy", "not an image in any accepted format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image in any accepted format"),
        (encode(TOP_LEFT_RED, "JPEG")[:-200], "damaged"),
        (encode(TOP_LEFT_RED, "PNG")[:-60], "damaged"),
        (png_header(60_000, 60_000), "60,000 x 60,000 pixels|more than"),
        (png_header(15_000, 9_000), "15,000 x 9,000 pixels"),
        (png_header(70_000, 1), "70,000 x 1 pixels; sides of at most 65,535"),
    ],
)
def test_what_cannot_be_decoded_is_refused_in_words(data: bytes, message: str) -> None:
    with pytest.raises(UnreadableImageError, match=message):
        read_photo(data, 32)


def test_random_damage_never_escapes_as_another_error() -> None:
    generator = np.random.default_rng(0)
    originals = [encode(TOP_LEFT_RED, file_format) for file_format in module.FORMATS]
    num_refused = 0
    for number in range(600):
        data = bytearray(originals[number % len(originals)])
        for position in generator.integers(0, len(data), 4):
            data[position] = generator.integers(0, 256)
        try:
            assert read_photo(bytes(data), 16).pixels.shape == (16, 16, 3)
        except UnreadableImageError:
            num_refused += 1
    assert num_refused > 50


@pytest.mark.parametrize(
    "data",
    [png_header(10_000, 9_000), encode_floats(np.array([[0, np.nan], [np.inf, 1]], np.float32))],
    ids=["very large", "no numbers"],
)
def test_nothing_is_said_of_a_strange_image_but_the_error(data: bytes) -> None:
    code = "import sys, serving.images as images\ntry: images.read_photo(sys.stdin.buffer.read(), 32)\nexcept ValueError: pass"
    # Without the settings of pytest.
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], input=data, capture_output=True, cwd=ROOT, check=True)
    assert done.stderr == b""


def test_reading_leaves_the_warnings_of_other_threads_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    filters: list[object] = []

    def note(image: Image.Image, size: int) -> Image.Image:
        filters.extend(warnings.filters)
        return image.resize((size, size))

    monkeypatch.setitem(module.RESIZERS, "note", note)
    read_photo(encode(TOP_LEFT_RED), 32, "note")
    assert filters == list(warnings.filters)


@pytest.mark.parametrize(("resize", "crc"), [("squeeze", 3269225341), ("pad", 1081944955), ("centre_crop", 1825734909)])
def test_truth_of_each_resize_mode_does_not_move(resize: str, crc: int) -> None:
    # Golden: training and serving share this function, and stored models rely on its pixels.
    ramp = np.arange(40 * 60 * 3, dtype=np.uint32).reshape(40, 60, 3)
    pixels = read_photo(encode((ramp * 7919 % 251).astype(np.uint8)), 16, resize).pixels
    assert zlib.crc32(pixels.tobytes()) == crc


def test_padding_shows_all_and_cropping_keeps_the_middle() -> None:
    wide = np.zeros((40, 80, 3), np.uint8)
    wide[:, :20, 0], wide[:, 20:60, 1], wide[:, 60:, 2] = 255, 255, 255
    padded = read_photo(encode(wide), 32, "pad").pixels
    assert (padded[:8] == 128).all()
    assert (padded[24:] == 128).all()
    assert padded[16, [2, 16, 29]].argmax(axis=1).tolist() == [0, 1, 2]
    cropped = read_photo(encode(wide), 32, "centre_crop").pixels
    assert (cropped.argmax(axis=2) == 1).all()
    tall = read_photo(encode(np.ascontiguousarray(wide.transpose(1, 0, 2))), 32, "centre_crop").pixels
    np.testing.assert_array_equal(tall, cropped.transpose(1, 0, 2))


@pytest.mark.parametrize("resize", module.RESIZERS)
@pytest.mark.parametrize(("width", "height"), [(1, 400), (400, 1), (3000, 20), (7, 7)])
def test_no_shape_is_too_extreme(resize: str, width: int, height: int) -> None:
    assert read_photo(encode(np.zeros((height, width, 3), np.uint8), "JPEG"), 32, resize).pixels.shape == (32, 32, 3)


def test_memory_is_limited_where_a_limit_is_set() -> None:
    black = Image.new("RGB", (3000, 3000))
    encoded = {}
    for name, options in (("PNG", {}), ("JPEG", {}), ("progressive", {"progressive": True})):
        stream = io.BytesIO()
        black.save(stream, "JPEG" if name == "progressive" else name, **options)
        encoded[name] = stream.getvalue()
    for name in ("PNG", "progressive"):
        assert read_photo(encoded[name], 32).width == 3000
        with pytest.raises(UnreadableImageError, match=r"of 3,000 x 3,000 pixels takes about .* MB .* and 20 MB are allowed"):
            read_photo(encoded[name], 32, max_memory=20_000_000)
    # An ordinary JPEG is reduced while it is decoded, so it takes little.
    assert read_photo(encoded["JPEG"], 32, max_memory=2_000_000).width == 3000
    stream = io.BytesIO()
    black.save(stream, "WEBP", lossless=True)
    with pytest.raises(UnreadableImageError, match="takes about 144 MB"):
        read_photo(stream.getvalue(), 32, max_memory=100_000_000)
    # Of twelve megapixels, as phones take them.
    stream = io.BytesIO()
    Image.new("RGB", (4000, 3000)).save(stream, "WEBP")
    assert read_photo(stream.getvalue(), 32, max_memory=MAX_DECODING_MEMORY).width == 4000


@pytest.mark.parametrize(
    ("height", "max_memory", "in_turn"),
    [(2001, MAX_DECODING_MEMORY, True), (2000, MAX_DECODING_MEMORY, False), (2001, None, False)],
    ids=["more than 32 MB", "32 MB", "without a limit"],
)
def test_where_memory_is_limited_large_photos_are_decoded_one_at_a_time(
    height: int, max_memory: int | None, in_turn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = encode(np.zeros((height, 2000, 3), np.uint8), compress_level=1)
    # Who is alone gives up soon; who is not has all the time that a busy machine takes.
    together = threading.Barrier(2, timeout=0.5 if in_turn else 60)

    def meet(image: Image.Image, size: int) -> Image.Image:
        together.wait()
        return image.resize((size, size))

    monkeypatch.setitem(module.RESIZERS, "meet", meet)
    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read_photo, photo, 32, "meet", max_memory) for _ in range(2)]
    assert [isinstance(reader.exception(), UnreadableImageError) for reader in readers] == [in_turn] * 2


def write_tiled_tiff(side: int, tile: int) -> bytes:
    """A grey TIFF of `side` pixels a side, in one tile that is far larger; what is in it does not matter."""
    data = zlib.compress(b"")
    fields = [(256, side), (257, side), (258, 8), (259, 8), (262, 1), (277, 1), (322, tile), (323, tile), (324, 8), (325, len(data))]
    offset = 8 + len(data)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
    return struct.pack("<2sHI", b"II", 42, offset) + data + struct.pack("<H", len(fields)) + entries + struct.pack("<I", 0)


def test_a_large_tile_makes_a_small_image_large() -> None:
    with pytest.raises(UnreadableImageError, match="of 64 x 64 pixels takes about 500 MB"):
        read_photo(write_tiled_tiff(64, 10_000), 32, max_memory=200_000_000)
    with pytest.raises(UnreadableImageError, match="a tile of the image has 1,024,000,000 pixels"):
        read_photo(write_tiled_tiff(64, 32_000), 32)
