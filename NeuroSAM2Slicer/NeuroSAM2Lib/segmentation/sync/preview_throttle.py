"""Throttles previews by the speed of the model. Pure: time is passed in."""

from dataclasses import dataclass

QUICK_S = 0.3
"""An outline that comes later than this is no answer to where the pointer is."""
REST = 10.0
"""After a slow answer nothing is asked for this many times as long as it took, so that clicks find the model free."""


@dataclass(frozen=True, slots=True)
class PreviewThrottle:
    """The state of the throttle."""

    rests_until_s: float = 0.0
    """Seconds of any clock that only goes forward."""

    def may_ask(self, now_s: float) -> bool:
        """It is time for another one."""
        return now_s >= self.rests_until_s

    def after(self, asked_s: float, now_s: float) -> "PreviewThrottle":
        """What an answer that has come now, or failed to, shows."""
        took = now_s - asked_s
        return PreviewThrottle(0.0 if took <= QUICK_S else now_s + REST * took)
