"""How many slices of each object a person has prompted, corrected and confirmed, from the file beside a saved segmentation."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.decoding import DecodingError, Rules, decoded, parse_json
from NeuroSAM2Core.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceCounts:
    """Slices of an object."""

    name: str
    prompted: int
    """With a click, a box, a scribble or a lasso."""
    corrected: int
    """Of those, with more than one."""
    confirmed: int
    """As they were, by hand."""
    label: int | None = None
    """The object's value in a label map; None where the file, of an earlier version, names none."""
    seconds: float | None = None
    """Spent on it; None where that was not counted."""


@dataclass(frozen=True, slots=True)
class Model:
    """The model that answered last."""

    name: str = ""
    sha256: str = ""
    """Of its file; empty where the file was on another machine."""


@dataclass(frozen=True, slots=True)
class _OnSlice:
    slice: int


@dataclass(frozen=True, slots=True)
class _Object:
    name: str
    points: tuple[_OnSlice, ...]
    boxes: tuple[_OnSlice, ...]
    slices_confirmed_by_hand: tuple[int, ...]
    label: int | None = None
    seconds_spent: float | None = None
    scribbles: tuple[_OnSlice, ...] = ()
    lassos: tuple[_OnSlice, ...] = ()


@dataclass(frozen=True, slots=True)
class _Prompts:
    objects: tuple[_Object, ...]
    model: Model = Model()


def read_slice_counts(path: Path) -> tuple[SliceCounts, ...]:
    """The objects of the file, in its order.

    Raises:
        DataError: It cannot be read, or its label values are none.
    """
    content = _read(path)
    labels = [one.label for one in content.objects if one.label is not None]
    if labels and (len(set(labels)) < len(content.objects) or min(labels) < 1):
        raise DataError(
            f"{path} cannot be read: objects have the same label value, none or one below 1",
            hint="give the .json beside a saved segmentation",
        )
    return tuple(_counts(one) for one in content.objects)


def read_model(path: Path) -> Model:
    """The model that the file names.

    Raises:
        DataError: It cannot be read.
    """
    return _read(path).model


def counts_of(
    name: str,
    prompts: Iterable[int],
    confirmed: Iterable[int],
    *,
    label: int | None = None,
    seconds: float | None = None,
) -> SliceCounts:
    """Counts the slices of an object.

    Args:
        name: Of it.
        prompts: The slice of every click, box and other prompt.
        confirmed: The slices that were confirmed by hand.
        label: Its value in a label map.
        seconds: Spent on it.
    """
    slices = list(prompts)
    return SliceCounts(
        name=name,
        prompted=len(set(slices)),
        corrected=sum(slices.count(index) > 1 for index in set(slices)),
        confirmed=len(set(confirmed)),
        label=label,
        seconds=seconds,
    )


def _read(path: Path) -> _Prompts:
    try:
        return decoded(_Prompts, parse_json(disk.read_text(path)), "", Rules(skips_unknown=True))
    except (OSError, DecodingError, UnicodeError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="give the .json beside a saved segmentation") from error


def _counts(one: _Object) -> SliceCounts:
    return counts_of(
        one.name,
        (prompt.slice for prompt in (*one.points, *one.boxes, *one.scribbles, *one.lassos)),
        one.slices_confirmed_by_hand,
        label=one.label,
        seconds=one.seconds_spent,
    )
