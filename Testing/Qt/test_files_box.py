"""Files in Slicer's panel: label maps in, labels and surfaces out, Slicer's DICOM module, and an earlier scan."""

import numpy as np
import pytest
import slicer
from NeuroSAM2Lib.engine.choice import EngineChoice
from NeuroSAM2Lib.scene.files.exporting import ExportFormat
from NeuroSAM2Lib.scene.volume_nodes import add_volume

from NeuroSAM2Core.labels import LabelEntry, LabelTable, read_table, write_table
from NeuroSAM2Core.volume import Volume
from Testing.Qt.panel_user import PanelUser
from Testing.Support.fake_engine import FakeEngine

LIMIT_S = 120.0
"""A process has to start and to end."""
TABLE = LabelTable((LabelEntry(1, "tumor", (255, 0, 51)), LabelEntry(4, "edema", (0, 102, 204))))


@pytest.fixture
def user(slicer_app, loop, monkeypatch):
    monkeypatch.setattr(EngineChoice, "connect", lambda choice, slicer_python: FakeEngine())
    user = PanelUser(slicer_app, loop)
    user.load()
    loop.until(lambda: user.ui.labelsButton.enabled)
    yield user
    user.close()


def labels_of(user):
    volume = user.session.document.volume
    voxels = np.zeros(volume.shape, np.uint8)
    voxels[3:6, 10:20, 10:24], voxels[5:8, 24:30, 8:20] = 1, 4
    return volume.with_voxels(voxels)


def test_a_label_map_becomes_objects_and_they_are_written_again(user, loop, tmp_path, monkeypatch):
    labels = labels_of(user)
    write_table(tmp_path / "a.tsv", TABLE)
    scene = slicer.mrmlScene
    monkeypatch.setattr(slicer.util, "loadLabelVolume", lambda path: add_volume(scene, labels, "a"), raising=False)
    count = scene.GetNodesByClass("vtkMRMLScalarVolumeNode").GetNumberOfItems()
    user.panel.files.ask_labels = lambda: str(tmp_path / "a.nii.gz")
    user.ui.labelsButton.click()
    loop.until(lambda: user.ui.objectTable.rowCount == 2)
    assert [user.object_text(row, "Object") for row in (0, 1)] == ["tumor", "edema"]
    assert scene.GetNodesByClass("vtkMRMLScalarVolumeNode").GetNumberOfItems() == count

    path = tmp_path / "out.nii.gz"
    user.panel.files.ask_path = lambda name, kind: str(path)
    user.ui.exportSelector.setCurrentIndex(list(ExportFormat).index(ExportFormat.NIFTI))
    user.ui.exportButton.click()
    loop.until(lambda: "Written: out.nii.gz, out.tsv" in user.ui.stateLabel.text, limit_s=LIMIT_S)
    assert (Volume.read(path).voxels == np.searchsorted([0, 1, 4], labels.voxels)).all()
    assert [one.name for one in read_table(tmp_path / "out.tsv").entries] == ["tumor", "edema"]
    user.ui.exportSelector.setCurrentIndex(list(ExportFormat).index(ExportFormat.DICOM))
    path = tmp_path / "out.dcm"
    user.ui.exportButton.click()
    loop.until(lambda: "was not opened from DICOM" in user.ui.stateLabel.text, limit_s=LIMIT_S)


def test_the_dicom_button_opens_slicers_module(user, monkeypatch):
    opened = []
    monkeypatch.setattr(slicer.util, "selectModule", opened.append)
    user.ui.dicomButton.click()
    assert opened == ["DICOM"]
    assert not user.ui.followButton.enabled
    assert not user.ui.useFollowButton.visible
