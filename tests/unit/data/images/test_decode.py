import contextlib
import io
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from cpcnn.core.errors import DataError, UsageError
from cpcnn.data.images.decode import BadImage, Header, decode, read_header

GRADIENT = np.arange(5 * 7, dtype=np.uint8).reshape(5, 7) * 7
COLOURS = np.stack([GRADIENT, 255 - GRADIENT, GRADIENT // 2], axis=2)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_rgb_and_grey_keep_their_pixels(tmp_path: Path) -> None:
    colour = save(tmp_path / "colour.png", Image.fromarray(COLOURS))
    grey = save(tmp_path / "grey.png", Image.fromarray(GRADIENT))
    np.testing.assert_array_equal(decode(colour, 3), COLOURS)
    np.testing.assert_array_equal(decode(grey, 1), GRADIENT[:, :, None])
    np.testing.assert_array_equal(decode(grey, 3), np.repeat(GRADIENT[:, :, None], 3, axis=2))
    luma = COLOURS @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(decode(colour, 1)[:, :, 0], luma, atol=1.0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
def test_exif_orientation(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(COLOURS), exif=exif, **options)
    reference = Image.fromarray(COLOURS)
    reference.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(reference))
    np.testing.assert_array_equal(decode(path, 3), expected)
    assert read_header(path) == Header(expected.shape[1], expected.shape[0], grey=False)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff"]
)
def test_damaged_exif_does_not_make_a_bad_image(tmp_path: Path, exif: bytes) -> None:
    path = save(tmp_path / "a.jpg", Image.fromarray(COLOURS), exif=exif)
    assert decode(path, 3).shape == (5, 7, 3)
    assert read_header(path) == Header(7, 5, grey=False)


@pytest.mark.parametrize(
    ("mode", "suffix", "grey"),
    [
        ("1", "png", True),
        ("L", "png", True),
        ("LA", "png", True),
        ("P", "png", False),
        ("P", "gif", False),
        ("RGB", "png", False),
        ("RGBA", "png", False),
        ("CMYK", "jpg", False),
        ("CMYK", "tiff", False),
        ("YCbCr", "tiff", False),
        ("I", "tiff", True),
        ("I;16", "png", True),
        ("F", "tiff", True),
    ],
)
def test_every_mode_becomes_rgb_and_grey(
    tmp_path: Path, mode: str, suffix: str, grey: bool
) -> None:
    if mode.startswith("I"):
        image = Image.fromarray(np.full((5, 7), 200 * 257, np.uint16))
        image = image if mode == "I;16" else Image.fromarray(np.full((5, 7), 200 * 257, np.int32))
    else:
        image = Image.new("RGB", (7, 5), (200, 200, 200)).convert(mode)
        if mode == "P":
            image = Image.fromarray(COLOURS).quantize(16)
    path = save(tmp_path / f"a.{suffix}", image)
    assert decode(path, 3).shape == (5, 7, 3)
    assert decode(path, 1).shape == (5, 7, 1)
    assert decode(path, 1).dtype == np.uint8
    assert read_header(path) == Header(7, 5, grey)
    if mode not in ("P", "1"):
        np.testing.assert_allclose(decode(path, 1), 200, atol=2)


def test_a_palette_of_greys_is_grey(tmp_path: Path) -> None:
    image = Image.fromarray(GRADIENT).convert("P", palette=Image.Palette.ADAPTIVE)
    path = save(tmp_path / "a.png", image)
    with Image.open(path) as stored:
        assert stored.mode == "P"
    assert read_header(path).grey
    np.testing.assert_array_equal(decode(path, 1)[:, :, 0], GRADIENT)


def test_sixteen_bits_keep_the_upper_eight(tmp_path: Path) -> None:
    values = np.array([[0, 255, 256, 0x7FFF, 0x8000, 0xFFFF]], np.uint16)
    expected = [[0, 0, 1, 0x7F, 0x80, 0xFF]]
    png = save(tmp_path / "a.png", Image.fromarray(values))
    big_endian = tmp_path / "a.pgm"
    big_endian.write_bytes(b"P5 6 1 65535\n" + values.astype(">u2").tobytes())
    tiff = save(tmp_path / "a.tif", Image.fromarray(values))
    wide = np.array([[-5, 255, 256, 0x7FFF, 0x8000, 1 << 20]], np.int32)
    integers = save(tmp_path / "b.tif", Image.fromarray(wide))
    for path in (png, big_endian, tiff, integers):
        np.testing.assert_array_equal(decode(path, 1)[:, :, 0], expected, err_msg=str(path))
        np.testing.assert_array_equal(decode(path, 3)[:, :, 2], expected)


def test_floating_point_pixels(tmp_path: Path) -> None:
    unit = save(
        tmp_path / "unit.tif", Image.fromarray(np.array([[-1, 0, 0.5, 1, np.nan]], np.float32))
    )
    wide = save(
        tmp_path / "wide.tif", Image.fromarray(np.array([[-1, 0, 99.6, 256, np.inf]], np.float32))
    )
    np.testing.assert_array_equal(decode(unit, 1)[0, :, 0], [0, 0, 128, 255, 0])
    np.testing.assert_array_equal(decode(wide, 1)[0, :, 0], [0, 0, 100, 255, 255])


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    half = save(tmp_path / "half.png", Image.new("RGBA", (2, 2), (255, 0, 0, 128)))
    np.testing.assert_allclose(decode(half, 3)[0, 0], [255, 127, 127], atol=1)
    clear = save(tmp_path / "clear.png", Image.new("LA", (2, 2), (0, 0)))
    assert (decode(clear, 1) == 255).all()
    assert (decode(clear, 3) == 255).all()


@pytest.mark.parametrize(("mode", "colour"), [("L", 9), ("RGB", (9, 9, 9)), ("1", 0)])
def test_a_transparent_colour_is_laid_over_white(
    tmp_path: Path, mode: str, colour: int | tuple[int, int, int]
) -> None:
    path = save(tmp_path / "a.png", Image.new(mode, (2, 2), colour), transparency=colour)
    assert (decode(path, 3) == 255).all()


def test_palette_with_alpha_per_entry(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    path = save(tmp_path / "a.png", image, transparency=bytes([0, 255]))
    np.testing.assert_array_equal(decode(path, 3), [[[255, 255, 255], [0, 0, 255]]])


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tiff"])
def test_the_first_frame_of_an_animation_counts(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if suffix == "webp" else {}
    path = save(
        tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:], **options
    )
    np.testing.assert_array_equal(decode(path, 3), np.asarray(frames[0]))


def test_a_multi_picture_jpeg_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    path = tmp_path / "a.jpg"
    frames[0].save(path, format="MPO", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(decode(path, 3)[0, 0], [255, 0, 0], atol=3)


def encoded(fmt: str) -> bytes:
    pixels = np.add.outer(np.arange(64) * 2, np.arange(64)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.stack([pixels, pixels.T, pixels[::-1]], axis=2)).save(buffer, fmt)
    return buffer.getvalue()


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_truncated_files_are_bad(tmp_path: Path, fmt: str, share: float) -> None:
    data = encoded(fmt)
    path = tmp_path / f"cut.{fmt.lower()}"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BadImage) as caught:
        decode(path, 3)
    assert caught.value.path == path
    assert len(caught.value.reason) < 150
    assert "\n" not in caught.value.reason


def test_a_file_that_lost_only_what_follows_its_pixels_is_decoded(tmp_path: Path) -> None:
    data = encoded("PNG")
    path = tmp_path / "cut.png"
    path.write_bytes(data[:-12])
    whole = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(decode(path, 3), whole)


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_damaged_files_are_decoded_or_bad(tmp_path: Path, fmt: str) -> None:
    data = bytearray(encoded(fmt))
    path = tmp_path / "damaged"
    for seed in range(40):
        random = np.random.default_rng(seed)
        damaged = data.copy()
        for position in random.integers(0, min(len(data), 400), 3):
            damaged[position] = random.integers(256)
        path.write_bytes(damaged)
        for read in (lambda: decode(path, 3), lambda: read_header(path)):
            with contextlib.suppress(BadImage):  # and nothing else
                read()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty (0 bytes)"),
        (b"<html>nothing here</html>", "its content is not a readable image (it begins with"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a readable image"),
        (b"P6 0 0 255\n", "P6"),
        (b"P6 5 5 255\nshort", "cut short"),
    ],
)
def test_files_that_are_no_images(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    for read in (lambda: decode(path, 3), lambda: read_header(path) and decode(path, 1)):
        with pytest.raises(BadImage) as caught:
            read()
        assert reason in caught.value.reason
        assert str(caught.value) == f"{path}: {caught.value.reason}."
        assert isinstance(caught.value, DataError)


def test_missing_files_and_folders_are_bad(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match=r"cannot be opened \(No such file"):
        decode(tmp_path / "missing.png", 3)
    with pytest.raises(BadImage, match="cannot be opened"):
        decode(tmp_path, 3)


def test_decompression_bombs_are_bad(tmp_path: Path) -> None:
    path = tmp_path / "bomb.ppm"
    path.write_bytes(b"P6 100000 100000 255\n")
    with pytest.raises(BadImage, match="decompression bombs"):
        decode(path, 3)


def test_large_images_give_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", Image.new("L", (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(path, 1).shape == (100, 100, 1)


def test_pillows_log_stays_off_the_terminal(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", Image.new("RGB", (4, 4)))
    data = path.read_bytes()
    samples_per_pixel = data.index(bytes([0x15, 0x01, 3, 0, 1, 0, 0, 0, 3, 0]))
    path.write_bytes(data[: samples_per_pixel + 8] + b"\x63" + data[samples_per_pixel + 9 :])
    code = (
        "import sys; from pathlib import Path; from cpcnn.data import BadImage, decode\n"
        "try: decode(Path(sys.argv[1]), 3)\n"
        "except BadImage: print('bad')"
    )
    command = [sys.executable, "-c", code, str(path)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("bad\n", "")


def test_memory_that_runs_out_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", Image.new("L", (4, 4)))

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(BadImage, match="more memory than there is"):
        decode(path, 1)


def test_channels_are_one_or_three(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not 4"):
        decode(tmp_path / "a.png", 4)


def test_importing_the_room_imports_no_pillow() -> None:
    code = "import sys, cpcnn.data; assert not [m for m in sys.modules if m.startswith('PIL')]"
    subprocess.run([sys.executable, "-c", code], check=True)
