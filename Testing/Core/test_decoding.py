"""JSON and TOML become dataclasses, or a sentence that names the place of what does not fit."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pytest
from typing_extensions import TypeAliasType

from NeuroSAM2Core.decoding import DecodingError, Rules, decoded, parse_count, parse_json
from NeuroSAM2Core.errors import ConfigError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Wheel:
    spokes: int
    size: float = 1.0

    def __post_init__(self):
        if self.spokes < 0:
            raise ConfigError(f"there are no {self.spokes} spokes")


@dataclass(frozen=True)
class Bicycle:
    front: Wheel
    name: str = ""
    colour: Colour | None = None
    kind: Literal["town", "race"] = "town"
    is_fast: bool = False
    folder: Path = Path()
    bells: tuple[tuple[int, str], ...] = ()
    spares: tuple[Wheel, ...] = field(default_factory=tuple)


FRONT = {"spokes": 20}


def test_a_table_becomes_what_its_class_says():
    table = {
        "front": {"spokes": 3, "size": 2},
        "colour": "blue",
        "kind": "race",
        "folder": "a/b",
        "bells": [[1, "x"], [2, "y"]],
        "spares": [FRONT],
    }
    expected = Bicycle(
        front=Wheel(3, 2.0),
        colour=Colour.BLUE,
        kind="race",
        folder=Path("a/b"),
        bells=((1, "x"), (2, "y")),
        spares=(Wheel(20),),
    )
    assert decoded(Bicycle, table, "bicycle") == expected


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"front": FRONT, "bell": 1}, "bicycle has no field 'bell'"),
        ({}, "bicycle.front.spokes is missing"),
        ({"front": {}}, "bicycle.front.spokes is missing"),
        ([], r"bicycle is \[\]; expected a table"),
        ({"front": {"spokes": True}}, "bicycle.front.spokes is True; expected a whole number"),
        ({"front": {"spokes": 1 << 63}}, "bicycle.front.spokes is .*; expected a whole number of 64 bits"),
        ({"front": FRONT | {"size": float("inf")}}, "bicycle.front.size is inf; expected a finite number"),
        ({"front": FRONT | {"size": 1 << 2000}}, r"expected a number"),
        ({"front": FRONT, "name": "\ud800"}, "bicycle.name is .*; expected a text"),
        ({"front": FRONT, "folder": "a\0b"}, "bicycle.folder is .*; expected a path"),
        ({"front": FRONT, "colour": ["red"]}, "bicycle.colour is .*; expected one of red, blue"),
        ({"front": FRONT, "is_fast": 1}, "bicycle.is_fast is 1; expected true or false"),
        ({"front": FRONT, "bells": [[1, "x"], [2, 3]]}, r"bicycle.bells\[1\]\[1\] is 3; expected a text"),
        ({"front": FRONT, "bells": [[1]]}, r"bicycle.bells\[0\] is \[1\]; expected a list of 2 values"),
        ({"front": FRONT, "spares": FRONT}, "bicycle.spares is .*; expected a list"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(table, sentence):
    with pytest.raises(DecodingError, match=sentence):
        decoded(Bicycle, table, "bicycle")


def test_a_value_is_quoted_in_part():
    with pytest.raises(DecodingError) as caught:
        decoded(Wheel, {"spokes": "x" * 10_000}, "wheel")
    assert len(str(caught.value)) < 200


def test_what_was_probably_meant_is_a_hint():
    with pytest.raises(DecodingError) as caught:
        decoded(Bicycle, {"front": FRONT, "kind": "rase"}, "")
    assert caught.value.hint == "did you mean 'race'?"


def test_what_a_class_refuses_is_its_own_error():
    with pytest.raises(ConfigError, match=r"^there are no -1 spokes"):
        decoded(Bicycle, {"front": {"spokes": -1}}, "bicycle")


def test_a_file_for_people_takes_one_for_a_list_and_names_the_table():
    rules = Rules(is_for_people=True)
    assert decoded(Bicycle, {"front": FRONT, "spares": FRONT}, "", rules).spares == (Wheel(20),)
    with pytest.raises(ConfigError, match="front: there are no -1 spokes"):
        decoded(Bicycle, {"front": {"spokes": -1}}, "", rules)


def test_what_a_later_version_adds_may_be_passed_over():
    table = {"front": FRONT | {"colour": "red"}, "bell": 1}
    assert decoded(Bicycle, table, "", Rules(skips_unknown=True)) == Bicycle(front=Wheel(20))


def test_an_array_is_read_where_numpy_names_its_type_by_an_alias():
    scalar = TypeVar("scalar")
    alias = TypeAliasType(
        "Mask", np.ndarray[Any, np.dtype[scalar]], type_params=(scalar,)
    )  # as NDArray is from NumPy 2.5 on
    rules = Rules(custom={np.ndarray: lambda value, place: (value, place)})
    assert decoded(alias[np.bool_], 3, "mask", rules) == (3, "mask")


def test_a_table_of_any_names_holds_values_of_one_type():
    assert decoded(dict[str, float], {"a": 1, "b": 2.5}, "") == {"a": 1.0, "b": 2.5}
    for value, words in (([1], "expected a table"), ({"a": True}, "numbers.a is True"), ({"\ud800": 1}, "a text")):
        with pytest.raises(DecodingError, match=words):
            decoded(dict[str, float], value, "numbers")


def test_what_is_not_a_number_is_refused_or_none():
    with pytest.raises(DecodingError, match="NaN is not a number"):
        parse_json("NaN")
    assert parse_json("[NaN, -Infinity, 1]", nan_is_none=True) == [None, None, 1]


def test_only_digits_are_a_count():
    assert [parse_count(text) for text in ("0", "07", "9" * 18)] == [0, 7, 10**18 - 1]
    assert {parse_count(text) for text in ("", "-1", "1.0", " 1", "\u00b2", "\u0663", "9" * 19)} == {None}
