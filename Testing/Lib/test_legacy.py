"""Journals and panel settings of version 0.1, whose fields had other names, are still read."""

from NeuroSAM2Lib.presenters.panel_settings import PanelSettings
from NeuroSAM2Lib.segmentation.journal import SUFFIX, MaskLine, PromptsLine, unsaved_in
from NeuroSAM2Lib.view_state import SliceQuality

from NeuroSAM2Core.remote import EngineSwitches
from NeuroSAM2Core.volume import Axis, SlicePlane

JOURNAL = """{"head": {"volume_name": "T1", "fingerprint": {"voxels": "ab", \
"ijk_to_ras": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]}, "shape": [3, 2, 3], "owner": "nobody", "version": "0.1.0"}}
{"object": 1, "name": "lesion", "axis": "k", "points": [[1, 0.0, 2.0, true]], "boxes": [], "kept": [], "readings": [], \
"colour": null, "unanswered": []}
{"object": 1, "axis": "k", "index": 1, "shape": [2, 3], "mask": "MASK", "quality": {"predicted_iou": 0.75, "presence": 0.5, \
"sure_iou": 0.82, "is_stale": false, "num_readings": 1, "ending": ""}}
"""
MASK = "cmX>C006}R#Q"


def test_a_journal_of_version_0_1_is_read(tmp_path):
    (tmp_path / f"old{SUFFIX}").write_text(JOURNAL.replace("MASK", MASK), encoding="utf-8")
    prompts, mask = unsaved_in(tmp_path)[0].lines()
    assert isinstance(prompts, PromptsLine)
    assert isinstance(mask, MaskLine)
    assert mask.plane == SlicePlane(Axis.K, 1)
    assert mask.mask.tolist() == [[True, True, False], [False, False, True]]
    assert mask.quality == SliceQuality(predicted_iou=0.75, object_score=0.5, review_iou_threshold=0.82)


def test_panel_settings_of_version_0_1_are_read_and_written_in_new_names(app):
    settings = PanelSettings(app.scene)
    settings.node.SetParameter("Switch.learns_appearance", "on")
    settings.node.SetParameter("Switch.crops", "off")
    assert settings.switches == EngineSwitches(use_appearance_model=True, crops=False)
    settings.switches = EngineSwitches(use_appearance_model=False)
    assert settings.switches == EngineSwitches(use_appearance_model=False)
    assert not settings.node.GetParameter("Switch.learns_appearance")
