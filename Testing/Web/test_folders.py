"""Files are touched in the chosen folders only."""

import pytest
from NeuroSAM2Web.server.allowed_folders import AllowedFolders, size_text

from NeuroSAM2Core.errors import DataError


@pytest.fixture
def places(tmp_path):
    """A chosen folder with a few files, a secret beside it, and links from one to the other."""
    data, secret = tmp_path / "data", tmp_path / "secret"
    (data / "sub").mkdir(parents=True)
    secret.mkdir()
    for path in (
        data / "b.nii.gz",
        data / "A.seg.nrrd",
        data / "c.mrb",
        data / "notes.txt",
        data / ".hidden.nii",
        secret / "x.nii",
    ):
        path.write_bytes(b"12345")
    (data / "link.nii").symlink_to(secret / "x.nii")
    (data / "tunnel").symlink_to(secret)
    (data / "inside.nii").symlink_to(data / "b.nii.gz")
    return data, secret


def test_the_list_shows_folders_and_what_can_be_opened(places):
    data, _ = places
    folders = AllowedFolders([data])
    listing = folders.listing(str(data))
    assert [entry.name for entry in listing.entries] == ["sub", "A.seg.nrrd", "b.nii.gz", "c.mrb", "inside.nii"]
    assert [entry.is_folder for entry in listing.entries] == [True, False, False, False, False]
    assert listing.entries[1].size == "5 B"
    assert listing.parent == ""
    assert folders.listing(str(data / "sub")).parent == str(data)
    assert [entry.path for entry in folders.listing().entries] == [str(data)]


def test_a_file_in_a_chosen_folder_is_found_by_any_name_it_has(places):
    data, _ = places
    folders = AllowedFolders([data])
    for text in (str(data / "b.nii.gz"), "b.nii.gz", "sub/../b.nii.gz", str(data / "inside.nii")):
        assert folders.file(text) == (data / "b.nii.gz").resolve()


@pytest.mark.parametrize(
    "way",
    [
        "{s}/x.nii",
        "../secret/x.nii",
        "{d}/../secret/x.nii",
        "{d}/link.nii",
        "{d}/tunnel/x.nii",
        "/etc/passwd",
        "~/x.nii",
    ],
)
def test_what_lies_outside_is_refused_with_a_sentence_however_it_is_named(places, way):
    data, secret = places
    with pytest.raises(DataError, match="outside the folders that the app may use"):
        AllowedFolders([data]).file(way.format(d=data, s=secret))


def test_a_folder_with_a_similar_name_is_another_folder(places):
    data, _ = places
    twin = data.with_name("data2")
    twin.mkdir()
    with pytest.raises(DataError, match="outside"):
        AllowedFolders([data]).folder(str(twin))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b.nii", "../b.nii", "/b.nii", "a\\b.nii", "a\0.nii"])
def test_a_name_with_a_path_in_it_is_no_name_to_write(places, name):
    with pytest.raises(DataError, match="no name for a file"):
        AllowedFolders([places[0]]).target(str(places[0]), name)


def test_a_link_that_leads_outside_is_not_written_through(places):
    data, _ = places
    assert AllowedFolders([data]).target(str(data), "new.nii.gz") == data.resolve() / "new.nii.gz"
    with pytest.raises(DataError, match="outside"):
        AllowedFolders([data]).target(str(data), "link.nii")


def test_a_missing_file_is_reported(places):
    with pytest.raises(DataError, match=r"there is no file .*nothing\.nii"):
        AllowedFolders([places[0]]).file("nothing.nii")
    with pytest.raises(DataError, match="no path"):
        AllowedFolders([places[0]]).file("a\0b")


@pytest.mark.parametrize(
    ("size", "text"), [(5, "5 B"), (12_400, "12 kB"), (3_400_000, "3.4 MB"), (4 * 10**9, "4.0 GB")]
)
def test_sizes_are_for_people(size, text):
    assert size_text(size) == text
