"""The verdict of a training: words and colour, what is asked, what is warned of while it runs."""

import json
import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from NeuroSAM2Lib.presenters.train_presenter import TrainPresenter
from NeuroSAM2Lib.training.cases import Case
from NeuroSAM2Lib.training.run import RunNumbers, RunReader, is_rising, overfitted_since, problems
from NeuroSAM2Lib.training.verdict_view import ReportReader, Tone, missing_proof, view_of

from NeuroSAM2Core.verdict import verdict_of
from Testing.Support.contrast import contrast
from Testing.Support.fake_trainer import compared


def verdict(*afters, before=0.5):
    dices = [
        {("case" + str(n), "1"): value for n, value in enumerate(side, 1)} for side in ([before] * len(afters), afters)
    ]
    return verdict_of({"box": dices[0]}, {"box": dices[1]})


@pytest.mark.parametrize("tone", Tone)
def test_every_colour_of_a_verdict_has_the_contrast_of_wcag_aa(tone):
    assert contrast(tone.value.text, tone.value.ground) >= 4.5


def test_a_better_model_is_praised_with_its_interval_and_what_it_is_worse_on():
    view = view_of(verdict(0.6, 0.6, 0.6, 0.48, 0.6, 0.6))
    assert view.tone is Tone.GOOD
    assert view.sentence.startswith("Better on 5 of 6 held-out cases, Dice +0.08 (+0.04 to +0.10).")
    assert view.sentence.endswith("Worse on case4 (-0.02).")
    assert "bootstrap" in view.detail
    assert "too narrow" in view.detail
    assert view.question == ""


def test_a_difference_that_rounds_to_zero_has_no_minus():
    assert "Dice +0.00 (+0.00 to +0.00)" in view_of(verdict(0.499, 0.499, 0.499, 0.499)).sentence


def test_a_model_that_is_worse_is_said_to_be_and_by_how_much():
    view = view_of(verdict(0.4, 0.4, 0.45, 0.4, 0.3))
    assert view.tone is Tone.BAD
    assert view.sentence.startswith("Worse on 5 of 5 held-out cases, Dice -0.11")
    assert view.sentence.endswith("Worse on case5 (-0.20), case1 (-0.10), case2 (-0.10) and 2 more.")
    assert "Dice 0.50 before, 0.39 after, 0.11 lower" in view.question


@pytest.mark.parametrize(
    ("afters", "words"),
    [((0.4, 0.7, 0.5), "do not show that the new model is better"), ((0.9, 0.9), "Too few cases were held out")],
)
def test_a_model_that_is_not_shown_to_be_better_is_asked_about(afters, words):
    view = view_of(verdict(*afters))
    assert view.tone is Tone.UNSURE
    assert words in view.question


def test_a_prompt_that_became_worse_and_cases_that_were_not_measured_are_named():
    cases = [(f"case{n}", "1") for n in range(3)]
    before, box, click = (dict.fromkeys(cases, value) for value in (0.5, 0.9, 0.4))
    view = view_of(
        verdict_of({"box": before, "click": before}, {"box": box, "click": click}, skipped=("case7",))
    )  # fmt: skip
    assert view.sentence.startswith("Better on 3 of 3 held-out cases, Dice +0.15 (+0.15 to +0.15).")
    assert view.sentence.endswith("Worse after a click (-0.10). Not measured: case7.")


@pytest.mark.parametrize("after", [0.9, 0.4])
def test_cases_that_also_chose_the_checkpoint_are_said_to_flatter_the_gain(after):
    independent = verdict(after, after, after)
    view = view_of(replace(independent, cases_chose_checkpoint=True))
    words = "These cases also chose the checkpoint: the gain is flattered. Hold out others for the test."
    assert view.sentence == f"{view_of(independent).sentence} {words}"
    assert words not in view_of(independent).sentence


def test_two_cases_have_no_interval():
    assert "too few for an interval" in view_of(verdict(0.9, 0.9)).sentence
    assert "bootstrap" not in view_of(verdict(0.9, 0.9)).detail


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        ((), ""),
        (("validation",), ""),
        (("training",), "no proof will be possible that training helps. Add two"),
        (("training", "test"), "Held-out cases: 1, too few"),
        (("training", "test", "validation", "validation", "validation"), "Held-out cases: 1, too few"),
        (("training", "validation", "validation", "validation"), ""),
    ],
)
def test_what_is_missing_for_a_proof_is_said_before_the_start(tmp_path, roles, words):
    (tmp_path / "file").touch()
    cases = [
        Case(name=str(n), role=role, image=tmp_path / "file", label=tmp_path / "file") for n, role in enumerate(roles)
    ]
    assert words in missing_proof(cases)
    assert bool(words) == bool(missing_proof(cases))


def noisy(levels, seed=0):
    """Losses that vary by half from step to step, as those of different prompts do."""
    return list(enumerate(np.random.default_rng(seed).lognormal(np.log(levels), 0.5), start=1))


def test_a_loss_that_rises_is_noticed_and_one_that_only_varies_is_not():
    assert is_rising(noisy(np.r_[np.linspace(4, 1, 20), np.linspace(1, 30, 20)]))
    assert not any(is_rising(noisy(np.full(60, 1.0), seed)[:n]) for seed in range(40) for n in (30, 45, 60))
    assert not is_rising(noisy(np.linspace(4, 1, 60)))
    assert not is_rising([(1, 1.0), (2, 9.0)])


def test_overfitting_is_validation_that_falls_while_the_loss_falls():
    falling = [(step, 4 - step / 100) for step in range(0, 301, 10)]
    dices = [(100, 0.84), (200, 0.80), (300, 0.79)]
    assert overfitted_since(falling, dices) == (100, 0.84)
    assert overfitted_since(falling, dices[:2]) is None
    assert overfitted_since(falling, [(100, 0.84), (200, 0.80), (300, 0.835)]) is None
    assert overfitted_since([(step, -value) for step, value in falling], dices) is None
    (sentence,) = problems(RunNumbers(losses=falling, dices=dices, skipped={}))
    assert "from 0.84 at step 100 to 0.79" in sentence


@pytest.mark.parametrize("line", ['{"step": 2, "seconds_per_step": 0.5}', '{"step": 2, "loss": NaN}'])
def test_a_loss_that_is_no_number_and_cases_that_are_left_out_are_said(tmp_path, line):
    reader = RunReader(tmp_path)
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 1, "loss": 3, "seconds_per_step": 1}\n' + line + "\n", encoding="utf-8"
    )
    (tmp_path / "skipped.jsonl").write_text(
        '{"case": "case3", "reason": "the label is empty"}\n{"ca\n[]\n', encoding="utf-8"
    )
    reader.read_news()
    first, second = problems(reader.numbers)
    assert first.startswith("The loss of step 2 is not a number")
    assert second == "Cases that cannot be used are left out: case3 (the label is empty)."


def test_a_run_that_is_well_says_nothing(tmp_path):
    reader = RunReader(tmp_path)
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 1, "loss": 3, "seconds_per_step": 1}\n{"step": 1, "validation.box_dice": 0.5}\n', encoding="utf-8"
    )
    reader.read_news()
    assert problems(reader.numbers) == ()


def test_a_report_is_read_when_it_changes_and_one_that_is_damaged_is_none(tmp_path, caplog):
    reader = ReportReader(tmp_path)
    assert reader.read() is None
    path = tmp_path / "report.json"
    path.write_text(json.dumps(compared([0.7])), encoding="utf-8")
    report = reader.read()
    assert report.verdict.num_better == 1
    assert reader.read() is report
    assert [(row.before_text, row.after_text) for row in report.rows] == [("0.500", "0.700"), ("> 5", "> 5")]
    path.write_text('{"rows": []}', encoding="utf-8")
    os.utime(path, (1, 1))
    assert reader.read() is None
    assert reader.read() is None
    assert caplog.text.count("cannot be read") == 1


class AskedHost:
    def __init__(self):
        self.questions, self.answer = [], False

    def confirm(self, question):
        self.questions.append(question)
        return self.answer


@pytest.fixture
def presenter(tmp_path):
    """Of a project whose run is over and was compared."""
    run, used = tmp_path / "runs" / "001", []
    run.mkdir(parents=True)
    run.with_suffix(".toml").write_text("optim.steps = 5\n", encoding="utf-8")
    (run / "model.safetensors").touch()
    (tmp_path / "proofs" / "001").mkdir(parents=True)
    choice = SimpleNamespace(environment=lambda python: {}, command=lambda python: (python,))
    segment = SimpleNamespace(choice=choice, use_model=used.append, host=AskedHost(), session=None)
    presenter = TrainPresenter(segment, tmp_path, "python")
    presenter.used, presenter.host = used, segment.host
    presenter.compared = lambda *afters: (tmp_path / "proofs" / "001" / "report.json").write_text(
        json.dumps(compared(list(afters))), encoding="utf-8"
    )
    return presenter


def test_a_better_model_is_used_without_a_question(presenter):
    presenter.compared(0.7, 0.8, 0.9)
    presenter.use_new_model()
    assert presenter.host.questions == []
    assert len(presenter.used) == 1
    assert presenter.view().verdict.tone is Tone.GOOD


def test_a_worse_model_is_used_only_after_a_yes(presenter):
    presenter.compared(0.4, 0.3, 0.2)
    presenter.use_new_model()
    assert presenter.used == []
    (question,) = presenter.host.questions
    assert "0.20 lower" in question
    presenter.host.answer = True
    presenter.use_new_model()
    assert len(presenter.used) == 1


def test_a_model_without_a_comparison_is_not_used(presenter):
    presenter.use_new_model()
    assert presenter.used == []
    assert "has not been compared yet" in presenter.view().sentence


def test_while_a_run_is_under_way_the_estimate_is_of_its_steps(presenter, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "NeuroSAM2Lib.presenters.train_presenter.estimate", lambda folder, steps: asked.append(steps) or "an hour"
    )
    presenter.estimate(400)
    monkeypatch.setattr(type(presenter.controller), "is_running", True)
    presenter.estimate(400)
    assert asked == [400, 5]
