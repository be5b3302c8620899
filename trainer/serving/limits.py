"""What a server takes at most: whoever asks for more gets an answer, and costs no memory."""

from typing import NamedTuple


class Limits(NamedTuple):
    """The bounds of one server."""

    batch: int = 32  # pictures that are computed together
    wait: float = 0.003  # seconds that a batch waits for pictures that are being decoded
    body: int = 16 * 10**6  # bytes of a request
    bodies: int = 16  # full ones that are held at once, whatever number of smaller ones that makes
    pictures: int = 32  # of a request
    waiting: int = 256  # pictures that are decoded, wait or are computed, of all requests
    silence: float = 10  # seconds in which nothing of a body comes
    farewell: int = 15  # seconds that requests at work have when the server is stopped
