"""How many slices of each object a person has prompted, corrected and confirmed, from the file beside a saved segmentation."""

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
    scribbles: tuple[_OnSlice, ...] = ()
    lassos: tuple[_OnSlice, ...] = ()


@dataclass(frozen=True, slots=True)
class _Prompts:
    objects: tuple[_Object, ...]


def read_slice_counts(path: Path) -> tuple[SliceCounts, ...]:
    """The objects of the file, in its order.

    Raises:
        DataError: It cannot be read, or its label values are none.
    """
    try:
        content = decoded(_Prompts, parse_json(disk.read_text(path)), "", Rules(skips_unknown=True))
    except (OSError, DecodingError, UnicodeError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="give the .json beside a saved segmentation") from error
    labels = [one.label for one in content.objects if one.label is not None]
    if labels and (len(set(labels)) < len(content.objects) or min(labels) < 1):
        raise DataError(
            f"{path} cannot be read: objects have the same label value, none or one below 1",
            hint="give the .json beside a saved segmentation",
        )
    return tuple(_counts(one) for one in content.objects)


def _counts(one: _Object) -> SliceCounts:
    slices = [prompt.slice for prompt in (*one.points, *one.boxes, *one.scribbles, *one.lassos)]
    return SliceCounts(
        name=one.name,
        prompted=len(set(slices)),
        corrected=sum(slices.count(index) > 1 for index in set(slices)),
        confirmed=len(one.slices_confirmed_by_hand),
        label=one.label,
    )
