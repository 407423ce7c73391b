"""Messages as frames and back: the header is the message's fields as JSON, masks (packed) and bytes are buffers.

The message classes are the schema: a header must have their fields and no others, with values of their types; fields with a default may be
left out. Everything that a class checks when it is made is checked here too. Nothing in a frame can name code.
"""

import dataclasses
import json
import math
import types
import zlib
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from typing import TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

from NeuroSAM2Core.errors import NeuroSAM2Error, ProtocolError
from NeuroSAM2Core.remote.framing import AUTHENTICATED_LIMITS, Frame, pack_frame
from NeuroSAM2Core.remote.messages import ClientMessage, WorkerMessage
from NeuroSAM2Core.remote.packing import unpacked
from NeuroSAM2Core.volume import pack_mask, unpack_mask

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
        header = json.loads(frame.header, parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:  # ValueError: no UTF-8, no JSON, a number without end
        raise ProtocolError(f"the header of a frame is not JSON: {str(error)[:80]}") from None
    if not isinstance(header, dict):
        raise ProtocolError(f"the header of a frame is a JSON {type(header).__name__}; expected an object")
    return header


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _message(header: dict[str, Json], frame: Frame, classes: dict[str, type]) -> object:
    name = header.pop(TYPE, None)
    if not isinstance(name, str) or name not in classes:
        raise ProtocolError(f"there is no message {str(name)[:40]!r}", hint=f"known: {', '.join(sorted(classes))}")
    unused = set(range(len(frame.buffers)))
    message = _decoder(classes[name])(header, frame, unused, name)
    if unused:
        raise ProtocolError(f"{name} came with {len(unused)} buffers that it does not speak of")
    return message


@cache
def _classes(union: object) -> dict[str, type]:
    return {one.__name__: one for one in get_args(union)}


Decoder = Callable[[Json, Frame, set[int], str], object]
"""From JSON, the frame, the buffers not spoken of so far and the place's name (for messages) to a value."""


@cache
def _decoder(kind: object) -> Decoder:
    """How values of a type are read. The types are those that fields of messages have."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is not None and hasattr(origin, "__value__"):  # an alias, as NDArray is one from NumPy 2.5 on
        origin = get_origin(origin.__value__)
    if origin in (Union, types.UnionType):
        (one,) = (argument for argument in arguments if argument is not types.NoneType)
        inner = _decoder(one)
        return lambda value, *rest: None if value is None else inner(value, *rest)
    if origin is tuple:
        return _tuple_decoder(arguments)
    if origin is np.ndarray:
        return _decode_mask
    if kind is bytes:
        return _decode_bytes
    assert isinstance(kind, type)
    if dataclasses.is_dataclass(kind):
        return _dataclass_decoder(kind)
    if issubclass(kind, StrEnum):
        return _enum_decoder(kind)
    return _plain_decoder(kind)


def _plain_decoder(kind: type) -> Decoder:
    assert kind in (bool, int, float, str)

    def decode(value: Json, frame: Frame, unused: set[int], place: str) -> object:
        if kind is float and type(value) is int and abs(value) < 1 << 1000:
            return float(value)
        if type(value) is not kind:
            raise _wrong(place, kind.__name__, value)
        if kind is float and not math.isfinite(cast(float, value)):  # JSON may say 1e999
            raise _wrong(place, "a finite number", value)
        if kind is int and abs(cast(int, value)) >= 1 << 63:
            raise _wrong(place, "a number of 64 bits", value)
        if kind is str and not cast(str, value).isascii() and _has_surrogates(cast(str, value)):
            raise _wrong(place, "text", ascii(value))
        return value

    return decode


def _has_surrogates(text: str) -> bool:
    """Half characters, which JSON can name and nothing can write."""
    return any("\ud800" <= one <= "\udfff" for one in text)


def _enum_decoder(kind: type[StrEnum]) -> Decoder:
    def decode(value: Json, frame: Frame, unused: set[int], place: str) -> object:
        try:
            return kind(cast(str, value))
        except ValueError:
            raise _wrong(place, f"one of {', '.join(kind)}", value) from None

    return decode


def _tuple_decoder(arguments: tuple[object, ...]) -> Decoder:
    count = None if arguments[-1] is Ellipsis else len(arguments)
    inner = _decoder(arguments[0])

    def decode(value: Json, frame: Frame, unused: set[int], place: str) -> object:
        if not isinstance(value, list) or (count is not None and len(value) != count):
            raise _wrong(place, "a list" if count is None else f"a list of {count}", value)
        return tuple(inner(one, frame, unused, f"{place}[{number}]") for number, one in enumerate(value))

    return decode


def _dataclass_decoder(kind: type) -> Decoder:
    fields = {name: _decoder(hint) for name, hint in get_type_hints(kind).items()}
    missing = dataclasses.MISSING
    needed = {f.name for f in dataclasses.fields(kind) if f.default is missing and f.default_factory is missing}

    def decode(value: Json, frame: Frame, unused: set[int], place: str) -> object:
        if not isinstance(value, dict):
            raise _wrong(place, "an object", value)
        unknown, lacking = sorted(value.keys() - fields.keys()), sorted(needed - value.keys())
        if unknown or lacking:
            what = "no field" if unknown else "a field that did not come:"
            raise ProtocolError(f"{place} has {what} {str((unknown or lacking)[0])[:40]!r}")
        return kind(**{name: fields[name](one, frame, unused, f"{place}.{name}") for name, one in value.items()})

    return decode


def _decode_mask(value: Json, frame: Frame, unused: set[int], place: str) -> object:
    is_packed = isinstance(value, dict) and "zlib" in value
    buffer = _take_buffer(value, "zlib" if is_packed else "bits", frame, unused, place)
    shape = cast(dict[str, Json], value).get("shape")
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(n) is int and n > 0 for n in shape):
        raise _wrong(place, "a shape of two positive numbers", shape)
    expected = (shape[0] * shape[1] + 7) // 8
    if expected > AUTHENTICATED_LIMITS.max_body_bytes:
        raise ProtocolError(f"{place} of shape {tuple(shape)} is larger than any slice that is taken")
    if is_packed:
        buffer = unpacked(buffer, expected, f"the bits of {place}")
    if expected != len(buffer):
        raise ProtocolError(f"{place} of shape {tuple(shape)} came with {len(buffer)} bytes of bits")
    return unpack_mask(buffer, (shape[0], shape[1]))


def _decode_bytes(value: Json, frame: Frame, unused: set[int], place: str) -> object:
    return _take_buffer(value, "bytes", frame, unused, place)


def _take_buffer(value: Json, key: str, frame: Frame, unused: set[int], place: str) -> bytes:
    number = value.get(key) if isinstance(value, dict) else None
    if type(number) is not int or number not in unused:
        raise _wrong(place, f"the number of a buffer as {key!r}", value)
    unused.discard(number)
    return frame.buffers[number]


def _wrong(place: str, expected: str, value: object) -> NeuroSAM2Error:
    return ProtocolError(f"{place} is {str(value)[:40]!r}; expected {expected}")
