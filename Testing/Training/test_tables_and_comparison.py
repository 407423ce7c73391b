"""Tables say what was measured; a comparison says how sure its difference is."""

import csv
import io
import json
import math
import re
import sys

import numpy as np
import pytest
from scipy import stats

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.training.config.data import EvaluationConfig
from NeuroSAM2Core.training.evaluation import EvaluationResult, Measurement
from NeuroSAM2Core.training.evaluation.comparison import (
    compare,
    comparison_csv,
    comparison_json,
    comparison_markdown,
    draw_cases,
    headline,
)
from NeuroSAM2Core.training.evaluation.results import SkippedCase, as_csv, as_json, as_markdown, summarise, write_tables
from NeuroSAM2Core.verdict import Outcome, paired_difference, read_report, verdict_of

CONFIG = EvaluationConfig(num_clicks=1)


def one(case, kind, clicks, dice, hd95=1.0):
    return Measurement(
        case=case, object="1", kind=kind, clicks=clicks, dice=dice, iou=dice / 2, slice_dice=dice, hd95_mm=hd95,
        surface_dice=dice, medsam2_iou=0.1, medsam2_dice=0.2,
    )  # fmt: skip


RESULT = EvaluationResult(
    (
        one("a", "box", 0, 0.6, math.nan),
        one("a", "box", 1, 0.9),
        one("b", "box", 0, 0.8, 3.0),
        one("b", "box", 1, 0.8, 2.0),
        one("a", "click", 0, 0.1),
    ),
    (SkippedCase("c", "there is no file c.nii"),),
)


def test_means_leave_out_what_is_not_a_number():
    first, second, *_ = summarise(RESULT, CONFIG)
    assert (first.kind, first.clicks, first.objects) == ("box", 0, 2)
    assert first.dice == pytest.approx(0.7)
    assert first.hd95_mm == 3.0
    assert first.reached == 0.0
    assert second.reached == 0.5


def test_every_measurement_is_a_line_of_the_csv():
    rows = list(csv.DictReader(io.StringIO(as_csv(RESULT))))
    assert len(rows) == 5
    assert rows[0]["case"] == "a"
    assert rows[0]["hd95_mm"] == ""
    assert float(rows[1]["dice"]) == 0.9


def test_the_json_is_strict_and_whole():
    content = json.loads(as_json(RESULT, CONFIG, "nano"), parse_constant=pytest.fail)
    assert content["model"] == "nano"
    assert content["measurements"][0]["hd95_mm"] is None
    assert content["skipped"] == [{"case": "c", "reason": "there is no file c.nii"}]
    assert len(content["summary"]) == 4


def test_the_page_for_people_has_means_and_what_was_left_out():
    text = as_markdown(RESULT, CONFIG, "nano")
    assert "# nano on 2 cases" in text
    assert "| box " in text
    assert "0.700" in text
    assert "- c: there is no file c.nii" in text


def test_tables_that_cannot_be_written_say_so(tmp_path):
    (tmp_path / "in the way").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="cannot write to"):
        write_tables(tmp_path / "in the way", "x", csv_="", json_="", markdown="")


def numbers(values, objects_per_case=1):
    return {(f"case{n // objects_per_case}", str(n % objects_per_case)): v for n, v in enumerate(values)}


def test_the_interval_is_that_of_an_independent_bootstrap():
    rng = np.random.default_rng(0)
    before, gain = rng.uniform(0.3, 0.7, 25), rng.normal(0.1, 0.08, 25)
    ours = paired_difference(numbers(before), numbers(before + gain))
    theirs = stats.bootstrap((gain,), np.mean, n_resamples=10_000, method="percentile", rng=1).confidence_interval
    assert ours.difference == pytest.approx(gain.mean())
    assert ours.low == pytest.approx(theirs.low, abs=0.003)
    assert ours.high == pytest.approx(theirs.high, abs=0.003)
    assert ours.before == pytest.approx(before.mean())
    assert ours.pairs == 25


def test_objects_of_one_case_are_drawn_together():
    gain = np.repeat(np.random.default_rng(1).normal(0.0, 0.1, 6), 20)
    apart = paired_difference(numbers(0 * gain), numbers(gain))
    together = paired_difference(numbers(0 * gain, 20), numbers(gain, 20))
    assert together.difference == pytest.approx(apart.difference)
    assert together.high - together.low > 3 * (apart.high - apart.low)


def test_only_pairs_count_and_without_any_there_is_no_comparison():
    before = {("a", "1"): 0.1, ("b", "1"): math.nan, ("c", "1"): 0.3}
    after = {("a", "1"): 0.5, ("b", "1"): 0.9, ("d", "1"): 0.3}
    paired = paired_difference(before, after)
    assert (paired.pairs, paired.before, paired.after) == (1, 0.1, 0.5)
    with pytest.raises(DataError, match="no object in common"):
        paired_difference({("a", "1"): 0.1}, {("b", "1"): 0.1})


def test_a_report_compares_before_and_after_and_counts_unreached_targets():
    after = EvaluationResult(
        (one("a", "box", 0, 0.95), one("b", "box", 0, 0.9), one("a", "click", 0, 0.3), one("a", "click", 1, 0.86))
    )
    comparison = compare(RESULT, after, CONFIG, before_name="nano", after_name="mine")
    rows = {(row.kind, row.what): row.paired for row in comparison.rows}
    assert rows["box", "Dice after the first prompt"].difference == pytest.approx(0.225)
    needed = rows["box", "corrections to Dice 0.85"]
    assert (needed.before, needed.after) == (1.5, 0.0), "a took one, b never got there: two"
    assert rows["box", "share that reached 0.85"].after == 1.0
    assert rows["click", "corrections to Dice 0.85"].after == 1.0
    assert rows["box", "HD95, mm, after the first prompt"].pairs == 1
    text = comparison_markdown(comparison)
    assert "# mine against nano on 2 cases" in text
    assert "+0.225" in text
    assert json.loads(comparison_json(comparison), parse_constant=pytest.fail)["after_name"] == "mine"
    assert len(list(csv.DictReader(io.StringIO(comparison_csv(comparison))))) == len(comparison.rows)
    assert headline(comparison.verdict) in text
    assert headline(comparison.verdict).endswith("Not measured: c.")


def box_dices(*values):
    return {"box": numbers(values)}


@pytest.mark.parametrize(
    ("before", "after", "outcome", "words"),
    [
        (
            (0.5, 0.6, 0.7, 0.5, 0.6, 0.7),
            (0.6, 0.7, 0.8, 0.6, 0.7, 0.68),
            Outcome.BETTER,
            r"Better on 5 of 6 held-out cases: Dice \+0.08 \(\+0.0\d to \+0.\d\d, 95 % bootstrap interval over cases\). "
            r"Worse on case5 \(-0.02\).",
        ),
        ((0.5, 0.5, 0.5), (0.4, 0.45, 0.499), Outcome.WORSE, r"Worse on 2 of 3 held-out cases: Dice -0.05 .*"),
        ((0.5, 0.5, 0.5), (0.4, 0.7, 0.5), Outcome.NO_DIFFERENCE, r"No difference shown on 3 .*, better on 1: .*"),
        ((0.5, 0.5, 0.5), (0.501, 0.502, 0.501), Outcome.NO_DIFFERENCE, r"No difference .*, better on 0: .*"),
        ((0.5, 0.5), (0.9, 0.9), Outcome.TOO_FEW_CASES, r"Better on 2 of 2 .*\(too few cases for an interval\)\."),
        ((0.5,), (0.4,), Outcome.WORSE, r"Worse on 1 of 1 held-out case: .*too few cases.* Worse on case0 \(-0.10\)\."),
    ],
)
def test_the_verdict_says_in_words_how_sure_it_is(before, after, outcome, words):
    verdict = verdict_of(box_dices(*before), box_dices(*after))
    assert verdict.outcome is outcome
    assert re.fullmatch(words, headline(verdict))


def test_a_verdict_joins_all_objects_and_prompts_of_a_case():
    before = {"box": {("a", "1"): 0.4, ("a", "2"): 0.6}, "click": {("a", "1"): 0.2, ("a", "2"): math.nan}}
    after = {"box": {("a", "1"): 0.6, ("a", "2"): 0.6}, "click": {("a", "1"): 0.4, ("a", "2"): 0.9}}
    (case,) = verdict_of(before, after).cases
    assert (case.case, case.before, case.after) == ("a", pytest.approx(0.45), pytest.approx(0.55))


def test_fewer_than_three_cases_have_no_interval_anywhere():
    result = EvaluationResult((one("a", "box", 0, 0.6), one("b", "box", 0, 0.6)))
    better = EvaluationResult((one("a", "box", 0, 0.7), one("b", "box", 0, 0.7)))
    comparison = compare(result, better, CONFIG, before_name="nano", after_name="mine")
    assert {(row.paired.low, row.paired.high) for row in comparison.rows} == {(None, None)}
    (dice, *_) = csv.DictReader(io.StringIO(comparison_csv(comparison)))
    assert (dice["low"], dice["high"]) == ("", "")
    assert re.search(r"\+0\.100 +\| - +\|", comparison_markdown(comparison))


def test_counts_that_were_not_reached_are_bounds():
    before = EvaluationResult((one("a", "box", 0, 0.2), one("b", "box", 0, 0.2), one("a", "box", 1, 0.3)))
    after = EvaluationResult((one("a", "box", 0, 0.9), one("b", "box", 0, 0.2), one("b", "box", 1, 0.3)))
    comparison = compare(before, after, CONFIG, before_name="nano", after_name="mine")
    (row,) = (row for row in comparison.rows if row.what.startswith("corrections"))
    assert (row.before_text, row.after_text) == ("> 1", "≥ 1.0")
    assert "| > 1 " in comparison_markdown(comparison)


def test_a_report_on_cases_that_chose_the_checkpoint_says_so(tmp_path):
    words = "These cases also chose the checkpoint: the gain is flattered."
    names = {"before_name": "nano", "after_name": "mine"}
    assert words not in comparison_markdown(compare(RESULT, RESULT, CONFIG, **names))
    comparison = compare(RESULT, RESULT, CONFIG, **names, cases_chose_checkpoint=True)
    assert words in comparison_markdown(comparison)
    path = tmp_path / "report.json"
    path.write_text(comparison_json(comparison), encoding="utf-8")
    assert read_report(path).verdict.cases_chose_checkpoint


def test_a_report_is_read_as_it_was_written_and_one_of_before_is_refused(tmp_path):
    comparison = compare(RESULT, RESULT, CONFIG, before_name="nano", after_name="nano")
    path = tmp_path / "report.json"
    path.write_text(comparison_json(comparison), encoding="utf-8")
    report = read_report(path)
    assert (report.verdict, report.rows) == (comparison.verdict, comparison.rows)
    path.write_text('{"rows": []}', encoding="utf-8")
    with pytest.raises(DataError, match="verdict"):
        read_report(path)


def test_the_cases_are_drawn_where_they_can_be(tmp_path, monkeypatch):
    verdict = verdict_of(box_dices(0.5, 0.6, 0.7), box_dices(0.6, 0.5, 0.7))
    path = tmp_path / "report" / "report.png"
    assert draw_cases(verdict, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(DataError, match="cannot write"):
        draw_cases(verdict, path / "report.png")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert not draw_cases(verdict, path)
    assert not path.exists(), "a picture of another comparison would be taken for one of this"
