"""`dataset.json`: what is in it, and one clear sentence for what is wrong with it."""

import json

import pytest

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.train.data import read_cases, read_dataset
from Testing.Support.cases import write_json

GOOD = {"image": "i.nii.gz", "seg": "l.nii.gz"}


def written(folder, content, name="dataset.json"):
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_paths_are_absolute_or_relative_to_the_file(tmp_path):
    absolute = {"image": str(tmp_path / "else" / "a.nii.gz"), "seg": "labels/a.nii.gz"}
    cases = read_dataset(written(tmp_path, {"training": [absolute], "validation": []})).training
    assert cases[0].image == tmp_path / "else" / "a.nii.gz"
    assert cases[0].label == tmp_path / "labels" / "a.nii.gz"
    assert cases[0].name == "a"


def test_several_files_are_used_together(tmp_path):
    one = written(tmp_path, {"training": [GOOD], "validation": []}, "one.json")
    other = written(tmp_path, {"training": [GOOD, GOOD], "validation": [GOOD], "test": [GOOD]}, "other.json")
    assert len(read_cases([one, other], "training")) == 3
    assert len(read_cases([one, other], "validation")) == 1
    assert len(read_cases([one, other], "test")) == 1
    with pytest.raises(DataError, match=r"there is no test case in one\.json"):
        read_cases([one], "test")


def test_images_of_one_name_are_told_apart_by_their_folders(tmp_path):
    entries = [{"image": f"{who}/t1.nii.gz", "seg": f"{who}/l.nii.gz"} for who in ("anna", "ben")]
    cases = read_dataset(written(tmp_path, {"training": entries, "validation": [GOOD]}))
    assert [case.name for case in cases.training] == ["anna/t1", "ben/t1"]
    assert cases.validation[0].name == "i"


def test_other_keys_are_let_be(tmp_path):
    content = {"name": "mine", "training": [{**GOOD, "age": 40}], "validation": []}
    assert len(read_dataset(written(tmp_path, content)).training) == 1


ENTRY = '{"image": "i.nii", "seg": "l.nii"'


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (
            ['{"training": [', f" {ENTRY}}},", ' ], "validation": []}'],
            r"dataset.json, line 2: there is a comma after the",
        ),
        (
            ['{"training": [', f" {ENTRY},", ' }], "validation": []}'],
            "dataset.json, line 2: there is a comma after the",
        ),
        (['{"training": [', f" {ENTRY}}},", " ...", "]}"], "dataset.json, line 3, column 2 is not JSON"),
        (['{"training": []', '"validation": []}'], "dataset.json, line 2, column 1 is not JSON"),
        (["[]"], "holds no lists"),
        (['{"training": []}'], 'has no list "validation"'),
        (['{"train": [], "validation": []}'], 'did you mean "training" by "train"'),
        (['{"training": {}, "validation": []}'], '"training" in dataset.json is not a list'),
        (['{"training": ["a.nii"], "validation": []}'], r"training\[0\] is not an entry"),
        (['{"training": [], "validation": [{"image": "a", "label": "b"}]}'], r'validation\[0\] names no file as "seg"'),
        (['{"training": [], "validation": [{"image": "", "seg": "b"}]}'], r'validation\[0\] names no file as "image"'),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path, lines, sentence):
    with pytest.raises(DataError, match=sentence):
        read_dataset(write_json(tmp_path, lines))


def test_a_missing_file_and_a_binary_one_are_named(tmp_path):
    with pytest.raises(DataError, match="there is no dataset file"):
        read_dataset(tmp_path / "none.json")
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        read_dataset(tmp_path / "b.json")
