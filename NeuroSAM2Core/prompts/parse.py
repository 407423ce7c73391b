"""Prompts as a person types them: `AXIS:INDEX:R0,C0,R1,C1` and `AXIS:INDEX:R,C[,+|-]`."""

from dataclasses import dataclass

from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.prompts.prompts import BoxPrompt, PointPrompt

BOX_EXAMPLE = "for example axial:90:40,60,150,170"
POINT_EXAMPLE = "for example axial:90:100,120,+"


@dataclass(frozen=True, slots=True)
class TypedBox:
    """A box and the slice it was typed for."""

    axis: str
    index: int
    box: BoxPrompt


@dataclass(frozen=True, slots=True)
class TypedPoint:
    """A point and the slice it was typed for."""

    axis: str
    index: int
    point: PointPrompt


def parse_box(text: str) -> TypedBox:
    """`AXIS:INDEX:R0,C0,R1,C1`.

    Raises:
        PromptError: It is not.
    """
    axis, index, rest = _parts(text, "box", BOX_EXAMPLE)
    numbers = _numbers(rest.split(","), text, BOX_EXAMPLE)
    if len(numbers) != 4:
        raise PromptError(f"box {text!r} has {len(numbers)} numbers; expected 4", hint=BOX_EXAMPLE)
    return TypedBox(axis, index, BoxPrompt(*numbers))


def parse_point(text: str) -> TypedPoint:
    """`AXIS:INDEX:R,C[,+|-]`; positive where no sign is given.

    Raises:
        PromptError: It is not.
    """
    axis, index, rest = _parts(text, "point", POINT_EXAMPLE)
    words = rest.split(",")
    sign = words.pop().strip() if words[-1].strip() in ("+", "-") else "+"
    numbers = _numbers(words, text, POINT_EXAMPLE)
    if len(numbers) != 2:
        raise PromptError(f"point {text!r} has {len(numbers)} numbers; expected 2", hint=POINT_EXAMPLE)
    return TypedPoint(axis, index, PointPrompt(numbers[0], numbers[1], sign == "+"))


def _parts(text: str, what: str, example: str) -> tuple[str, int, str]:
    parts = text.split(":")
    if len(parts) != 3:
        raise PromptError(f"{what} {text!r} is not AXIS:INDEX:PLACE", hint=example)
    try:
        return parts[0], int(parts[1]), parts[2]
    except ValueError:
        raise PromptError(f"slice {parts[1]!r} in {text!r} is not a whole number", hint=example) from None


def _numbers(words: list[str], text: str, example: str) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError:
        raise PromptError(f"{text!r} has a place that is not a number", hint=example) from None
