"""`data.decode` as TensorFlow operators, so that a SavedModel takes files as they are.

What OpenCV computes is computed here again from its rules, to the grey level. h, w are the sides of
a picture as it comes, known only when the graph runs; H, W, C the shape that the network takes.
"""

import tensorflow as tf

from trainer.config.data import Presentation

JPEG, PNG, WEBP, OTHER = range(4)
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF")  # of JPEG, PNG, WebP

# The values of four bytes that are a number; of two, of which the others are none.
_BIG, _LITTLE = (2**24, 2**16, 2**8, 1), (1, 2**8, 2**16, 2**24)
_BIG_TWO, _LITTLE_TWO = (2**8, 1, 0, 0), (1, 2**8, 0, 0)

# How these three kinds of file string their parts together: where the first part begins; where in a
# part its name stands, and the name looked for; where its length, the values of the length's bytes,
# and how many bytes it leaves out; where the Exif block begins.
_FIRST = (2, 8, 12)
_NAME_AT, _NAME = (4, 4, 0), (b"Exif", b"eXIf", b"EXIF")
_LENGTH_AT, _LENGTH, _LEFT_OUT = (2, 0, 4), (_BIG_TWO, _BIG, _LITTLE), (2, 12, 8)
_BLOCK = (10, 8, 8)

_ORIENTATION = 0x0112  # the tag; Exif 2.3, 4.6.4
_FIELD = 12  # bytes of a tag with its value
_STEPS = 10_000  # after which a search ends: a hostile file could have millions of parts

_XYB = "XYB_Per".encode("utf-16-be")  # as in data/decode.py


def pixels(content: tf.Tensor, spec: Presentation) -> tf.Tensor:
    """A file's bytes (a scalar string) -> uint8 [H, W, C], as `present(decode(content), spec)`."""
    return present(decode(content), spec)


def decode(content: tf.Tensor) -> tf.Tensor:
    """uint8 RGB [h, w, 3], upright, of a JPEG, PNG, BMP, GIF (its first frame) or still WebP.

    CMYK differs by up to two grey levels from `data.decode`, and transparent GIF arbitrarily. The
    graph fails (InvalidArgument) for what TensorFlow cannot decode, or would decode wrongly: BMP
    with a palette, JPEG in the colours of libjxl (XYB), animated WebP.
    """
    kind = _kind(content)
    with tf.control_dependencies(_demands(content, kind)):
        content = tf.identity(content)
    found = tf.switch_case(
        kind,
        [
            # TensorFlow's own choice of method is up to 5 grey levels off; this one equals OpenCV's
            lambda: tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"),
            lambda: tf.io.decode_image(content, channels=3, expand_animations=False),
            # Asked for 3 channels it refuses pictures with alpha.
            lambda: tf.io.decode_image(content, expand_animations=False)[:, :, :3],
            lambda: tf.io.decode_image(content, channels=3, expand_animations=False),
        ],
    )
    return _upright(tf.ensure_shape(found, [None, None, 3]), _orientation(content, kind))


def present(pixels: tf.Tensor, spec: Presentation) -> tf.Tensor:
    """uint8 [H, W, C] of RGB [h, w, 3], as `data.decode.present`."""
    height, width = spec.image_size
    sides = tf.shape(pixels, tf.int64)[:2]
    if spec.fit == "crop":
        keeps = _cut(sides, height / width)
        top, left = tf.unstack((sides - keeps) // 2)
        pixels = pixels[top : top + keeps[0], left : left + keeps[1]]
    target = tf.constant(spec.image_size, tf.int64)
    inner = target
    if spec.fit == "pad":
        scale = tf.reduce_min(tf.cast(target, tf.float64) / tf.cast(sides, tf.float64))
        inner = tf.clip_by_value(_round(tf.cast(sides, tf.float64) * scale), 1, target)
    pixels = _resize(pixels, inner, spec.resize)
    before = (target - inner) // 2
    rest = target - inner - before
    around = tf.concat([tf.stack([before, rest], axis=1), [[0, 0]]], axis=0)
    pixels = tf.ensure_shape(tf.pad(pixels, around), (height, width, 3))
    return pixels if spec.channels == 3 else _grey(pixels)


def _kind(content: tf.Tensor) -> tf.Tensor:
    starts = [
        tf.equal(tf.strings.substr(content, 0, len(signature)), signature)
        for signature in _SIGNATURES
    ]
    return tf.argmax(tf.stack([*starts, True]), output_type=tf.int32)


def _demands(content: tf.Tensor, kind: tf.Tensor) -> list[tf.Operation]:
    """What has to hold for TensorFlow's decoders to be right."""
    bitmap = tf.equal(tf.strings.substr(content, 0, 2), b"BM")
    head = tf.strings.substr(content, 0, 2**17)
    coloured = tf.size(tf.strings.split(head, _XYB)) > 1
    extended = _number(content, 12, _BIG) == int.from_bytes(b"VP8X", "big")
    # Animated WebP broke the memory of the process when decoded with any number of channels.
    animated = tf.bitwise.bitwise_and(_number(content, 20, _LITTLE_TWO), 2) > 0
    wrong = {
        "BMP with a palette, or with other than 24 or 32 bits a pixel": bitmap
        & (_number(content, 28, _LITTLE_TWO) < 24),
        "JPEG in XYB colours": (kind == JPEG) & coloured,
        "animated WebP": (kind == WEBP) & extended & animated,
    }
    return [
        tf.debugging.Assert(~holds, [f"{what} cannot be decoded here; send JPEG or PNG"])
        for what, holds in wrong.items()
    ]


def _number(content: tf.Tensor, at: tf.Tensor | int, values: tf.Tensor | tuple) -> tf.Tensor:
    """The four bytes from `at` on, each times its value, as int64; 0 where the file has ended."""
    at = tf.cast(at, tf.int64)
    inside = (at >= 0) & (at + 4 <= _size(content))
    four = tf.cond(inside, lambda: tf.strings.substr(content, at, 4), lambda: b"\0\0\0\0")
    bytes_4 = tf.ensure_shape(tf.io.decode_raw(four, tf.uint8), [4])
    return tf.reduce_sum(tf.cast(bytes_4, tf.int64) * tf.cast(values, tf.int64))


def _size(content: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.strings.length(content), tf.int64)


def _exif(content: tf.Tensor, kind: tf.Tensor) -> tf.Tensor:
    """Where the Exif block of a JPEG, PNG or WebP begins (int64); 0 if there is none."""
    names = [int.from_bytes(name, "big") for name in _NAME]
    columns = (_FIRST, _NAME_AT, names, _LENGTH_AT, _LENGTH, _LEFT_OUT, _BLOCK)
    first, name_at, name, length_at, length, left_out, block = (
        tf.gather(tf.constant(column, tf.int64), kind) for column in columns
    )

    def found(at: tf.Tensor) -> tf.Tensor:
        return _number(content, at + name_at, _BIG) == name

    def another(at: tf.Tensor) -> tf.Tensor:
        mark = _number(content, at, _BIG_TWO)
        # 0xFFDA: what follows in a JPEG is the picture itself
        part = (kind != JPEG) | ((mark >= 0xFF00) & (mark != 0xFFDA))
        return (at < _size(content)) & part & ~found(at)

    def step(at: tf.Tensor) -> list[tf.Tensor]:
        size = _number(content, at + length_at, length)
        return [at + left_out + size + tf.where(kind == WEBP, size % 2, 0)]

    [at] = tf.while_loop(another, step, [first], maximum_iterations=_STEPS)
    return tf.where(found(at), at + block, 0)


def _orientation(content: tf.Tensor, kind: tf.Tensor) -> tf.Tensor:
    """1 to 8 as Exif says, int64; 1 if it does not."""

    def read() -> tf.Tensor:
        start = _exif(content, kind)
        big = _number(content, start, _BIG_TWO) == int.from_bytes(b"MM", "big")
        two, four = tf.where(big, _BIG_TWO, _LITTLE_TWO), tf.where(big, _BIG, _LITTLE)
        table = start + _number(content, start + 4, four)
        count = _number(content, table, two)

        def wanted(index: tf.Tensor) -> tf.Tensor:
            return _number(content, table + 2 + _FIELD * index, two) == _ORIENTATION

        [index] = tf.while_loop(
            lambda index: (index < count) & ~wanted(index),
            lambda index: [index + 1],
            [tf.constant(0, tf.int64)],
            maximum_iterations=_STEPS,
        )
        value = _number(content, table + 2 + _FIELD * index + 8, two)
        known = (start > 0) & (index < count) & (value >= 1) & (value <= 8)
        return tf.where(known, value, 1)

    return tf.cond(kind == OTHER, lambda: tf.constant(1, tf.int64), read)


def _upright(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Exif's eight ways to hold a camera are a transposition, then a mirroring of either side."""
    pixels = tf.cond(orientation >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    for axis, mirrored in enumerate(((3, 4, 7, 8), (2, 3, 6, 7))):
        turned = tf.reduce_any(orientation == tf.constant(mirrored, tf.int64))
        pixels = tf.cond(turned, lambda p=pixels, a=axis: tf.reverse(p, [a]), lambda p=pixels: p)
    return pixels


def _cut(sides: tf.Tensor, ratio: float) -> tf.Tensor:
    """As `data.decode._cropped`: height and width of the middle with this ratio."""
    exact = tf.cast(sides, tf.float64)
    other = tf.stack([_round(exact[1] * ratio), _round(exact[0] / ratio)])
    return tf.minimum(sides, tf.maximum(other, 1))


def _round(values: tf.Tensor) -> tf.Tensor:
    """Halves to the even number, as Python's `round`."""
    return tf.cast(tf.round(values), tf.int64)


def _resize(pixels: tf.Tensor, target: tf.Tensor, method: str) -> tf.Tensor:
    """As `data.decode.resize`; target: int64 [2]."""
    sides = tf.shape(pixels, tf.int64)[:2]
    # OpenCV averages pairs where both sides become half as long, whatever it is asked for.
    area = (
        tf.reduce_all(target <= sides) if method == "area" else tf.reduce_all(target * 2 == sides)
    )
    return tf.cond(
        area, lambda: _area(pixels, sides, target), lambda: _linear(pixels, sides, target)
    )


def _area(pixels: tf.Tensor, sides: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """cv2.INTER_AREA for uint8: sums of float32, rows first or columns first; halves to the even
    number, but upwards for two by two."""
    whole = tf.reduce_all(sides % target == 0)
    share = tf.where(whole, tf.cast(target, tf.float64) / tf.cast(sides, tf.float64), 1.0)
    rows, columns = (_cover(sides[axis], target[axis], whole) for axis in (0, 1))
    shape = tf.concat([sides[:1], [-1]], axis=0)
    flat = tf.matmul(rows, tf.reshape(tf.cast(pixels, tf.float32), shape))
    wide = tf.reshape(flat, tf.stack([target[0], sides[1], 3]))
    # Whole sums are exact in float32: so is what is half, and must be rounded as OpenCV does.
    sums = tf.einsum("vw,hwc->hvc", columns, wide) * tf.cast(tf.reduce_prod(share), tf.float32)
    pairs = tf.reduce_all(sides == 2 * target)
    rounded = tf.where(pairs, tf.floor(sums + 0.5), tf.round(sums))
    return tf.cast(tf.clip_by_value(rounded, 0, 255), tf.uint8)


def _cover(side: tf.Tensor, target: tf.Tensor, whole: tf.Tensor) -> tf.Tensor:
    """float32 [target, side]: the share of each old pixel in each new one, or 1 for those inside
    where `whole` (each new one is made of equally many old ones)."""
    scale = tf.cast(side, tf.float64) / tf.cast(target, tf.float64)
    start = tf.cast(tf.range(target), tf.float64)[:, None] * scale
    pixel = tf.cast(tf.range(side), tf.float64)[None, :]
    overlap = tf.minimum(start + scale, pixel + 1) - tf.maximum(start, pixel)
    # OpenCV leaves out slivers of less than a thousandth of a pixel.
    overlap = tf.where(overlap > 1e-3, tf.minimum(overlap, 1.0), 0.0)
    cell = tf.minimum(scale, tf.cast(side, tf.float64) - start)
    return tf.cast(tf.where(whole, tf.round(overlap), overlap / cell), tf.float32)


def _linear(pixels: tf.Tensor, sides: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """cv2.INTER_LINEAR for uint8: whole numbers, weights in 2048ths, and its order of shifts."""
    values = tf.cast(pixels, tf.int32)
    left, right, left_weight, right_weight = _between(sides[1], target[1], inside=True)
    rows = (
        tf.gather(values, left, axis=1) * left_weight[None, :, None]
        + tf.gather(values, right, axis=1) * right_weight[None, :, None]
    ) // 16
    top, bottom, top_weight, bottom_weight = _between(sides[0], target[0], inside=False)
    upper = tf.gather(rows, top) * top_weight[:, None, None] // 2**16
    lower = tf.gather(rows, bottom) * bottom_weight[:, None, None] // 2**16
    return tf.cast((upper + lower + 2) // 4, tf.uint8)


def _between(side: tf.Tensor, target: tf.Tensor, inside: bool) -> list[tf.Tensor]:
    """The two old pixels that each new one lies between, int64, and their weights, int32.

    Args:
        inside: whether beyond the border one pixel has all the weight; else the last one comes
            twice, which rounds differently. OpenCV does the one for columns, the other for rows.
    """
    scale = tf.cast(side, tf.float64) / tf.cast(target, tf.float64)
    place = tf.cast((tf.cast(tf.range(target), tf.float64) + 0.5) * scale - 0.5, tf.float32)
    first = tf.floor(place)
    part = place - first
    last = tf.cast(side - 1, tf.float32)
    if inside:
        part = tf.where((first < 0) | (first >= last), 0.0, part)
        first = tf.clip_by_value(first, 0, last)
    pixels = [tf.cast(tf.clip_by_value(each, 0, last), tf.int64) for each in (first, first + 1)]
    weights = [tf.cast(tf.round(each * 2048), tf.int32) for each in (1 - part, part)]
    return [*pixels, *weights]


def _grey(pixels: tf.Tensor) -> tf.Tensor:
    """[H, W, 1] as cv2.cvtColor: BT.601 in 32768ths."""
    weighted = tf.cast(pixels, tf.int32) * tf.constant([9798, 19235, 3735])
    return tf.cast((tf.reduce_sum(weighted, axis=-1, keepdims=True) + 2**14) // 2**15, tf.uint8)
