"""What a request brings: a body that is bounded while it comes, and the pictures in it."""

import asyncio
import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from trainer.serving.limits import Limits

KINDS = "image/…, application/octet-stream, multipart/form-data or application/json"
BUSY = {"Retry-After": "1"}  # seconds


class Picture(NamedTuple):
    """One file of a request."""

    name: str | None  # None where the request gives none
    content: bytes


class Bodies:
    """All bodies that are held: what they weigh together is bounded."""

    def __init__(self, limits: Limits) -> None:
        self.weight = 0  # bytes
        self._limits = limits

    @contextmanager
    def taken(self, request: Request) -> Iterator[Request]:
        """The request with a body that ends in an error where it becomes too large (413), where
        nothing comes any more (408), or where all together become too heavy (503).

        A body that announces its size is refused before a byte of it is read.
        """
        limits, own = self._limits, 0
        announced = request.headers.get("content-length", "0")
        if int(announced) > limits.body:  # digits: the protocol's parser refuses anything else
            raise _too_large(limits)

        async def receive() -> Message:
            nonlocal own
            try:
                async with asyncio.timeout(limits.silence):
                    message = await request.receive()
            except TimeoutError:
                text = f"nothing of the body came for {limits.silence:g} seconds"
                raise HTTPException(408, text) from None
            count = len(message.get("body", b""))
            own, self.weight = own + count, self.weight + count
            if own > limits.body:
                raise _too_large(limits)
            if self.weight > limits.body * limits.bodies:
                raise HTTPException(503, "too many requests at once", BUSY)
            return message

        try:
            yield Request(request.scope, receive)
        finally:
            self.weight -= own


def _too_large(limits: Limits) -> HTTPException:
    return HTTPException(413, f"the body is larger than {limits.body / 10**6:g} MB")


async def pictures(request: Request, limits: Limits) -> list[Picture]:
    """The pictures of a body, at least one, by its content type: one as it is, files of a form, or
    `{"images": ["<base64>", …]}`.

    Raises: HTTPException 400 or 422 where there are too many, none, or not what was announced; 415
    for other content types.
    """
    kind = request.headers.get("content-type", "application/octet-stream")
    match kind.partition(";")[0].strip().lower().partition("/"):
        case ("image", _, _) | ("application", _, "octet-stream"):
            found = [Picture(None, await request.body())]
        case ("multipart", _, "form-data"):
            found = await _files(request, limits)
        case ("application", _, "json"):
            found = await asyncio.to_thread(_encoded, await request.body(), limits)
        case _:
            raise HTTPException(415, f"expected {KINDS}, received {kind}")
    _demand_count(len(found), limits)
    return found


def document(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is. Raises: HTTPException 400."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise HTTPException(400, "the body is not a JSON object")
    return found


async def _files(request: Request, limits: Limits) -> list[Picture]:
    """Of a form; more than the limit are not even taken apart."""
    found = []
    async with request.form(max_files=limits.pictures, max_fields=limits.pictures) as form:
        for name, value in form.multi_items():
            if not isinstance(value, UploadFile):
                raise HTTPException(422, f"the field '{name}' is no file: it has no filename")
            found.append(Picture(value.filename or None, await value.read()))
    return found


def _encoded(body: bytes, limits: Limits) -> list[Picture]:
    images = document(body).get("images")
    if not isinstance(images, list) or not all(isinstance(each, str) for each in images):
        raise HTTPException(422, 'expected {"images": ["<base64>", …]}')
    _demand_count(len(images), limits)  # first: a body has room for millions of empty ones
    try:
        return [Picture(None, base64.b64decode(each, validate=True)) for each in images]
    except ValueError as error:
        raise HTTPException(400, f"an image is not base64: {error}") from None


def _demand_count(count: int, limits: Limits) -> None:
    """Raises: HTTPException 422 of none, 400 of too many."""
    if not count:
        raise HTTPException(422, "no picture in the request")
    if count > limits.pictures:
        most = limits.pictures
        raise HTTPException(400, f"{count} pictures in the request, at most {most} are taken")
