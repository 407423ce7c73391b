"""Messages as frames and back: the header is the message's fields as JSON, masks (packed) and bytes are buffers.

The message classes are the schema, as `decoding` reads it. Nothing in a frame can name code.
"""

import dataclasses
import json
import zlib
from functools import cache
from typing import TypeVar, cast, get_args

import numpy as np

from NeuroSAM2Core.decoding import DecodingError, Rules, decoded, parse_json
from NeuroSAM2Core.errors import ProtocolError
from NeuroSAM2Core.remote.framing import Frame, mask_from_bits, pack_frame
from NeuroSAM2Core.remote.messages import ClientMessage, WorkerMessage
from NeuroSAM2Core.volume import pack_mask

ID = "id"
"""The header's key for the number of a request."""
TYPE = "type"
"""The header's key for the message's class."""

Buffers = list[bytes]
Json = object
Message = TypeVar("Message", ClientMessage, WorkerMessage)


@dataclasses.dataclass(frozen=True, slots=True)
class NumberedMessage:
    """A client's message with the number it was given."""

    number: int
    message: ClientMessage


def encode_request(number: int, message: ClientMessage) -> bytes:
    """The frame of a client's message."""
    return _encode(message, {ID: number})


def encode_event(message: WorkerMessage) -> bytes:
    """The frame of a worker's message."""
    return _encode(message, {})


def decode_request(frame: Frame) -> NumberedMessage:
    """What a client sent.

    Raises:
        ProtocolError: The frame holds no such message.
        NeuroSAM2Error: It holds one that contradicts itself, such as a box whose bottom is above its top.
    """
    header = _header(frame)
    number = header.pop(ID, None)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 1 << 53:
        raise ProtocolError(f"a request needs a number as {ID!r}; got {number!r}")
    return NumberedMessage(number, cast(ClientMessage, _message(header, frame, _classes(ClientMessage))))


def decode_event(frame: Frame) -> WorkerMessage:
    """What a worker sent; raises as `decode_request` does."""
    return cast(WorkerMessage, _message(_header(frame), frame, _classes(WorkerMessage)))


def request_number(frame: Frame) -> int:
    """The number of a request that may be beyond reading otherwise; 0 where there is none."""
    try:
        number = _header(frame).get(ID)
    except ProtocolError:
        return 0
    return number if isinstance(number, int) and not isinstance(number, bool) else 0


def _encode(message: ClientMessage | WorkerMessage, extra: dict[str, Json]) -> bytes:
    buffers: Buffers = []
    fields = cast(dict[str, Json], _to_json(message, buffers))
    header = {TYPE: type(message).__name__, **extra, **fields}
    return pack_frame(json.dumps(header, allow_nan=False, separators=(",", ":")).encode(), buffers)


def _to_json(value: object, buffers: Buffers) -> Json:
    if dataclasses.is_dataclass(value):
        return {field.name: _to_json(getattr(value, field.name), buffers) for field in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        bits = pack_mask(value)
        packed = zlib.compress(bits, 1)
        is_packed = len(packed) < len(bits)
        buffers.append(packed if is_packed else bits)
        return {"zlib" if is_packed else "bits": len(buffers) - 1, "shape": list(value.shape)}
    if isinstance(value, bytes | memoryview):
        buffers.append(bytes(value))
        return {"bytes": len(buffers) - 1}
    if isinstance(value, np.generic):
        return cast(Json, value.item())
    if isinstance(value, tuple):
        return [_to_json(one, buffers) for one in value]
    return value


def _header(frame: Frame) -> dict[str, Json]:
    try:
        header = parse_json(frame.header)
    except DecodingError as error:
        raise ProtocolError(f"the header of a frame is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise ProtocolError(f"the header of a frame is a JSON {type(header).__name__}; expected an object")
    return header


def _message(header: dict[str, Json], frame: Frame, classes: dict[str, type]) -> object:
    name = header.pop(TYPE, None)
    if not isinstance(name, str) or name not in classes:
        raise ProtocolError(f"there is no message {str(name)[:40]!r}", hint=f"known: {', '.join(sorted(classes))}")
    buffers = _FrameBuffers(frame)
    try:
        message: object = decoded(
            classes[name], header, name, Rules(custom={np.ndarray: buffers.mask, bytes: buffers.data})
        )
    except DecodingError as error:
        raise ProtocolError(str(error), hint=error.hint) from None
    if buffers.unused:
        raise ProtocolError(f"{name} came with {len(buffers.unused)} buffers that it does not speak of")
    return message


@cache
def _classes(union: object) -> dict[str, type]:
    return {one.__name__: one for one in get_args(union)}


class _FrameBuffers:
    """The buffers of a frame, each of which stands for one mask or one value of bytes."""

    def __init__(self, frame: Frame) -> None:
        self._buffers, self.unused = frame.buffers, set(range(len(frame.buffers)))

    def mask(self, value: Json, place: str) -> object:
        """A mask, from its shape and the number of the buffer with its bits."""
        is_packed = isinstance(value, dict) and "zlib" in value
        buffer = self._take(value, "zlib" if is_packed else "bits", place)
        shape = cast(dict[str, Json], value).get("shape")
        if not isinstance(shape, list) or len(shape) != 2 or not all(type(n) is int for n in shape):
            raise ProtocolError(f"{place} has the shape {str(shape)[:40]}; expected two positive numbers")
        return mask_from_bits(buffer, (shape[0], shape[1]), place, is_packed=is_packed)

    def data(self, value: Json, place: str) -> object:
        """Bytes, from the number of their buffer."""
        return self._take(value, "bytes", place)

    def _take(self, value: Json, key: str, place: str) -> bytes:
        number = value.get(key) if isinstance(value, dict) else None
        if type(number) is not int or number not in self.unused:
            raise ProtocolError(f"{place} is {str(value)[:40]}; expected the number of a buffer as {key!r}")
        self.unused.discard(number)
        return self._buffers[number]
