"""Finding and bringing back what a session wrote down before its host died."""

from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.volume import Volume
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.volume_nodes import Fingerprint, is_same_position
from NeuroSAM2Lib.segmentation.document import SegmentationDocument
from NeuroSAM2Lib.segmentation.journal import Line, MaskLine, PromptsLine, StaleLine, Unsaved, unsaved_in
from NeuroSAM2Lib.segmentation.objects.scene_objects import DisplayProperties


def unsaved_work(folder: Path, volume: Volume) -> list[Unsaved]:
    """What was written down about this very image, whatever it is called now, the newest first.

    Args:
        folder: Of journals.
        volume: The image.
    """
    nearby = [
        one
        for one in unsaved_in(folder)
        if one.head.shape == volume.shape and is_same_position(volume, one.head.fingerprint.ijk_to_ras)
    ]
    voxels = Fingerprint.of(volume).voxels if nearby else ""  # hashing a large image takes a moment
    return [one for one in nearby if one.head.fingerprint.voxels == voxels]


def recover(document: SegmentationDocument, unsaved: Unsaved) -> int:
    """Puts what a journal says into a session as one step, and deletes it. Masks first, then their prompts.

    Args:
        document: Of the same image.
        unsaved: From `unsaved_work`.

    Returns:
        How many objects came back.

    Raises:
        DataError: It is about another image, or of a later version, or recovered elsewhere.
    """
    known, volume = unsaved.head.fingerprint, document.volume
    if not is_same_position(volume, known.ijk_to_ras) or known.voxels != Fingerprint.of(volume).voxels:
        raise DataError(
            _("that work belongs to the image {volume_name}, and this is another one or it was changed").format(
                volume_name=unsaved.head.volume_name
            ),
            hint=_("load that image first"),
        )
    lines = list(unsaved.lines())
    numbers: dict[int, int] = {}
    with unsaved.locked():
        lines = list(unsaved.lines())
        with document.step(_("Recover unsaved work")):
            for line in lines:
                if isinstance(line, PromptsLine):
                    if line.object_id not in numbers:
                        numbers[line.object_id] = document.restore_object(line.object_id, line.segment_name)
                    _restore_line(document, numbers[line.object_id], line)
                elif line.object_id in numbers:
                    _restore_line(document, numbers[line.object_id], line)
        document.journal.note_all()
        if not document.journal.problem:
            disk.delete(unsaved.path)
    return len(numbers)


def _restore_line(document: SegmentationDocument, number: int, line: Line) -> None:
    match line:
        case PromptsLine():
            document.restore_prompts(number, line.prompts, line.unanswered)
            if line.colour is not None:
                document.restore_appearance(number, DisplayProperties(line.segment_name, line.colour))
        case MaskLine():
            document.restore_mask(number, line.plane, line.mask, line.quality)
        case StaleLine():
            document.restore_stale(number, line.axis, line.first, line.last)
