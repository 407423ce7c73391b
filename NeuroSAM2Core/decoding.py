"""Values of JSON and TOML as dataclasses: the classes are the schema, and what does not fit is named with its place.

A table must have the fields of its class and no others, with values of their types; fields with a default may be left out. Everything that
a class checks when it is made is checked here too. Messages and files of ours are read with it. It needs no package: Slicer's process reads
journals and connects to a worker before any is installed.
"""

import dataclasses
import difflib
import json
import math
import reprlib
import tomllib
import types
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from NeuroSAM2Core.errors import NeuroSAM2Error

T = TypeVar("T")
MAX_DIGITS = 18
NESTED = "it is nested too deeply"


class DecodingError(ValueError):
    """A value that its class does not allow.

    Args:
        message: Where it stands, what it is and what was expected.
        hint: What was probably meant.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class MissingFieldError(DecodingError):
    """A field without a default that is not there."""

    def __init__(self, key: str, others: Collection[str]) -> None:
        there = f"; there is {reprlib.repr(', '.join(others))[1:-1]}" if others else ""
        super().__init__(f"{key} is missing{there}")
        self.key = key


class UnknownFieldError(DecodingError):
    """A field that its class does not have."""

    def __init__(self, place: str, name: str, owner: type) -> None:
        super().__init__(f"{place or 'the table'} has no field {reprlib.repr(name)}")
        self.place, self.name, self.owner = place, name, owner


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """How a kind of message or file is read."""

    custom: Mapping[object, Callable[[object, str], object]] = field(default_factory=dict)
    """From a value and its place, for types that JSON does not have."""
    skips_unknown: bool = False
    """Fields that a later version adds are passed over."""
    is_for_people: bool = False
    """A person writes the file: one value may stand for a list of one, and what a class refuses is named with its table."""


STRICT = Rules()
Decoder = Callable[[object, str, Rules], object]
"""From a value and its place to what its type makes of it."""


def decoded(kind: type[T], value: object, place: str, rules: Rules = STRICT) -> T:
    """What a value of JSON or TOML says.

    Args:
        kind: The dataclass, or another type that its fields may have.
        value: As `json` or `tomllib` give it.
        place: Of the value, for messages; may be empty.
        rules: How it is read.

    Raises:
        DecodingError: It does not fit.
        NeuroSAM2Error: A class refuses what it is given.
    """
    schema: object = kind
    return cast(T, _decoder(schema)(value, place, rules))


def parse_json(text: str | bytes, *, nan_is_none: bool = False) -> object:
    """What a JSON text says.

    Args:
        text: Of a file or a message.
        nan_is_none: NaN and the infinities are None, instead of refused.

    Raises:
        DecodingError: It is not JSON; neither is NaN, nor what is nested without end.
    """
    try:
        return json.loads(text, parse_constant=_none_of if nan_is_none else _refuse_constant)
    except ValueError as error:  # also: it is not UTF-8, or has a number of thousands of digits
        raise DecodingError(str(error)[:80]) from error
    except RecursionError:
        raise DecodingError(NESTED) from None


def parse_toml(text: str) -> dict[str, object]:
    """What a TOML text says.

    Raises:
        DecodingError: It is not TOML; neither is what is nested without end. Names the line.
    """
    try:
        return tomllib.loads(text)
    except ValueError as error:  # also: it has a number of thousands of digits
        raise DecodingError(str(error)[:200]) from error
    except RecursionError:
        raise DecodingError(NESTED) from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _none_of(name: str) -> None:
    return None


def parse_count(text: str) -> int | None:
    """The number that digits say; None for any other text, and for more digits than 64 bits have."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else None


@cache
def _decoder(kind: object) -> Decoder:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is not None and hasattr(origin, "__value__"):  # an alias, as NDArray is one from NumPy 2.5 on
        origin = get_origin(origin.__value__)
    if origin in (Union, types.UnionType):
        (one,) = (argument for argument in arguments if argument is not types.NoneType)
        inner = _decoder(one)
        return lambda value, *rest: None if value is None else inner(value, *rest)
    if origin is Literal:
        return _choice_decoder({one: one for one in arguments})
    if origin is tuple:
        return _tuple_decoder(arguments)
    if origin is dict:
        return _dict_decoder(arguments[1])
    if origin is not None:
        return _custom_decoder(origin)
    assert isinstance(kind, type)
    if dataclasses.is_dataclass(kind):
        return _dataclass_decoder(kind)
    if issubclass(kind, Enum):
        return _choice_decoder({one.value: one for one in kind})
    return PLAIN.get(kind) or _custom_decoder(kind)


def _whole_number(value: object, place: str, rules: Rules) -> object:
    if type(value) is not int:
        raise _wrong(place, "a whole number", value)
    if abs(value) >= 1 << 63:
        raise _wrong(place, "a whole number of 64 bits", value)
    return value


def _number(value: object, place: str, rules: Rules) -> object:
    if type(value) is int and abs(value) < 1 << 1000:
        return float(value)
    if type(value) is not float:
        raise _wrong(place, "a number", value)
    if not math.isfinite(value):  # JSON may say 1e999
        raise _wrong(place, "a finite number", value)
    return value


def _flag(value: object, place: str, rules: Rules) -> object:
    if type(value) is not bool:
        raise _wrong(place, "true or false", value)
    return value


def _text(value: object, place: str, rules: Rules) -> object:
    if type(value) is not str or (not value.isascii() and any("\ud800" <= one <= "\udfff" for one in value)):
        raise _wrong(place, "a text", value)  # half characters: JSON can name them, and nothing can write them
    return value


def _path(value: object, place: str, rules: Rules) -> object:
    text = _text(value, place, rules)
    if "\0" in cast(str, text):
        raise _wrong(place, "a path", value)
    return Path(cast(str, text))


PLAIN: Mapping[type, Decoder] = {int: _whole_number, float: _number, bool: _flag, str: _text, Path: _path}


def _custom_decoder(kind: object) -> Decoder:
    return lambda value, place, rules: rules.custom[kind](value, place)


def _choice_decoder(choices: Mapping[object, object]) -> Decoder:
    known = [str(one) for one in choices]

    def decode(value: object, place: str, rules: Rules) -> object:
        if type(value) not in (str, int) or value not in choices:
            near = difflib.get_close_matches(str(value)[:100], known, n=1)
            raise _wrong(place, f"one of {', '.join(known)}", value, hint=f"did you mean {near[0]!r}?" if near else "")
        return choices[value]

    return decode


def _tuple_decoder(arguments: tuple[object, ...]) -> Decoder:
    is_open = arguments[-1] is Ellipsis
    inner = [_decoder(one) for one in arguments if one is not Ellipsis]

    def decode(value: object, place: str, rules: Rules) -> object:
        if not isinstance(value, list | tuple):
            if not rules.is_for_people:
                raise _wrong(place, "a list", value)
            value = [value]
        if not is_open and len(value) != len(inner):
            raise _wrong(place, f"a list of {len(inner)} values", value)
        decoders = inner * len(value) if is_open else inner
        return tuple(
            one(part, f"{place}[{number}]", rules)
            for number, (one, part) in enumerate(zip(decoders, value, strict=True))
        )

    return decode


def _dict_decoder(kind: object) -> Decoder:
    inner = _decoder(kind)

    def decode(value: object, place: str, rules: Rules) -> object:
        if not isinstance(value, Mapping):
            raise _wrong(place, "a table", value)
        prefix = f"{place}." if place else ""
        return {_text(key, place, rules): inner(one, f"{prefix}{key}", rules) for key, one in value.items()}

    return decode


def _dataclass_decoder(kind: type) -> Decoder:
    hints, missing = get_type_hints(kind), dataclasses.MISSING
    fields = {one.name: _decoder(hints[one.name]) for one in dataclasses.fields(kind)}
    needed = {
        one.name: dataclasses.is_dataclass(hints[one.name])
        for one in dataclasses.fields(kind)
        if one.default is missing and one.default_factory is missing
    }

    def decode(value: object, place: str, rules: Rules) -> object:
        if not isinstance(value, Mapping):
            raise _wrong(place, "a table", value)
        given = value
        if not value.keys() <= fields.keys():
            if not rules.skips_unknown:
                raise UnknownFieldError(place, next(name for name in value if name not in fields), kind)
            value = {name: one for name, one in value.items() if name in fields}
        prefix = f"{place}." if place else ""
        if not needed.keys() <= value.keys():
            for name in [name for name in needed if name not in value]:
                if not needed[name]:
                    raise MissingFieldError(prefix + name, given)
                value = {**value, name: {}}  # whose decoder names the field that is missing there
        values = {name: fields[name](one, prefix + name, rules) for name, one in value.items()}
        try:
            return kind(**values)
        except NeuroSAM2Error as error:
            if rules.is_for_people and place and place not in error.message:
                raise type(error)(f"{place}: {error.message}", hint=error.hint) from None
            raise

    return decode


def _wrong(place: str, expected: str, value: object, *, hint: str = "") -> DecodingError:
    return DecodingError(f"{place or 'it'} is {reprlib.repr(value)}; expected {expected}", hint=hint)
