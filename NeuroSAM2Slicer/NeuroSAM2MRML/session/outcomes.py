"""What was asked of the engine beyond a click, and what its events mean for the scene."""

from dataclasses import dataclass

from NeuroSAM2Core.volume import Direction, SliceMask


@dataclass(frozen=True, kw_only=True, slots=True)
class Journey:
    """A propagation as it was asked for."""

    object_ids: tuple[int, ...]
    first: int | None = None
    last: int | None = None
    direction: Direction = Direction.BOTH
    beyond: tuple[int, ...] = ()
    """In place of a range: slices where the object has ended, to be done as if it went on there."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A click's mask, for the latest statement about that slice."""

    mask: SliceMask
    stale_first: int
    stale_last: int


@dataclass(frozen=True, slots=True)
class Tracked:
    """A slice that the propagation under way has reached."""

    mask: SliceMask


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A slice that looks otherwise now that its object was cleaned as a whole."""

    mask: SliceMask
    is_first: bool
    """Of this propagation."""


@dataclass(frozen=True, slots=True)
class Previewed:
    """What a click would give; None where that will not be known."""

    mask: SliceMask | None


@dataclass(frozen=True, slots=True)
class JourneyEnded:
    """The propagation under way has ended."""

    was_stopped: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that the person should know."""

    sentence: str


@dataclass(frozen=True, slots=True)
class VolumeGone:
    """The engine has let go of the volume and must be told of it anew."""

    reason: str


Outcome = Answered | Tracked | Cleaned | Previewed | JourneyEnded | VolumeGone | Problem
