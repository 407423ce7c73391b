"""Bringing back what a session wrote down before its host died."""

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.protocol import volume_id, wire_matrix, wire_voxels
from NeuroSAM2Core.volume import SliceMask
from NeuroSAM2MRML.session.desk import SessionDesk
from NeuroSAM2MRML.session.journal import MaskLine, Unsaved


def recover(desk: SessionDesk, unsaved: Unsaved) -> int:
    """Puts what a journal says into a session as one step, and deletes it. Masks first, then what was said of them.

    Args:
        desk: Of the same image.
        unsaved: From `unsaved_in`.

    Returns:
        How many objects came back.

    Raises:
        DataError: It is about another image, or of a later version.
    """
    if unsaved.head.fingerprint != volume_id(wire_voxels(desk.volume), wire_matrix(desk.volume)):
        raise DataError(
            f"that work belongs to the image {unsaved.head.volume_name}, and this is another one or it was changed",
            hint="load that image first",
        )
    lines = list(unsaved.lines())
    numbers: dict[int, int] = {}
    with desk.step("Recover unsaved work"):
        for line in lines:
            number = numbers.get(line.object_id)
            if isinstance(line, MaskLine):
                if number is not None:
                    desk.bring_back_mask(
                        SliceMask(object_id=number, plane=line.plane, mask=line.mask, predicted_iou=1.0, presence=1.0)
                    )
                continue
            if number is None:
                number = numbers[line.object_id] = desk.bring_back_object(line.object_id, line.segment_name)
            desk.bring_back_prompts(number, line.prompts)
    desk.journal.note_all()
    disk.delete(unsaved.path)
    return len(numbers)
