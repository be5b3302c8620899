"""The graph that takes files as they are: equal to `data.decode`, to the grey level."""

import io
import itertools

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from trainer.config.data import Presentation
from trainer.data import decode
from trainer.export import _picture

SIZES = [  # of pictures, for a network of 24 × 36
    (24, 36), (48, 72), (96, 144), (72, 36), (24, 72), (48, 35), (100, 150), (61, 97),  # down
    (1, 36), (24, 1), (1, 1), (1, 200), (200, 1),  # sides of one pixel
    (12, 18), (7, 9), (23, 37), (25, 35), (3, 100), (100, 3),  # up, or up and down
]  # fmt: skip


def pixels(height: int, width: int, smooth: bool = False) -> np.ndarray:
    drawn = np.random.default_rng([height, width]).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(drawn, (5, 5), 2).reshape(drawn.shape) if smooth else drawn


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("resize", ["area", "bilinear"])
def test_pictures_are_resized_as_in_training(fit: str, resize: str) -> None:
    off, count = 0, 0
    for channels in (1, 3):
        spec = Presentation.model_validate(
            {"image_size": (24, 36), "channels": channels, "fit": fit, "resize": resize}
        )
        graph = tf.function(
            lambda found, spec=spec: _picture.present(found, spec),
            input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)],
        )
        for (height, width), smooth in itertools.product(SIZES, (False, True)):
            found = pixels(height, width, smooth)
            expected, received = decode.present(found, spec), graph(found).numpy()
            assert received.shape == expected.shape == (24, 36, channels)
            apart = np.abs(received.astype(int) - expected)
            assert apart.max() <= 1, (height, width)
            off, count = off + int((apart > 0).sum()), count + apart.size
    assert off / count < (1e-3 if resize == "area" else 1e-9)  # bilinear is whole numbers only


@pytest.fixture(scope="module")
def graph() -> tf.types.experimental.GenericFunction:
    return tf.function(_picture.decode, input_signature=[tf.TensorSpec((), tf.string)])


def content(picture: Image.Image, kind: str, orientation: int = 0, exif: bytes = b"") -> bytes:
    written, file = Image.Exif(), io.BytesIO()
    written[0x010F] = "maker"  # a tag before that of the orientation, with a text elsewhere
    written[0x0112] = orientation
    block = exif or (written.tobytes() if orientation else b"")
    options = {"lossless": True} if kind == "WEBP" else {}
    picture.save(file, kind, **options, **({"exif": block} if block else {}))
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(
    kind: str, orientation: int, graph: tf.types.experimental.GenericFunction
) -> None:
    file = content(Image.fromarray(pixels(20, 30)), kind, orientation)
    expected = decode.decode(file)
    assert expected.shape == ((20, 30, 3) if orientation < 5 else (30, 20, 3))
    assert np.array_equal(graph(file), expected)


def test_exif_of_either_byte_order_and_nonsense(
    graph: tf.types.experimental.GenericFunction,
) -> None:
    picture = Image.fromarray(pixels(20, 30))
    little = bytes.fromhex("45786966000049492a0008000000010012010300010000000600000000000000")
    big = bytes.fromhex("4578696600004d4d002a00000008000101120003000000010006000000000000")
    for block, shape in ((little, (30, 20, 3)), (big, (30, 20, 3))):
        file = content(picture, "JPEG", exif=block)
        assert graph(file).numpy().shape == decode.decode(file).shape == shape
    nonsense = [
        little.replace(b"\x06\0\0\0", b"\x09\0\0\0"),  # there is no ninth
        little[:14] + b"\xff\xff" + little[16:],  # 65,535 tags
        little[:10] + b"\xff\xff\xff\xff" + little[14:],  # beyond the end
        little[:8],
    ]
    for block in nonsense:
        assert graph(content(picture, "JPEG", exif=block)).numpy().shape in (
            (20, 30, 3),
            (30, 20, 3),
        )


@pytest.mark.parametrize("mode", ["L", "RGBA", "LA", "P", "1", "I;16"])
def test_png_of_every_mode(mode: str, graph: tf.types.experimental.GenericFunction) -> None:
    drawn = pixels(20, 30)
    if mode == "I;16":
        picture = Image.fromarray(drawn[..., 0].astype(np.uint16) * 257)
    else:
        alpha = np.dstack([drawn, drawn[..., 0]])
        picture = Image.fromarray(alpha).convert(mode)
    file = content(picture, "PNG")
    assert np.array_equal(graph(file), decode.decode(file))


@pytest.mark.parametrize(
    ("mode", "kind"), [("L", "JPEG"), ("RGB", "BMP"), ("RGBA", "WEBP"), ("RGB", "GIF")]
)
def test_other_files(mode: str, kind: str, graph: tf.types.experimental.GenericFunction) -> None:
    picture = Image.fromarray(np.dstack([pixels(20, 30), pixels(20, 30)[..., :1]])).convert(mode)
    file = content(picture, kind)
    assert np.array_equal(graph(file), decode.decode(file))


def test_cmyk_is_near(graph: tf.types.experimental.GenericFunction) -> None:
    file = content(Image.fromarray(pixels(20, 30)).convert("CMYK"), "JPEG")
    assert np.abs(graph(file).numpy().astype(int) - decode.decode(file)).max() <= 2


def test_what_would_be_decoded_wrongly_is_refused(
    graph: tf.types.experimental.GenericFunction,
) -> None:
    palette = content(Image.fromarray(pixels(20, 30)).convert("P"), "BMP")
    moving = io.BytesIO()
    frames = [Image.fromarray(pixels(20, side)).resize((30, 20)) for side in (30, 31)]
    frames[0].save(moving, "WEBP", save_all=True, append_images=frames[1:])
    xyb = content(Image.fromarray(pixels(20, 30)), "JPEG") + "XYB_Per".encode("utf-16-be")
    for file, said in (
        (palette, "BMP with a palette, or with other than 24 or 32 bits a pixel cannot be decoded"),
        (moving.getvalue(), "animated WebP cannot be decoded here; send JPEG or PNG"),
        (xyb, "JPEG in XYB colours cannot be decoded"),
        (b"", "Input is empty"),
        (b"\xff\xd8\xff", "Invalid JPEG"),
        (b"RIFF", "Unknown image file format"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=said):
            graph(file)
