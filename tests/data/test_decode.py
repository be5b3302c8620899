"""Bytes -> upright RGB pixels, by pictures whose pixels are known."""

import io
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, ImageCms

from trainer.config.data import Data, Folder
from trainer.data.decode import MAX_PIXELS, decode, load, present, resize

RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (90, 90, 90)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rgb() -> Image.Image:
    """Two rows of four: red above green, the last column blue."""
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[0], pixels[1], pixels[:, 3] = RED, GREEN, BLUE
    return Image.fromarray(pixels)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "WEBP"])
def test_every_lossless_format(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    pixels = decode(encoded(rgb(), kind, **options))
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, np.asarray(rgb()))


@pytest.mark.parametrize("color", [RED, GREEN, BLUE, GREY])
@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_jpeg(mode: str, color: tuple[int, int, int]) -> None:
    image = Image.new("RGB", (16, 16), color).convert(mode)
    pixels = decode(encoded(image, "JPEG", quality=95))
    assert np.abs(pixels.astype(int) - color).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_every_exif_orientation_comes_out_upright(orientation: int, kind: str) -> None:
    upright = Image.fromarray(np.kron(np.asarray(rgb()), np.ones((16, 16, 1), np.uint8)))
    stored = {
        1: lambda i: i,
        2: lambda i: i.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda i: i.transpose(Image.Transpose.ROTATE_180),
        4: lambda i: i.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda i: i.transpose(Image.Transpose.TRANSPOSE),
        6: lambda i: i.transpose(Image.Transpose.ROTATE_90),
        7: lambda i: i.transpose(Image.Transpose.TRANSVERSE),
        8: lambda i: i.transpose(Image.Transpose.ROTATE_270),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode(
        encoded(
            stored, kind, exif=exif, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {})
        )
    )
    centres = pixels[8::16, 8::16].astype(int)
    assert np.abs(centres - np.asarray(rgb())).max() <= 12


def test_grey_palette_one_bit_and_alpha_become_rgb() -> None:
    grey = Image.new("L", (4, 4), 77)
    assert (decode(encoded(grey)) == 77).all()
    assert np.array_equal(
        decode(encoded(rgb().convert("P", palette=Image.Palette.ADAPTIVE))),
        np.asarray(rgb()),
    )
    assert np.array_equal(
        decode(encoded(rgb().convert("P", palette=Image.Palette.ADAPTIVE), "BMP")),
        np.asarray(rgb()),
    )
    assert (decode(encoded(Image.new("1", (4, 4), 1))) == 255).all()
    alpha = rgb().copy()
    alpha.putalpha(100)
    assert np.array_equal(decode(encoded(alpha)), np.asarray(rgb()))
    assert (decode(encoded(Image.new("LA", (4, 4), (77, 10)))) == 77).all()


def test_sixteen_bits_become_eight() -> None:
    grey = Image.fromarray(np.full((4, 4), 128 * 257, np.uint16))
    assert np.abs(decode(encoded(grey)).astype(int) - 128).max() <= 1


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), GREEN)]
    for kind in ("GIF", "WEBP", "PNG"):
        options = {"lossless": True} if kind == "WEBP" else {}
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert (decode(content) == RED).all()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"<html></html>", "no picture of a known format"),
        (encoded(Image.effect_noise((99, 99), 50), "PNG")[:1500], "image file is truncated.*"),
        (encoded(Image.effect_noise((99, 99), 50), "JPEG")[:1500], "image file is truncated.*"),
    ],
)  # fmt: skip
def test_what_is_no_picture(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}$"):
        decode(content)


@pytest.mark.parametrize("more", [b"", b"% ICC_PROFILE " + "XYB_Per".encode("utf-16-be")])
def test_no_program_is_started_for_postscript(more: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(Image.new("RGB", (8, 8)), "EPS").replace(
        b"%%EndComments", b"%%EndComments\n" + more
    )
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *given: started.append(given))
    with pytest.raises(ValueError, match=r"PostScript|cannot identify"):
        decode(content)
    assert not started


def test_a_bomb_is_refused_before_its_pixels_take_memory() -> None:
    header = bytearray(encoded(Image.new("1", (8, 8))))
    header[16:24] = (60_000).to_bytes(4, "big") * 2  # 3.6 G pixels, says the PNG
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    with pytest.raises(
        ValueError,
        match=r"^more than 67 million pixels, a bomb\? OPENCV_IO_MAX_IMAGE_PIXELS sets another",
    ):
        decode(bytes(header))
    assert MAX_PIXELS == 2**26


def test_a_picture_in_xyb_is_shown_in_the_colours_of_its_profile() -> None:
    """A profile of that name with red and blue exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    name = "sRGB built-in"
    profile = profile.replace(name.encode("utf-16-be"), f"{'XYB_Per':13}".encode("utf-16-be"))
    profile = profile.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
    image = Image.new("RGB", (16, 16), BLUE)
    pixels = decode(encoded(image, "JPEG", quality=95, icc_profile=profile))
    assert np.abs(pixels.astype(int) - RED).max() <= 3


def test_avif_is_read_and_a_truncated_one_is_not() -> None:
    content = encoded(Image.new("RGB", (32, 32), RED), "AVIF", quality=95)
    assert np.abs(decode(content).astype(int) - RED).max() <= 8
    with pytest.raises(ValueError, match=r"^image file is truncated$"):
        decode(content[:-9])


def test_heic_without_its_extra_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    head = (24).to_bytes(4, "big") + b"ftypheic" + bytes(4) + b"mif1heic"
    with pytest.raises(
        ValueError, match=r"^HEIC needs an extra: pip install \"keras-image-trainer\[heic\]\"$"
    ):
        decode(head)


def test_pixels_of_arrays() -> None:
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert decode(grey).tolist() == [[[v] * 3 for v in row] for row in grey.tolist()]
    assert np.array_equal(decode(grey[:, :, None]), decode(grey))
    color = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert np.array_equal(decode(color), color[:, :, :3])
    with pytest.raises(
        ValueError, match=r"^expected uint8 pixels of 1, 3 or 4 channels, received float64 2x3x1$"
    ):
        decode(grey / 255)


def presented(pixels: np.ndarray, size: tuple[int, int], **options: object) -> np.ndarray:
    source = Folder(kind="folder", path="unused")
    return present(pixels, Data(source=source, image_size=list(size), **options))  # type: ignore[arg-type]


def test_fit() -> None:
    pixels = np.zeros((2, 6, 3), np.uint8)
    pixels[:, :, 0] = [10, 20, 30, 40, 50, 60]
    one_row = lambda found: found[0, :, 0].tolist()  # noqa: E731
    assert one_row(presented(pixels, (2, 3))) == [15, 35, 55]
    assert one_row(presented(pixels, (2, 2), fit="crop")) == [30, 40]
    assert one_row(presented(pixels, (1, 1), fit="crop")) == [35]
    padded = presented(pixels, (5, 6), fit="pad")
    assert padded[:, 0, 0].tolist() == [0, 10, 10, 0, 0]
    upright = presented(pixels.transpose(1, 0, 2), (6, 6), fit="pad")
    assert upright[0, :, 0].tolist() == [0, 0, 10, 10, 0, 0]
    assert presented(pixels[:1], (1, 20), fit="crop").shape == (1, 20, 3)


def test_bilinear_takes_the_nearest_pixels_only() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, ::4] = 80
    assert presented(pixels, (1, 1), resize="area").tolist() == [[[20] * 3]]
    assert presented(pixels, (1, 1), resize="bilinear").tolist() == [[[40] * 3]]


def test_one_channel_is_luma() -> None:
    pixels = np.array([[RED, GREEN, BLUE]], np.uint8)
    assert presented(pixels, (1, 3), channels=1).tolist() == [[[76], [150], [29]]]


def test_shrinking_averages_the_area() -> None:
    pixels = np.array([[0, 100], [200, 100]], np.uint8)[:, :, None].repeat(3, axis=2)
    assert resize(pixels, (1, 1)).tolist() == [[[100, 100, 100]]]
    assert resize(pixels, (2, 1)).tolist() == [[[50] * 3], [[150] * 3]]


def test_growing_is_bilinear() -> None:
    pixels = np.array([[0, 100]], np.uint8)[:, :, None].repeat(3, axis=2)
    assert resize(pixels, (1, 4))[0, :, 0].tolist() == [0, 25, 75, 100]


def smooth_jpeg(height: int, width: int, orientation: int = 0) -> bytes:
    """A smooth JPEG."""
    down, across = np.mgrid[0:height, 0:width]
    pixels = np.stack([down * 255 // height, across * 255 // width, 0 * down + 90], axis=2)
    exif, stream = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    written = {"exif": exif} if orientation else {}
    Image.fromarray(pixels.astype(np.uint8)).save(stream, "jpeg", quality=95, **written)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("size", "least", "expected"),
    [
        ((96, 160), (96, 160), (96, 160)),
        ((96, 160), (49, 10), (96, 160)),
        ((96, 160), (48, 80), (48, 80)),
        ((97, 161), (48, 80), (49, 81)),
        ((96, 160), (24, 30), (24, 40)),
        ((96, 160), (1, 1), (12, 20)),
    ],
)
def test_a_jpeg_is_decoded_at_a_part_of_its_size(
    size: tuple[int, int], least: tuple[int, int], expected: tuple[int, int]
) -> None:
    content = smooth_jpeg(*size)
    exact, scaled = decode(content), decode(content, least)
    assert scaled.shape == (*expected, 3)
    difference = resize(exact, expected).astype(int) - scaled
    assert np.abs(difference).mean() < 1.5


def test_a_jpeg_that_lies_on_its_side_stays_large_enough_both_ways() -> None:
    assert decode(smooth_jpeg(96, 160, orientation=6), (80, 48)).shape == (160, 96, 3)
    assert decode(smooth_jpeg(96, 160, orientation=6), (48, 48)).shape == (80, 48, 3)
    assert decode(smooth_jpeg(96, 160, orientation=1), (48, 80)).shape == (96, 160, 3)


def test_only_jpegs_are_scaled() -> None:
    png = cv2.imencode(".png", np.zeros((96, 160, 3), np.uint8))[1].tobytes()
    assert decode(png, (1, 1)).shape == (96, 160, 3)
    assert decode(np.zeros((96, 160), np.uint8), (1, 1)).shape == (96, 160, 3)
    with pytest.raises(ValueError, match="truncated"):
        decode(smooth_jpeg(96, 160)[:900], (1, 1))


def test_what_augmentation_begins_with() -> None:
    def loaded(**options: object) -> np.ndarray:
        source = Folder(kind="folder", path="unused")
        return load(content, Data(source=source, image_size=[24, 40], **options))  # type: ignore[arg-type]

    content = smooth_jpeg(96, 160)
    exact = decode(content)
    assert np.array_equal(loaded(), resize(exact, (24, 40)))
    assert np.array_equal(loaded(load_size=[48, 50]), resize(exact, (48, 50)))
    assert np.array_equal(loaded(load_size="original"), exact)
    assert loaded(load_size="original", channels=1).shape == (96, 160, 1)
    assert np.array_equal(loaded(jpeg_scaling=True), decode(content, (24, 40)))
    assert np.array_equal(
        loaded(jpeg_scaling=True, load_size=[48, 50]), resize(decode(content, (48, 50)), (48, 50))
    )
