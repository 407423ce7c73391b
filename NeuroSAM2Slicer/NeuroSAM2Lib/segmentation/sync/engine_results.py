"""Propagation requests, and the results of engine events for the scene."""

from dataclasses import dataclass

from NeuroSAM2Core.volume import Direction, SliceMask


@dataclass(frozen=True, kw_only=True, slots=True)
class PropagationRequest:
    """A request to propagate."""

    object_ids: tuple[int, ...]
    first: int | None = None
    last: int | None = None
    direction: Direction = Direction.BOTH
    beyond: tuple[int, ...] = ()
    """In place of a range: slices where the object has ended, to be done as if it went on there."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A click's mask, for the latest prompt set of that slice."""

    mask: SliceMask
    stale_first: int
    stale_last: int


@dataclass(frozen=True, slots=True)
class Tracked:
    """A slice reached by the current propagation."""

    mask: SliceMask


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A slice changed by the volume clean-up."""

    mask: SliceMask
    is_first: bool
    """Of this propagation."""


@dataclass(frozen=True, slots=True)
class Previewed:
    """The mask of a preview; None where there will be none."""

    mask: SliceMask | None


@dataclass(frozen=True, slots=True)
class PropagationFinished:
    """The current propagation has finished."""

    was_stopped: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """An error message for the user."""

    sentence: str


@dataclass(frozen=True, slots=True)
class VolumeLost:
    """The engine has closed the volume, which must be opened again."""

    reason: str


EngineResult = Answered | Tracked | Cleaned | Previewed | PropagationFinished | VolumeLost | Problem
