"""Names and colours of the values of a label map."""

import colorsys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from NeuroSAM2Core.labels.freesurfer import FREESURFER, LARGEST, UNMISTAKABLE

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""
GOLDEN_ANGLE = 0.618034
"""Of a turn of the hues: neighbouring values get colours that differ most."""


@dataclass(frozen=True, slots=True)
class LabelEntry:
    """A value."""

    value: int
    """Above 0."""
    name: str
    colour: Colour


@dataclass(frozen=True, slots=True)
class LabelTable:
    """Values with their names and colours; each value once."""

    entries: tuple[LabelEntry, ...] = ()

    def __post_init__(self) -> None:
        by_value = {entry.value: entry for entry in self.entries if entry.value > 0}
        object.__setattr__(self, "entries", tuple(by_value[value] for value in sorted(by_value)))

    def restricted(self, values: Iterable[int]) -> "LabelTable":
        """A table of exactly these values; those that have no entry are named by their number."""
        known = MappingProxyType({entry.value: entry for entry in self.entries})
        return LabelTable(tuple(known.get(value) or unnamed(value) for value in values))


def table_for(values: Sequence[int]) -> LabelTable:
    """What values mean where no table is there: FreeSurfer's where they are no other's, else their numbers."""
    numbered = {value: LabelEntry(value, name, colour) for value, name, colour in FREESURFER}
    of_aseg = [value for value in values if value <= LARGEST]
    is_freesurfer = len(set(of_aseg) & UNMISTAKABLE) > 1 and sum(map(numbered.__contains__, of_aseg)) > 0.9 * len(
        of_aseg
    )
    return LabelTable(tuple(numbered.values()) if is_freesurfer else ()).restricted(values)


def unnamed(value: int) -> LabelEntry:
    """The entry of a value that no table names."""
    red, green, blue = colorsys.hsv_to_rgb((value * GOLDEN_ANGLE) % 1.0, 0.65, 0.95)
    return LabelEntry(value, f"label {value}", (round(255 * red), round(255 * green), round(255 * blue)))
