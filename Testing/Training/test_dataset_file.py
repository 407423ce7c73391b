"""`dataset.json`: what is in it, and one clear sentence for what is wrong with it."""

import json
import time
import tracemalloc

import pytest

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.naming import folded
from NeuroSAM2Core.training.data import read_cases, read_dataset, with_unique_names
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


def test_a_path_that_names_a_user_who_is_not_there_is_a_path(tmp_path):
    entry = {"image": "~nobody of that name/a.nii", "seg": "b.nii"}
    (case,) = read_dataset(written(tmp_path, {"training": [entry], "validation": []})).training
    assert case.image == tmp_path / "~nobody of that name" / "a.nii"


def test_several_files_are_used_together(tmp_path):
    one = written(tmp_path, {"training": [GOOD], "validation": []}, "one.json")
    other = written(tmp_path, {"training": [GOOD, GOOD], "validation": [GOOD], "test": [GOOD]}, "other.json")
    assert len(read_cases([one, other], "training")) == 3
    assert len(read_cases([one, other], "validation")) == 1
    assert len(read_cases([one, other], "test")) == 1
    with pytest.raises(DataError, match=r"there is no test case in one\.json"):
        read_cases([one], "test")


def test_images_of_one_name_are_notified_apart_by_their_folders(tmp_path):
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
        (['{"training": {}, "validation": []}'], "dataset.json: training is {}; expected a list"),
        (['{"training": ["a.nii"], "validation": []}'], r"training\[0\] is 'a.nii'; expected a table"),
        (
            ['{"training": [], "validation": [{"image": "a", "label": "b"}]}'],
            r"\[0\].seg is missing; there is image, label",
        ),
        (['{"training": [], "validation": [{"image": "", "seg": "b"}]}'], r'validation\[0\] names no file as "image"'),
        (['{"training": [], "validation": [{"image": "a", "seg": 3}]}'], r"validation\[0\].seg is 3; expected a text"),
        (['{"training": [], "validation": [{"image": "\\ud800", "seg": "b"}]}'], r"validation\[0\].image is .*a text"),
        (['{"training": [], "test": {}, "validation": []}'], "dataset.json: test is {}; expected a list"),
        ([f'{{"version": {"9" * 5000}}}'], "dataset.json is not JSON"),
        (["[" * 100_000], "dataset.json is not JSON: it is nested too deeply"),
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


def test_cases_of_one_name_in_any_folders_and_files_have_different_names(tmp_path):
    entries = [{"image": f"sub-0{n}/anat/T1w.nii.gz", "seg": f"sub-0{n}/anat/dseg.nii.gz"} for n in (1, 2)]
    paths = []
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        paths.append(written(tmp_path / place, {"training": entries, "validation": entries[:1], "test": [GOOD]}))
    cases = read_cases(paths, "training")
    assert [case.name for case in cases] == [f"{place}/sub-0{n}/anat/T1w" for place in "ab" for n in (1, 2)]
    assert [case.name for case in read_cases(paths, "validation")] == [cases[0].name, cases[2].name], "in every list"
    assert [case.name for case in read_cases(paths, "test")] == ["a/i", "b/i"]
    assert [case.name for case in read_dataset(paths[0]).training] == ["sub-01/anat/T1w", "sub-02/anat/T1w"]


@pytest.mark.parametrize(
    "images",
    [
        ("t1.nii", "t1.nii.gz"),
        ("T1.nii", "t1.nii"),
        ("A/t1.nii", "a/t1.nii"),
        ("caf\u00e9.nii", "cafe\u0301.nii"),
        ("x/../t1.nii", "y/t1.nii", "t1.nii.gz"),
    ],
)
def test_names_that_a_system_or_a_person_takes_for_one_are_different(tmp_path, images):
    entries = [{"image": image, "seg": f"{n}.nii"} for n, image in enumerate(images)]
    names = [case.name for case in read_dataset(written(tmp_path, {"training": entries, "validation": []})).training]
    assert len({folded(name) for name in names}) == len(images)


def test_one_image_with_two_labels_or_in_two_files_is_two_cases(tmp_path):
    image = str(tmp_path / "i.nii")
    content = {"training": [{"image": image, "seg": f"{who}/l.nii"} for who in ("anna", "ben")], "validation": []}
    one, other = written(tmp_path, content, "one.json"), written(tmp_path, content, "other.json")
    names = [case.name for case in read_cases([one, other], "training")]
    assert names == [f"i with {who}/l in {file}" for file in ("one", "other") for who in ("anna", "ben")]


def test_a_case_that_is_listed_twice_is_one_case(tmp_path):
    one, other = read_dataset(written(tmp_path, {"training": [GOOD], "validation": [GOOD]})).training * 2
    assert one == other
    assert with_unique_names([one, other]) == (one, other)


def bids_list(folder, count):
    """A list in which all files of a kind have one name."""
    entries = [{"image": f"sub-{n:05}/anat/T1w.nii.gz", "seg": f"sub-{n:05}/anat/dseg.nii.gz"} for n in range(count)]
    path = folder / f"{count}.json"
    path.write_text(json.dumps({"training": entries, "validation": []}), encoding="utf-8")
    return path


def test_a_list_of_thousands_is_read_in_a_time_that_grows_no_faster_than_it(tmp_path):
    def cpu_s(count):
        path, began = bids_list(tmp_path, count), time.process_time()
        cases = read_cases([path], "training")
        assert len({case.name for case in cases}) == count
        return time.process_time() - began

    cpu_s(10)
    few, many = min(cpu_s(500) for _ in range(3)), min(cpu_s(4000) for _ in range(2))
    assert many < 3 * 8 * few
    assert many < 4


def test_a_list_of_thousands_takes_a_few_kilobytes_a_case(tmp_path):
    path = bids_list(tmp_path, 2000)
    tracemalloc.start()
    try:
        cases = read_cases([path], "training")
        assert tracemalloc.get_traced_memory()[1] < 2000 * 20_000
        assert len(cases) == 2000
    finally:
        tracemalloc.stop()
