"""Objects of an earlier scan on the image of the session: prompts on few slices, which the model answers anew, in one undo step.

What takes long, `carry_objects`, touches no scene; `add_carried` puts its result there.
"""

from dataclasses import dataclass

import numpy as np
import slicer
from numpy.typing import NDArray

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.prompts import ObjectPrompts
from NeuroSAM2Core.registration import Registration, carried_labels, prompts_of
from NeuroSAM2Core.volume import Volume
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.arrays import set_voxels, to_vtk
from NeuroSAM2Lib.scene.segments.segmentation_snapshot import SegmentationSnapshot
from NeuroSAM2Lib.scene.volume_nodes import local_matrix
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.label_import import digest_of, slice_axis
from NeuroSAM2Lib.segmentation.objects.object_record import ObjectRecord, SliceQuality
from NeuroSAM2Lib.segmentation.objects.scene_objects import DisplayProperties


@dataclass(frozen=True, slots=True, eq=False)
class CarriedObjects:
    """What the objects of an earlier scan become on the later one."""

    image: Volume
    shown: tuple[DisplayProperties, ...]
    prompts: tuple[ObjectPrompts, ...]
    labels: NDArray[np.unsignedinteger]
    """(K, J, I): the slices on which a mask is the prompt; 1 for the first object, and so on."""
    lost: tuple[str, ...]
    """The names of the objects of which nothing lies in the later scan."""


def carry_objects(earlier: SegmentationSnapshot, later: Volume, registration: Registration) -> CarriedObjects:
    """The objects of an earlier scan on a later one.

    Raises:
        DataError: Nothing of any of them lies there.
    """
    carried = carried_labels(earlier.labels(), later, registration)
    axis = slice_axis(later)
    shown, prompts, lost = [], [], []
    labels = np.zeros(later.shape, np.min_scalar_type(len(earlier.segments)))
    for value, segment in enumerate(earlier.segments, start=1):
        mask = carried == value
        if not mask.any():
            lost.append(segment.name)
            continue
        found = prompts_of(mask, axis)
        shown.append(DisplayProperties(segment.name, segment.colour))
        prompts.append(found.prompts)
        for plane, prompt in found.masks.items():
            plane.of(labels)[prompt.mask] = len(shown)
    return CarriedObjects(later, tuple(shown), tuple(prompts), labels, tuple(lost))


def add_carried(session: SessionController, carried: CarriedObjects) -> list[int]:
    """Adds the objects with their prompts as one undo step, and carries the model's answers through all slices.

    Raises:
        DataError: The image is another one by now.
    """
    document = session.document
    with session.action():
        if document.volume.shape != carried.image.shape:
            raise DataError(_("the image is another one by now"), hint=_("register the scans again"))
        labelmap = slicer.vtkOrientedImageData()
        set_voxels(labelmap, carried.labels)
        labelmap.SetImageToWorldMatrix(to_vtk(local_matrix(document.volume_node)))
        known = [
            (shown, _record(prompts, carried.labels == label))
            for label, (shown, prompts) in enumerate(zip(carried.shown, carried.prompts, strict=True), start=1)
        ]
        with document.step(_("Carry over from the earlier scan")):
            numbers = document.add_objects(labelmap, known)
        document.journal.note_all()
    session.warm_up()
    session.propagate(object_ids=tuple(numbers))
    if carried.lost:
        session.notice = _("nothing of {names} lies in this scan").format(names=", ".join(carried.lost))
    return numbers


def _record(prompts: ObjectPrompts, mask: NDArray[np.bool_]) -> ObjectRecord:
    """Boxes wait for an answer; masks are confirmed as they are."""
    kept = {plane: plane.of(mask) for plane in prompts.planes if plane.index in prompts.kept}
    qualities = {
        plane: SliceQuality(predicted_iou=1.0, object_score=1.0, digest=digest_of(part)) for plane, part in kept.items()
    }
    record = ObjectRecord(prompts=prompts).with_qualities(qualities)
    return record.with_unanswered(frozenset(set(prompts.planes) - set(kept)))
