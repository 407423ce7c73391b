"""Adapts the probabilities of click and box prompts to their validation scores.

A pure function of the validation history, so that a run that goes on decides as the one that was stopped would have.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from NeuroSAM2Core.training.config.prompt_control import PromptControlConfig


@dataclass(frozen=True, slots=True)
class PromptProbabilities:
    """Probabilities that a clip starts from a box or from a click."""

    box: float
    click: float


@dataclass(frozen=True, slots=True)
class ValidatedKinds:
    """One validation: mean Dice after one box and after one click."""

    box: float
    click: float


def controlled_probabilities(
    base: PromptProbabilities, history: Sequence[ValidatedKinds], control: PromptControlConfig
) -> PromptProbabilities:
    """The probabilities to train with from now on; their sum is that of the base.

    Args:
        base: As configured.
        history: All validations so far, the oldest first; those that measured only one kind are passed over.
        control: How strongly they count.
    """
    whole = [v for v in history if math.isfinite(v.box) and math.isfinite(v.click)][-control.memory :]
    total = base.box + base.click
    if not control.is_on or not whole or total == 0:
        return base
    wrong_box = sum(1 - v.box for v in whole) / len(whole)
    wrong_click = sum(1 - v.click for v in whole) / len(whole)
    box, click = (
        factor * max(wrong, 1e-6) ** control.strength
        for factor, wrong in ((base.box, wrong_box), (base.click, wrong_click))
    )
    if min(box, click) == 0:  # one kind was not asked for at all
        return base
    factor = min(max(click / (box + click), control.min_factor), 1 - control.min_factor)
    return PromptProbabilities(box=total * (1 - factor), click=total * factor)
