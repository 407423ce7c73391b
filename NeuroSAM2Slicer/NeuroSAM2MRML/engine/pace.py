"""How fast a propagation or a run goes and how long it still takes. Pure: time is passed in."""

from dataclasses import dataclass

SETTLED_S = 0.5
"""Before this nothing is said about the time left."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Something that began at a moment and counts."""

    began_s: float
    """Seconds of any clock that only goes forward."""
    unit: str = "slices"

    def sentence(self, progress: tuple[int, int], now_s: float) -> str:
        """Such as `12 of 40 slices, 8.3 per second, 4 s left`.

        Args:
            progress: How many are done, and how many there are at most.
            now_s: Of the same clock.
        """
        done, total = progress
        if total == 0:
            return "getting ready"
        return f"{done} of {total} {self.unit}{self.speed(progress, now_s)}"

    def speed(self, progress: tuple[int, int], now_s: float) -> str:
        """Such as `, 8.3 per second, 4 s left`; empty while too little is done to say. Arguments as of `sentence`."""
        done, total = progress
        elapsed = now_s - self.began_s
        if done == 0 or elapsed < SETTLED_S:
            return ""
        rate = done / elapsed
        how_fast = f"{rate:.1f} per second" if rate >= 1 else f"{1 / rate:.1f} s each"
        return f", {how_fast}, {time_left((total - done) / rate)}"


def time_left(seconds: float) -> str:
    """In a person's words."""
    if seconds < 60:
        return f"{seconds:.0f} s left"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min left"
    return f"{seconds / 3600:.1f} h left"
