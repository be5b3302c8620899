"""A picture -> pixels as the network sees them. The one preprocessing of the project.

Training, evaluation and prediction call it; the exported files begin where it ends.
h, w are the sides of a picture as it comes; H, W, C the shape that the network takes.
"""

import io
import os
import warnings
from typing import NamedTuple

import cv2
import numpy as np
import PIL
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from trainer.config.data import Data, Presentation

# Of what `present` makes of a file: what was kept of another version is not used.
VERSION = f"1, OpenCV {cv2.__version__}, Pillow {PIL.__version__}"

MAX_PIXELS = int(os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"])  # set in trainer/__init__.py

# Every caller has threads of its own, one picture each; OpenCV's would cost a tenth more CPU time.
cv2.setNumThreads(1)

# Pillow only warns from its limit on, and refuses at twice that.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


# The profile's name in XYB JPEGs, as libjxl writes them: without it their colours are nonsense.
_HEIF = (b"heic", b"heix", b"mif1", b"msf1", b"hevc", b"heim", b"heis")
_XYB = "XYB_Per".encode("utf-16-be")

FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})  # markers of JPEG: here is the size
# IMREAD_REDUCED_COLOR_n means BGR; the grey flag with IMREAD_COLOR_RGB is the same for RGB.
_REDUCED = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_COLOR_RGB,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4 | cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2 | cv2.IMREAD_COLOR_RGB,
}


class Jpeg(NamedTuple):
    """What the header of a JPEG says."""

    height: int  # as it is stored: EXIF may turn it
    width: int
    plain: bool  # neither EXIF nor a second picture


def load(content: bytes | np.ndarray, spec: Data) -> np.ndarray:
    """What augmentation begins with: uint8 [H, W, C] of `load_size`, else of `image_size`; of
    `original` size [h, w, C]. Raises: ValueError as `decode`."""
    if spec.load_size == "original":
        return _in_channels(decode(content), spec.channels)
    size = spec.load_size or spec.image_size
    return present(decode(content, size if spec.jpeg_scaling else None), spec, size)


def decode(content: bytes | np.ndarray, least: tuple[int, int] | None = None) -> np.ndarray:
    """uint8 RGB [h, w, 3], upright, of a file's content or of pixels [h, w], [h, w, 1 | 3 | 4].

    EXIF orientation is applied, grey and palette become RGB, CMYK is converted, 16 bits become 8,
    alpha is dropped (as Pillow's `convert("RGB")` does), of an animation the first frame is taken.

    Args:
        least: if given, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size as long as it stays at
            least so high and wide, by leaving out frequencies (libjpeg's scaling).

    Raises: ValueError if it is no picture that can be decoded completely.
    """
    if isinstance(content, np.ndarray):
        return _rgb(content)
    if b"ICC_PROFILE" in content[: 2**12] and _XYB in content[: 2**17]:
        return _managed(content)
    if content[4:8] == b"ftyp" and not _whole(content):
        raise ValueError("image file is truncated")
    try:
        flags = _reduced(content, least) if least else cv2.IMREAD_COLOR_RGB
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:  # no bytes at all, or more pixels than the limit
        pixels = None
    if pixels is not None:
        return pixels
    if content[4:8] == b"ftyp" and content[8:12] in _HEIF:
        return _heif(content)
    raise ValueError(_reason(content))


def present(
    pixels: np.ndarray, spec: Presentation, image_size: tuple[int, int] | None = None
) -> np.ndarray:
    """uint8 [H, W, C] of RGB [h, w, 3], as `fit`, `resize` and `channels` say.

    `stretch` changes the shape, `crop` cuts the longer side equally at both ends, `pad` adds black
    there.

    Args:
        image_size: H, W; the one that the network takes if not given.
    """
    height, width = image_size or spec.image_size
    if spec.fit == "crop":
        pixels = _cropped(pixels, height / width)
    if spec.fit == "pad":
        h, w = pixels.shape[:2]
        scale = min(height / h, width / w)
        inner = max(1, min(height, round(h * scale))), max(1, min(width, round(w * scale)))
        small = resize(pixels, inner, spec.resize)
        pixels = np.zeros((height, width, 3), np.uint8)
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        pixels[top : top + inner[0], left : left + inner[1]] = small
    return _in_channels(resize(pixels, (height, width), spec.resize), spec.channels)


def resize(pixels: np.ndarray, image_size: tuple[int, int], method: str = "area") -> np.ndarray:
    """Stretched to image_size (H, W). `area` averages where both sides shrink, so that nothing
    aliases, and is bilinear otherwise; `bilinear` always is."""
    height, width = image_size
    if pixels.shape[:2] == (height, width):
        return pixels
    shrinks = height <= pixels.shape[0] and width <= pixels.shape[1]
    area = method == "area" and shrinks
    filtering = cv2.INTER_AREA if area else cv2.INTER_LINEAR
    return cv2.resize(pixels, (width, height), interpolation=filtering)


def suffix(content: bytes) -> str:
    """`.jpg`, `.png` and so on, by what the content is; `.img` where Pillow does not know it."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return f".{str(picture.format).lower().replace('jpeg', 'jpg')}"
    except Exception:  # Pillow raises whatever a broken file makes it stumble over
        return ".img"


def jpeg(content: bytes) -> Jpeg | None:
    """The header of a JPEG; None of everything else. Pillow takes 70 µs for it, a seventh of what
    decoding 320 px costs."""
    if not content.startswith(b"\xff\xd8"):
        return None
    place, plain = 2, True
    while content[place : place + 1] == b"\xff" and place + 9 < len(content):
        marker = content[place + 1]
        if marker in FRAMES:
            height, width = content[place + 5 : place + 7], content[place + 7 : place + 9]
            return Jpeg(int.from_bytes(height), int.from_bytes(width), plain)
        plain = plain and content[place + 4 : place + 8] not in (b"Exif", b"MPF\0")
        place += 2 + int.from_bytes(content[place + 2 : place + 4])
    return None


def _reduced(content: bytes, least: tuple[int, int]) -> int:
    """How OpenCV is to read the file so that its sides stay at least so long."""
    found = jpeg(content)
    if found is None:
        return cv2.IMREAD_COLOR_RGB
    (h, w), (height, width) = found[:2], least
    ratio = min(h / height, w / width)
    if not found.plain:  # may be lying on its side
        ratio = min(ratio, h / width, w / height)
    return next(
        (flags for parts, flags in _REDUCED.items() if parts <= ratio), cv2.IMREAD_COLOR_RGB
    )


def _in_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    return pixels if channels == 3 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[:, :, None]


def _cropped(pixels: np.ndarray, ratio: float) -> np.ndarray:
    """The middle of the picture with height / width as near `ratio` as whole pixels allow."""
    h, w = pixels.shape[:2]
    height, width = min(h, max(1, round(w * ratio))), min(w, max(1, round(h / ratio)))
    top, left = (h - height) // 2, (w - width) // 2
    return pixels[top : top + height, left : left + width]


def _rgb(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        shape = "x".join(map(str, pixels.shape))
        raise ValueError(
            f"expected uint8 pixels of 1, 3 or 4 channels, received {pixels.dtype} {shape}"
        )
    return pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels[:, :, :3]


def _managed(content: bytes) -> np.ndarray:
    """The picture in sRGB, by the colour profile that it brings along."""
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as picture:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
            converted = ImageCms.profileToProfile(
                picture, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            return np.asarray(ImageOps.exif_transpose(converted))  # type: ignore[arg-type]
    except Exception as error:  # Pillow raises whatever a broken file makes it stumble over
        raise ValueError(_said(error)) from None


def _whole(content: bytes) -> bool:
    """Whether HEIC or AVIF boxes (length and kind, ISO/IEC 14496-12) fill the file exactly; their
    decoders make up what is cut off."""
    at = 0
    while at + 8 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        if length == 1:
            length = int.from_bytes(content[at + 8 : at + 16], "big")
        if length == 0:
            return True  # to the end of the file
        at += max(length, 8)
    return at == len(content)


def _heif(content: bytes) -> np.ndarray:
    """HEIC, which needs the extra; its decoder turns pictures upright itself."""
    try:
        import pi_heif
    except ImportError:
        raise ValueError('HEIC needs an extra: pip install "keras-image-trainer[heic]"') from None
    try:
        found = pi_heif.open_heif(content, convert_hdr_to_8bit=True)
        if found.size[0] * found.size[1] > MAX_PIXELS:
            raise ValueError(f"{found.size[0]} x {found.size[1]} pixels, too many to decode")
        return _rgb(np.asarray(found.to_pillow().convert("RGB")))
    except Exception as error:  # as Pillow's
        raise ValueError(_said(error)) from None


def _reason(content: bytes) -> str:
    """Why OpenCV, which does not say, could not decode the file: what Pillow finds."""
    if not content:
        return "empty file"
    try:
        with Image.open(io.BytesIO(content)) as picture:
            if picture.format == "EPS":  # a program; to load it Pillow would start Ghostscript
                return "PostScript, which is no picture but a program"
            picture.load()
    except UnidentifiedImageError:
        return "no picture of a known format"
    except Image.DecompressionBombError:
        limit = f"{MAX_PIXELS // 10**6} million pixels"
        return f"more than {limit}, a bomb? OPENCV_IO_MAX_IMAGE_PIXELS sets another limit"
    except Exception as error:
        return _said(error)
    return "damaged, or of a variant that OpenCV cannot decode"


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
