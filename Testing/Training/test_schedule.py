"""Learning rates against closed forms, published numbers and PyTorch's own schedulers."""

import json
from pathlib import Path

import pytest
import torch

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.training.config.step import ScheduleConfig
from NeuroSAM2Core.training.trainer.parameter_groups import lr_factor

GOLDENS = json.loads((Path(__file__).parents[1] / "Data" / "sam2_small_goldens.json").read_text(encoding="utf-8"))


def test_cosine_is_that_of_the_published_recipe():
    schedule = ScheduleConfig(kind="cosine", final=0.1)
    for progress, value in GOLDENS["cosine_5e-6_to_5e-7"].items():
        step = round(1000 * float(progress))
        assert 5e-6 * lr_factor(schedule, step, 1000) == pytest.approx(value, rel=1e-9)


def test_cosine_annealing_is_that_of_pytorch_beyond_its_period_too():
    schedule = ScheduleConfig(kind="cosine_annealing", final=0.25, period_steps=7)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=2e-3)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=7, eta_min=0.5e-3)
    for step in range(20):
        assert 2e-3 * lr_factor(schedule, step, 100) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9), step
        optimizer.step()
        theirs.step()


def test_cosine_annealing_without_a_period_takes_the_whole_run():
    annealing = ScheduleConfig(kind="cosine_annealing", final=0.1)
    cosine = ScheduleConfig(kind="cosine", final=0.1)
    assert [lr_factor(annealing, s, 9) for s in range(9)] == [lr_factor(cosine, s, 9) for s in range(9)]


def test_linear_falls_in_a_straight_line_to_its_end():
    schedule = ScheduleConfig(kind="linear", final=0.2)
    assert [lr_factor(schedule, s, 4) for s in range(5)] == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])


def test_constant_stays():
    assert {lr_factor(ScheduleConfig(kind="constant", final=0.0), s, 9) for s in range(9)} == {1.0}


def test_wsd_stays_and_falls_in_a_straight_line_over_the_last_part():
    schedule = ScheduleConfig(kind="wsd", final=0.2, decay=0.4)
    assert [lr_factor(schedule, s, 10) for s in range(11)] == pytest.approx([1.0] * 7 + [0.8, 0.6, 0.4, 0.2])


@pytest.mark.parametrize("kind", ["cosine", "cosine_annealing", "linear", "constant", "wsd"])
def test_warming_up_multiplies_by_a_ramp(kind):
    cold, warm = (ScheduleConfig(kind=kind, warmup=warmup) for warmup in (0.0, 0.2))
    for step in range(100):
        expected = lr_factor(cold, step, 100) * min(1.0, step / 20)
        assert lr_factor(warm, step, 100) == pytest.approx(expected, abs=1e-7)
    assert lr_factor(warm, 0, 100) > 0, "the first step is not lost"


@pytest.mark.parametrize(
    "values", [{"final": 1.5}, {"final": -0.1}, {"warmup": 1.0}, {"period_steps": -1}, {"decay": 0.0}]
)
def test_schedules_that_make_no_sense_are_refused(values):
    with pytest.raises(ConfigError):
        ScheduleConfig(**values)
