"""The kind that validates worse is trained more; nothing moves unless asked."""

import math

import pytest

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.training.config.step import PromptControlConfig
from NeuroSAM2Core.training.fine_tune import (
    PromptProbabilities,
    ValidatedKinds,
    controlled_probabilities,
)

BASE = PromptProbabilities(box=0.25, click=0.25)
ON = PromptControlConfig(is_on=True)


def after(*history, base=BASE, control=ON):
    return controlled_probabilities(base, [ValidatedKinds(*one) for one in history], control)


def test_off_by_default_nothing_moves():
    assert after((0.9, 0.1), control=PromptControlConfig()) == BASE
    assert after(control=ON) == BASE


def test_the_share_of_the_kind_that_is_more_often_wrong_grows_in_proportion():
    shares = after((0.9, 0.7))  # errors 0.1 and 0.3
    assert shares.click == pytest.approx(0.375)
    assert shares.box == pytest.approx(0.125)
    assert after((0.7, 0.9)).box == pytest.approx(0.375)
    assert after((0.8, 0.8)).box == pytest.approx(0.25)


def test_the_sum_stays_and_neither_kind_is_given_up():
    shares = after((0.999, 0.0))
    assert shares.box + shares.click == pytest.approx(0.5)
    assert shares.box == pytest.approx(0.05)


def test_more_strength_moves_more_and_none_moves_nothing():
    assert after((0.9, 0.7), control=PromptControlConfig(is_on=True, strength=0.0)).click == pytest.approx(0.25)
    assert after((0.9, 0.7), control=PromptControlConfig(is_on=True, strength=2.0)).click == pytest.approx(0.45)


def test_only_the_last_validations_count_and_only_whole_ones():
    old = [(0.0, 1.0)] * 5
    assert after(*old, (0.9, 0.7), (0.9, 0.7), (0.9, 0.7)) == after((0.9, 0.7))
    assert after((0.9, 0.7), (math.nan, 0.1)) == after((0.9, 0.7))


def test_a_kind_that_was_not_asked_for_stays_out():
    base = PromptProbabilities(box=0.5, click=0.0)
    assert after((0.9, 0.1), base=base) == base
    nothing = PromptProbabilities(box=0.0, click=0.0)
    assert after((0.9, 0.1), base=nothing) == nothing


@pytest.mark.parametrize(("setting", "value"), [("strength", -1.0), ("memory", 0), ("min_factor", 0.6)])
def test_a_setting_that_cannot_be_is_named(setting, value):
    with pytest.raises(ConfigError, match=f"prompt_control.{setting}"):
        PromptControlConfig(**{setting: value})
