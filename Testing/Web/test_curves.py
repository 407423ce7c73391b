"""The curves of a run as lines of a drawing."""

import math
import re
from pathlib import Path

import pytest
from NeuroSAM2Web.ui import page
from NeuroSAM2Web.ui.pictures import BOX, MAX_POINTS, draw

from Testing.Support.contrast import contrast

CLIENT = Path(page.__file__).parents[1] / "client"
INFO, TINT = "#2196f3", 0.12
"""Vuetify's colour of information, and how much of it the ground of a line of state has."""


def corners(line):
    return [tuple(float(number) for number in corner.split(",")) for corner in line.split()]


def test_a_curve_spans_the_whole_run_and_its_axis():
    drawing = draw([(0, 2.0), (50, 1.0), (100, 0.0)], [(100, 1.0)], 100)
    middle = (BOX.left + BOX.right) / 2, (BOX.top + BOX.bottom) / 2
    assert corners(drawing.loss) == [(BOX.left, BOX.top), middle, (BOX.right, BOX.bottom)]
    assert corners(drawing.dice) == [(BOX.right, BOX.top)]
    assert [mark.text for mark in drawing.losses] == ["0", "0.5", "1", "1.5", "2"]
    assert [mark.text for mark in drawing.dices] == ["0", "0.25", "0.5", "0.75", "1"]
    assert [mark.text for mark in drawing.steps] == ["0", "50", "100"]
    assert (drawing.last_loss, drawing.last_dice) == ("0", "1.000")


def test_a_run_under_way_leaves_room_for_its_rest():
    (corner,) = corners(draw([(25, 1.0)], (), 100).loss)
    assert corner[0] == pytest.approx(BOX.left + (BOX.right - BOX.left) / 4, abs=0.1)


def test_a_long_curve_is_thinned_and_keeps_its_end():
    losses = [(step, 1 / step) for step in range(1, 100_001)]
    line = corners(draw(losses, (), 100_000).loss)
    assert MAX_POINTS / 2 < len(line) <= MAX_POINTS + 1
    assert line[-1] == (BOX.right, pytest.approx(BOX.bottom, abs=0.1))


@pytest.mark.parametrize(
    ("largest", "top"), [(0.9, "1"), (1.1, "2"), (3.0, "4"), (37.0, "40"), (0.031, "0.04"), (9.0, "10")]
)
def test_the_axis_ends_at_a_round_number_above_the_largest_value(largest, top):
    assert draw([(1, largest)], (), 10).losses[-1].text == top


def test_values_that_are_none_are_left_out():
    drawing = draw([(1, 1.0), (2, math.nan), (3, math.inf), (4, 0.5)], (), 4)
    assert len(corners(drawing.loss)) == 2
    assert draw([(1, 0.0)], (), 0).loss
    assert draw((), (), 0).loss == ""


@pytest.mark.parametrize(("theme", "scope"), [("dark", ":root"), ("light", ".ns-light")])
def test_curves_and_the_line_of_state_can_be_seen_in_both_themes(theme, scope):
    surface = page.THEMES[theme]["colors"]["surface"]
    curves = re.search(
        rf"^{re.escape(scope)} {{(.*)}}", (CLIENT / "shell.css").read_text(encoding="utf-8"), re.MULTILINE
    )
    for colour in re.findall(r"#\w{6}", curves[1]):
        assert contrast(colour, surface) >= 3.0, colour
    line = rf"\.ns-{theme} \.ns-line\.text-info {{ color: (#\w+)"
    (text,) = re.findall(line, (CLIENT / "neurosam2.css").read_text(encoding="utf-8"))
    parts = zip(*([int(one[n : n + 2], 16) for n in (1, 3, 5)] for one in (INFO, surface)), strict=True)
    ground = "#" + "".join(f"{round(TINT * info + (1 - TINT) * below):02x}" for info, below in parts)
    assert contrast(text, ground) >= 4.5
