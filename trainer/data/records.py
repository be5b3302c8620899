"""TFRecord files and the tf.train.Example inside, read in place: what is not asked for, such as the
images, is stepped over, and TensorFlow is not needed.

Sources: https://www.tensorflow.org/tutorials/load_data/tfrecord (format of the files) and
https://protobuf.dev/programming-guides/encoding (of the records).
"""

import struct
from collections.abc import Iterator
from mmap import mmap

Data = mmap | bytes
Span = tuple[int, int]  # start and end, in bytes from the start of the file

_HEAD = struct.Struct("<QI")  # length of the record, checksum of these eight bytes
_TAIL = 4  # checksum of the record, which is not looked at: decoding the image finds damage
_BYTES, _FLOATS, _NUMBERS = 1, 2, 3  # the fields of tf.train.Feature


def records(data: Data) -> Iterator[Span]:
    """Where the records of a file lie.

    Raises: ValueError, in words that go on after the file's name, where it is damaged, breaks off
        or is something else.
    """
    at = 0
    while at < len(data):
        start = at + _HEAD.size
        if start > len(data):
            raise ValueError(f"breaks off at byte {at}")
        length, check = _HEAD.unpack_from(data, at)
        if _checksum(data[at : at + 8]) != check:
            raise ValueError(_other(data) if at == 0 else f"is damaged at byte {at}")
        end = start + length
        if end + _TAIL > len(data):
            raise ValueError(f"breaks off in the record at byte {at}")
        yield start, end
        at = end + _TAIL


def features(data: Data, record: Span) -> dict[str, Span]:
    """Where the features of a tf.train.Example lie. Raises ValueError if it is none."""
    found: dict[str, Span] = {}
    for _, _, *group in _fields(data, *record):
        for _, _, *entry in _fields(data, *group):
            name, value = b"", (0, 0)
            for number, _, start, end in _fields(data, *entry):
                if number == 1:
                    name = data[start:end]
                else:
                    value = start, end
            found[name.decode("utf-8", "replace")] = value
    return found


def values(data: Data, feature: Span) -> tuple[list[Span], list[int]]:
    """Where the texts of a feature lie, and its whole numbers; one of them is empty, and both are
    for a feature of floats. Raises ValueError if it is none."""
    texts: list[Span] = []
    numbers: list[int] = []
    for kind, _, *items in _fields(data, *feature):
        for _, wire, start, end in _fields(data, *items):
            if kind == _BYTES:
                texts.append((start, end))
            elif kind == _NUMBERS and wire == 2:  # packed: one after the other
                at = start
                while at < end:
                    number, at = _varint(data, at)
                    numbers.append(_signed(number))
            elif kind == _NUMBERS:
                numbers.append(_signed(_varint(data, start)[0]))
    return texts, numbers


def floats(data: Data, feature: Span) -> bool:
    """Whether a feature holds numbers that are not whole. Raises ValueError."""
    return any(kind == _FLOATS for kind, *_ in _fields(data, *feature))


def _fields(data: Data, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(number, wire type, start, end) of the fields of a message."""
    while at < end:
        tag, at = _varint(data, at)
        wire, last = tag & 7, at
        if wire == 2:
            length, at = _varint(data, at)
            last = at + length
        elif wire == 0:
            last = _varint(data, at)[1]
        elif wire in (1, 5):
            last = at + (8 if wire == 1 else 4)
        if last > end or (last == at and wire != 2):
            raise ValueError(f"holds no tf.train.Example at byte {at}")
        yield tag >> 3, wire, at, last
        at = last


def _varint(data: Data, at: int) -> tuple[int, int]:
    """A number of seven bits per byte, and where it ends."""
    value = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError(f"holds no tf.train.Example at byte {at}")


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number


def _other(data: Data) -> str:
    if data[:2] == b"\x1f\x8b":
        return "is compressed with gzip, so its records cannot be read in any order"
    if data[:1] == b"\x78" and int.from_bytes(data[:2], "big") % 31 == 0:
        return "is compressed with zlib, so its records cannot be read in any order"
    return "is no TFRecord file"


def _table() -> list[int]:
    """Of CRC-32C, for a byte at a time."""
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()


def _checksum(content: bytes) -> int:
    """CRC-32C, masked as TFRecord does."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 255]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
