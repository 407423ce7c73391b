"""The session's data in the scene besides prompts and masks.

Which nodes belong together, which model answered, how sure it was of each slice.

A script node with references and parameters, so that it is saved with the scene and found again when the scene is opened.

How long a person has worked on each object: for a paper, and to see what a better model saves.
"""

import functools
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import slicer

from NeuroSAM2Core.decoding import DecodingError, Rules, decoded, parse_count, parse_json
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.remote import REVIEW_IOU_THRESHOLD
from NeuroSAM2Core.version import __version__
from NeuroSAM2Core.volume import SlicePlane
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.volume_nodes import local_matrix
from NeuroSAM2Lib.segmentation.objects.prompt_nodes import SEGMENTATION, VOLUME, StoredSlices
from NeuroSAM2Lib.segmentation.objects.scene_objects import ObjectRecord
from NeuroSAM2Lib.view_state import ENDING_MESSAGES, OTHER_REASON, SliceQuality

MODULE = "NeuroSAM2"
DEFAULTS = (REVIEW_IOU_THRESHOLD, 1.0, 0.0)
"""The later values of a slice's quality in scenes of versions that did not keep them."""
ENDINGS = ("", *ENDING_MESSAGES)
"""Why an object ends on a slice, by the number that a scene keeps: new ones go to the end."""
OTHER_ENDING = -1
MODEL, VERSION, ACTIVE, REVISION, QUALITY = "Model", "Version", "ActiveObject", "Revision", "Quality"
SECONDS = "Seconds"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelIdentity:
    """The model that was used."""

    name: str = ""
    sha256: str = ""
    """Of its file; empty where the file is on another machine."""


class SessionNode:
    """The node of one volume and one segmentation.

    Args:
        node: The script node.
    """

    def __init__(self, node: slicer.vtkMRMLScriptedModuleNode) -> None:
        self.node = node

    @classmethod
    def of(
        cls,
        scene: slicer.vtkMRMLScene,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        segmentation_node: slicer.vtkMRMLSegmentationNode,
    ) -> "SessionNode":
        """The node of a pair; made where it is not there yet."""
        for one in sessions_in(scene):
            if one.volume_node is volume_node and one.segmentation_node is segmentation_node:
                return one
        node = scene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        node.SetName(scene.GenerateUniqueName(f"{MODULE} session"))
        node.SetAttribute("ModuleName", MODULE)
        scene.AddNode(node)
        node.SetNodeReferenceID(VOLUME, volume_node.GetID())
        node.SetNodeReferenceID(SEGMENTATION, segmentation_node.GetID())
        node.SetParameter(VERSION, __version__)
        return cls(node)

    @property
    def volume_node(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The image."""
        return self.node.GetNodeReference(VOLUME)

    @property
    def segmentation_node(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The segmentation."""
        return self.node.GetNodeReference(SEGMENTATION)

    @property
    def active_object(self) -> int:
        """The object that is prompted; 0 for none."""
        return _number(self.node.GetParameter(ACTIVE))

    @active_object.setter
    def active_object(self, object_id: int) -> None:
        self.node.SetParameter(ACTIVE, str(object_id))

    @property
    def revision(self) -> int:
        """Of the last prompt set; goes on from there when the scene is opened again."""
        return _number(self.node.GetParameter(REVISION))

    @revision.setter
    def revision(self, revision: int) -> None:
        self.node.SetParameter(REVISION, str(revision))

    @property
    def model(self) -> ModelIdentity:
        """The model that answered last; unknown where the text cannot be read."""
        return _read_model(self.node.GetParameter(MODEL) or "{}")

    @model.setter
    def model(self, model: ModelIdentity) -> None:
        self.node.SetParameter(MODEL, json.dumps({"name": model.name, "sha256": model.sha256}))

    def note_model(self, name: str, sha256: str = "") -> None:
        """The model that answers from now on: a catalog name or the path of a file, and the hash of what the engine read, if known."""
        name = Path(name).stem if name.endswith(".safetensors") else name
        known = self.model
        if known.name != name or (sha256 and known.sha256 != sha256):
            self.model = ModelIdentity(name=name, sha256=sha256)

    def seconds(self, object_id: int) -> float:
        """Spent on an object; 0 where that cannot be read."""
        try:
            found = float(self.node.GetParameter(f"{SECONDS}{object_id}") or 0)
        except ValueError:
            return 0.0
        return found if math.isfinite(found) and found > 0 else 0.0

    def add_seconds(self, object_id: int, seconds: float) -> None:
        """Notes that a person has spent more time on an object."""
        self.node.SetParameter(f"{SECONDS}{object_id}", f"{self.seconds(object_id) + seconds:.1f}")

    def write_quality(self, object_id: int, record: ObjectRecord) -> None:
        """Remembers the slices of an object along the axis of its prompts."""
        axis = record.prompts.axis
        if axis is None or self.volume_node is None:
            self.node.UnsetParameter(f"{QUALITY}{object_id}")
            return
        values = {
            plane.index: (
                q.predicted_iou,
                q.object_score,
                float(q.is_stale),
                q.review_iou_threshold,
                float(q.num_readings),
                float(_number_of(q.ending)),
            )
            for plane, q in record.quality.items()
            if plane.axis == axis
        }
        text = StoredSlices(axis, values).to_text(local_matrix(self.volume_node))
        self.node.SetParameter(f"{QUALITY}{object_id}", text)

    def read_quality(self, object_id: int) -> dict[SlicePlane, SliceQuality]:
        """What was remembered of an object; nothing where it cannot be read."""
        text = self.node.GetParameter(f"{QUALITY}{object_id}")
        if not text or self.volume_node is None:
            return {}
        try:
            slices = StoredSlices.from_text(text, local_matrix(self.volume_node))
        except DataError:
            return {}
        known = {}
        for index, values in slices.values.items():
            if not 3 <= len(values) <= 3 + len(DEFAULTS):
                continue
            iou, object_score, is_stale, *more = values
            review_iou_threshold, num_readings, ending = (*more, *DEFAULTS[len(more) :])
            known[SlicePlane(slices.axis, index)] = SliceQuality(
                predicted_iou=iou,
                object_score=object_score,
                is_stale=bool(is_stale),
                review_iou_threshold=review_iou_threshold,
                num_readings=int(num_readings),
                ending=ENDINGS[int(ending)] if 0 <= ending < len(ENDINGS) else OTHER_REASON,
            )
        return known


def sessions_in(scene: slicer.vtkMRMLScene) -> Iterator[SessionNode]:
    """The sessions that a scene remembers, with both nodes there or not."""
    nodes = scene.GetNodesByClass("vtkMRMLScriptedModuleNode")
    for number in range(nodes.GetNumberOfItems()):
        node = nodes.GetItemAsObject(number)
        if node.GetAttribute("ModuleName") == MODULE:
            yield SessionNode(node)


@functools.lru_cache(maxsize=4)
def _read_model(text: str) -> ModelIdentity:
    try:
        return decoded(ModelIdentity, parse_json(text), "", Rules(skips_unknown=True))
    except DecodingError:
        return ModelIdentity()


def _number_of(ending: str) -> int:
    return ENDINGS.index(ending) if ending in ENDINGS else OTHER_ENDING


def _number(text: str) -> int:
    return parse_count(text) or 0


MAX_PAUSE_S = 60.0
HOW_IT_IS_COUNTED = _(
    "Time runs from one action on the objects to the next, and counts for the object that prompts went to; a pause of more than a minute "
    "does not count."
)


class WorkingTime:
    """The time that is spent in one session, kept in the scene.

    Args:
        node: Keeps it.
        now: In seconds.
    """

    def __init__(self, node: SessionNode, now: Callable[[], float] = time.monotonic) -> None:
        self._node, self._now = node, now
        self._last: float | None = None

    def note(self, object_id: int | None) -> None:
        """A person has done something.

        Args:
            object_id: The object that prompts go to; None where there is none.
        """
        now = self._now()
        pause = None if self._last is None else now - self._last
        self._last = now
        if object_id is not None and pause is not None and 0 < pause <= MAX_PAUSE_S:
            self._node.add_seconds(object_id, pause)
