"""Saving next to what was opened: the image is never replaced, and each file has its own methods file."""

import os

import numpy as np
import pytest
from NeuroSAM2Web.app import make_home
from NeuroSAM2Web.file_io import FileIO, Target

from NeuroSAM2Core.errors import ConfigError, DataError
from NeuroSAM2Core.volume import Volume
from Testing.Core.test_header_geometry import in_nibabel, in_simple_itk, turned, write_image
from Testing.Support.apart import run_apart
from Testing.Web.app_user import HEIGHT, WIDTH, AppUser


def test_the_opened_image_is_never_replaced_and_the_mask_lies_on_it(tmp_path):
    user = AppUser(tmp_path / "home")
    files = FileIO(user.app_state)
    image = write_image(tmp_path / "T1.nii", turned(-0.3, offset=(1, 2, 3)), turned(0.2), s_code=4)
    os.link(image, tmp_path / "link.nii.gz")
    before = image.read_bytes()
    run_apart(files.open(image, "T1.nii"))
    user.app_state.views.picture("Red", WIDTH, HEIGHT)
    user.app_state.views.box("Red", [150, 100, 250, 200], WIDTH, HEIGHT)
    with pytest.raises(DataError, match="is never replaced"):
        run_apart(files.save(Target.NIFTI, tmp_path / "link.nii.gz"))
    assert image.read_bytes() == before

    mask, table, methods = run_apart(files.save(Target.NIFTI, tmp_path / "m.nii.gz"))
    assert (table.name, methods.name) == ("m.tsv", "m.nii.gz.json")
    for reader in (in_nibabel, in_simple_itk):
        np.testing.assert_allclose(reader(mask), reader(image), atol=1e-3)
    assert Volume.read(mask).shape == Volume.read(image).shape
    before = mask.read_bytes()
    for target in Target:
        (tmp_path / f"m{target.value}").touch()
        with pytest.raises(DataError, match="is there already"):
            run_apart(files.save(target, tmp_path / f"m{target.value}"))
    assert mask.read_bytes() == before
    assert len(run_apart(files.save(Target.NIFTI, mask, overwrite=True))) == 3


def test_every_file_has_a_methods_file_of_its_own(tmp_path):
    files = FileIO(AppUser(tmp_path / "home").app_state)
    names = [files.names_beside(target, f"a{target.value}") for target in Target]
    beside = [name for row in names for name in row]
    assert len(beside) == len(set(beside)) == len(Target) + 4


@pytest.mark.parametrize("target", [Target.STL, Target.OBJ, Target.PLY, Target.GLB])
def test_surfaces_are_saved_without_a_methods_file(tmp_path, target):
    user = AppUser(tmp_path / "home")
    user.app_state.views.box("Red", [150, 100, 250, 200], WIDTH, HEIGHT)
    (path,) = run_apart(FileIO(user.app_state).save(target, tmp_path / f"a{target.value}"))
    assert path.stat().st_size > 500


def test_a_folder_that_takes_no_files_is_a_sentence_that_names_the_variable(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="NEUROSAM2_HOME"):
        make_home(tmp_path / "file" / "app")
