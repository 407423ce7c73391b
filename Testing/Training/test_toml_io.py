"""Configurations as TOML: nothing is misread in silence."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.training.config.fine_tuning import FineTuneConfig
from NeuroSAM2Core.training.config.toml_io import build, merged, overrides, read_toml, to_toml


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    size: float = 1.0
    spokes: int = 20

    def __post_init__(self) -> None:
        if self.spokes < 0:
            raise ConfigError(f"there are no {self.spokes} spokes")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bicycle:
    name: str
    is_fast: bool = False
    colour: Literal["red", "blue"] = "red"
    folder: Path = Path()
    tags: tuple[str, ...] = ()
    ratio: tuple[float, float] = (0.0, 1.0)
    front: Wheel = field(default_factory=Wheel)
    spares: tuple[Wheel, ...] = ()


def test_a_table_becomes_a_configuration():
    table = {"name": "a", "ratio": [1, 2.5], "front": {"size": 3}, "spares": [{"spokes": 4}, {}], "folder": "x/y"}
    assert build(Bicycle, table) == Bicycle(
        name="a", ratio=(1.0, 2.5), front=Wheel(size=3.0), spares=(Wheel(spokes=4), Wheel()), folder=Path("x/y")
    )


@given(
    st.builds(
        Bicycle,
        name=st.text(st.characters(exclude_categories=["Cs"])),
        is_fast=st.booleans(),
        tags=st.lists(st.text("ab\"\\\n\t'é", max_size=4), max_size=3).map(tuple),
        ratio=st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 2),
        front=st.builds(Wheel, spokes=st.integers(0, 99)),
        spares=st.lists(st.builds(Wheel, spokes=st.integers(0, 9)), max_size=2).map(tuple),
    )
)
def test_what_is_written_is_read_back_as_the_same(bicycle):
    assert build(Bicycle, tomllib.loads(to_toml(bicycle))) == bicycle


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"name": "a", "colur": "red"}, "unknown setting 'colur'; did you mean 'colour'?"),
        ({"name": "a", "front": {"spoke": 3}}, "unknown setting 'front.spoke'; did you mean 'front.spokes'?"),
        ({"name": "a", "spokes": 3}, "unknown setting 'spokes'; did you mean 'front.spokes'?"),
        ({}, "name is missing"),
        ({"name": 3}, "name is 3; expected a text"),
        ({"name": "a", "is_fast": 1}, "is_fast is 1; expected true or false"),
        ({"name": "a", "front": 3}, "front is 3; expected a table"),
        ({"name": "a", "front": {"spokes": 2.5}}, "front.spokes is 2.5; expected a whole number"),
        ({"name": "a", "front": {"spokes": True}}, "front.spokes is True; expected a whole number"),
        ({"name": "a", "front": {"spokes": -1}}, "front: there are no -1 spokes"),
        ({"name": "a", "colour": "bleu"}, "colour is 'bleu'; expected one of red, blue .did you mean 'blue'"),
        ({"name": "a", "ratio": [1]}, r"ratio is \[1\]; expected a list of 2 values"),
    ],
)
def test_a_mistake_is_named(table, message):
    with pytest.raises(ConfigError, match=message):
        build(Bicycle, table)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("name=nano", {"name": "nano"}),
        ("name=2.1", {"name": 2.1}),  # a mistake that `build` names
        ("front.size=1e-5", {"front": {"size": 1e-5}}),
        ("is_fast=true", {"is_fast": True}),
        ("tags=a,b", {"tags": ["a", "b"]}),
        ('tags=["a, b"]', {"tags": ["a, b"]}),
        ("folder=/tmp/a=b", {"folder": "/tmp/a=b"}),
    ],
)
def test_words_become_settings(word, expected):
    assert overrides(Bicycle, [word]) == expected


def test_later_settings_win_and_leave_others_alone():
    table = merged({"name": "a", "front": {"size": 1, "spokes": 2}}, overrides(Bicycle, ["front.size=3", "name=b"]))
    assert table == {"name": "b", "front": {"size": 3, "spokes": 2}}


@pytest.mark.parametrize(
    ("word", "message"),
    [("fast", "is not a setting"), ("frnt.size=2", "did you mean 'front.size'"), ("front=2", "front")],
)
def test_a_word_that_is_no_setting_is_refused(word, message):
    with pytest.raises(ConfigError, match=message):
        overrides(Bicycle, [word])


def test_a_file_that_is_not_toml_names_the_line(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("a = 1\nb = = 2\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"a.toml is not TOML: .*line 2"):
        read_toml(path)
    with pytest.raises(ConfigError, match="cannot read"):
        read_toml(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("optim.lr", "groups.trunk.learning_rate"),
        ("groups.decoder.lr", "groups.decoder.learning_rate"),
        ("optim.wd", "groups.trunk.weight_decay"),
        ("optim.step", "optim.steps"),
        ("losses.foacl", "losses.focal"),
    ],
)
def test_a_short_or_misspelt_name_is_understood_by_its_own_word(word, meant):
    with pytest.raises(ConfigError, match=f"unknown setting '{word}'; did you mean '{meant}'"):
        overrides(FineTuneConfig, [f"{word}=1"])


def test_a_strange_name_is_answered_with_what_its_section_has():
    with pytest.raises(ConfigError, match=r"unknown setting 'optim.zebra' \(optim has steps, accumulation"):
        overrides(FineTuneConfig, ["optim.zebra=1"])


@pytest.mark.parametrize("text", ["a = " + "[" * 9999, "a = " + "9" * 5000, "a" + ".a" * 9999 + " = 1"])
def test_a_file_without_end_is_one_sentence(tmp_path, text):
    path = tmp_path / "a.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"a.toml is not TOML"):
        read_toml(path)


@pytest.mark.parametrize("value", ["[" * 9999, "9" * 5000])
def test_a_value_without_end_is_one_sentence(value):
    with pytest.raises(ConfigError, match=r"front\.size is"):
        build(Bicycle, merged({"name": "a"}, overrides(Bicycle, [f"front.size={value}"])))
