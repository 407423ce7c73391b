"""Speed and remaining time of a propagation or a run. Pure: time is passed in."""

from dataclasses import dataclass

from NeuroSAM2Lib.i18n import tr as _

SETTLED_S = 0.5
"""Before this no time left is shown."""


@dataclass(frozen=True, slots=True)
class ProgressRate:
    """The progress rate of something that began at a known time."""

    began_s: float
    """Seconds of any clock that only goes forward."""
    unit: str = _("slices")

    def sentence(self, progress: tuple[int, int], now_s: float) -> str:
        """Such as `12 of 40 slices, 8.3 per second, 4 s left`.

        Args:
            progress: How many are done, and how many there are at most.
            now_s: Of the same clock.
        """
        done, total = progress
        if total == 0:
            return _("getting ready")
        return _("{done} of {total} {unit}{speed}").format(
            done=done, total=total, unit=self.unit, speed=self.speed(progress, now_s)
        )

    def speed(self, progress: tuple[int, int], now_s: float) -> str:
        """Such as `, 8.3 per second, 4 s left`; empty while too little is done to say. Arguments as of `sentence`."""
        done, total = progress
        elapsed = now_s - self.began_s
        if done == 0 or elapsed < SETTLED_S:
            return ""
        rate = done / elapsed
        how_fast = (
            _("{rate:.1f} per second").format(rate=rate)
            if rate >= 1
            else _("{seconds:.1f} s each").format(seconds=1 / rate)
        )
        return f", {how_fast}, {time_left((total - done) / rate)}"


def time_left(seconds: float) -> str:
    """In a person's words."""
    return _("{time} left").format(time=duration(seconds))


def duration(seconds: float) -> str:
    """In a person's words, rounded."""
    if seconds < 60:
        return _("{seconds:.0f} s").format(seconds=seconds)
    if seconds < 3600:
        return _("{minutes:.0f} min").format(minutes=seconds / 60)
    return _("{hours:.1f} h").format(hours=seconds / 3600)
