"""Plans the passes of a propagation: which slices in which order. Integers only.

Every slice is reached from the confirmed slice nearest to it: passes run outwards from the confirmed slices to the ends of the range,
and between two of them they meet in the middle. A confirmed slice without the object starts no pass: the object ends before it.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pass:
    """A run of neighbouring slices away from a confirmed one."""

    start: int
    """The confirmed slice; not itself part of the pass."""
    last: int
    """The last slice that is done."""

    @property
    def step(self) -> int:
        """1 upwards, -1 downwards."""
        return 1 if self.last > self.start else -1

    @property
    def slices(self) -> range:
        """The slices in the order they are done."""
        return range(self.start + self.step, self.last + self.step, self.step)

    def touches(self, low: int, high: int) -> bool:
        """True if a slice of the pass lies strictly between `low` and `high`."""
        return any(low < n < high for n in (self.slices[0], self.slices[-1])) or (
            min(self.start, self.last) < low < max(self.start, self.last)
        )


def plan_passes(confirmed: Iterable[int], low: int, high: int, *, empty: Collection[int] = ()) -> list[Pass]:
    """The passes that reach every slice from `low` to `high` which may hold the object, upward ones first.

    Args:
        confirmed: Slices with prompts; those outside the range still start passes into it.
        low: First slice of the range.
        high: Last slice of the range.
        empty: Those of them without the object.
    """
    places = sorted(confirmed)
    upward, downward = [], []
    for i, start in enumerate(places):
        following = places[i + 1] if i + 1 < len(places) else None
        preceding = places[i - 1] if i else None
        if start in empty:
            continue
        top, bottom = high, low
        if following is not None:
            top = min(high, following - 1 if following in empty else (start + following) // 2)
        if preceding is not None:
            bottom = max(low, preceding + 1 if preceding in empty else (preceding + start) // 2 + 1)
        if top > start and top >= low:
            upward.append(Pass(start, top))
        if bottom < start and bottom <= high:
            downward.append(Pass(start, bottom))
    return upward + downward


def plan_bidirectional_sweep(confirmed: Iterable[int], low: int, high: int) -> list[Pass]:
    """One pass up and one down from the lowest confirmed slice, as the reference goes."""
    start = min(confirmed)
    return [run for run in (Pass(start, high), Pass(start, low)) if run.last != start]


def neighbours(confirmed: Iterable[int], number: int, num_slices: int) -> tuple[int, int]:
    """The confirmed slices on both sides of a slice; -1 and `num_slices` where there is none."""
    others = [n for n in confirmed if n != number]
    return max((n for n in others if n < number), default=-1), min(
        (n for n in others if n > number), default=num_slices
    )
