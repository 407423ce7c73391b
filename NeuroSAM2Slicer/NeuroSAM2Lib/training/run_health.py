"""What goes wrong in a run, seen in its numbers while there is time to stop it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from NeuroSAM2Lib.i18n import tr as _

Curve = Sequence[tuple[int, float]]
"""Values by step."""
MIN_REPORTS = 10
"""In each third of a run, before its losses are compared: they vary with what was drawn for a step."""
CERTAIN = 0.9
"""So many of all pairs of an early and a late loss rise. In 300 simulated runs of 200 reports without a trend they never did."""
MIN_FALL = 0.02
"""Of the validation Dice below its best, before it is said to fall."""
MAX_NAMED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class RunNumbers:
    """What a run has reported."""

    losses: Curve
    dices: Curve
    """Mean Dice on the validation cases."""
    not_finite_at: int | None = None
    """The step of a loss that is no number; None without any."""
    skipped: Mapping[str, str]
    """Cases that cannot be used, each with the reason."""


def problems(numbers: RunNumbers) -> tuple[str, ...]:
    """What is wrong, a sentence each; nothing where nothing is."""
    found = []
    if numbers.not_finite_at is not None:
        found.append(
            _("The loss of step {step} is not a number. Stop, and begin again with lower learning rates.").format(
                step=numbers.not_finite_at
            )
        )
    if is_rising(numbers.losses):
        found.append(_("The loss rises. The learning rates may be too high: the model forgets more than it learns."))
    best = overfitted_since(numbers.losses, numbers.dices)
    if best is not None:
        step, dice = best
        found.append(
            _(
                "Dice on the checked cases falls, from {best:.2f} at step {step} to {now:.2f}, while the loss falls, too: the model learns "
                "the training cases by heart. You can stop; the model of step {step} is kept as the best one."
            ).format(best=dice, step=step, now=numbers.dices[-1][1])
        )
    if numbers.skipped:
        found.append(_skipped(list(numbers.skipped.items())))
    return tuple(found)


def _skipped(cases: Sequence[tuple[str, str]]) -> str:
    named = "; ".join(f"{case} ({reason})" for case, reason in cases[:MAX_NAMED])
    if len(cases) > MAX_NAMED:
        return _("Cases that cannot be used are left out: {cases}; and {more} more.").format(
            cases=named, more=len(cases) - MAX_NAMED
        )
    return _("Cases that cannot be used are left out: {cases}.").format(cases=named)


def is_rising(losses: Curve) -> bool:
    """The last third of the losses is above the better one of the two before it."""
    size = len(losses) // 3
    if size < MIN_REPORTS:
        return False
    values = np.array([value for _step, value in losses])
    late = values[-size:]
    early = min((values[:size], values[size : 2 * size]), key=lambda part: float(np.median(part)))
    below = np.searchsorted(np.sort(early), late)  # of each late loss, how many early ones
    return float(below.mean()) / size >= CERTAIN


def overfitted_since(losses: Curve, dices: Curve) -> tuple[int, float] | None:
    """Step and Dice of the best validation, where the last two are below it and the loss fell after it; None otherwise."""
    if len(dices) < 3:
        return None
    step, best = max(dices, key=lambda one: one[1])
    if any(at <= step or dice > best - MIN_FALL for at, dice in dices[-2:]):
        return None
    before = [value for at, value in losses if at <= step]
    after = [value for at, value in losses if at > step]
    fell = bool(before and after) and np.median(after) < np.median(before[-len(after) :])
    return (step, best) if fell else None
