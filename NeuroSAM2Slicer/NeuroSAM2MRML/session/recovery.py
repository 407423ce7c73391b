"""Finding and bringing back what a session wrote down before its host died."""

from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.volume import Volume
from NeuroSAM2MRML.i18n import tr as _
from NeuroSAM2MRML.objects.scene_objects import Look
from NeuroSAM2MRML.scene.fingerprint import Fingerprint, is_same_place
from NeuroSAM2MRML.session.desk import SessionDesk
from NeuroSAM2MRML.session.journal import Line, MaskLine, PromptsLine, StaleLine, Unsaved, unsaved_in


def unsaved_work(folder: Path, volume: Volume) -> list[Unsaved]:
    """What was written down about this very image, whatever it is called now, the newest first.

    Args:
        folder: Of journals.
        volume: The image.
    """
    nearby = [
        one
        for one in unsaved_in(folder)
        if one.head.shape == volume.shape and is_same_place(volume, one.head.fingerprint.ijk_to_ras)
    ]
    voxels = Fingerprint.of(volume).voxels if nearby else ""  # hashing a large image takes a moment
    return [one for one in nearby if one.head.fingerprint.voxels == voxels]


def recover(desk: SessionDesk, unsaved: Unsaved) -> int:
    """Puts what a journal says into a session as one step, and deletes it. Masks first, then what was said of them.

    Args:
        desk: Of the same image.
        unsaved: From `unsaved_work`.

    Returns:
        How many objects came back.

    Raises:
        DataError: It is about another image, or of a later version, or brought back elsewhere.
    """
    known, volume = unsaved.head.fingerprint, desk.volume
    if not is_same_place(volume, known.ijk_to_ras) or known.voxels != Fingerprint.of(volume).voxels:
        raise DataError(
            _("that work belongs to the image {volume_name}, and this is another one or it was changed").format(
                volume_name=unsaved.head.volume_name
            ),
            hint=_("load that image first"),
        )
    lines = list(unsaved.lines())
    numbers: dict[int, int] = {}
    with unsaved.held():
        lines = list(unsaved.lines())
        with desk.step(_("Recover unsaved work")):
            for line in lines:
                if isinstance(line, PromptsLine):
                    if line.object_id not in numbers:
                        numbers[line.object_id] = desk.bring_back_object(line.object_id, line.segment_name)
                    _bring_back(desk, numbers[line.object_id], line)
                elif line.object_id in numbers:
                    _bring_back(desk, numbers[line.object_id], line)
        desk.journal.note_all()
        if not desk.journal.problem:
            disk.delete(unsaved.path)
    return len(numbers)


def _bring_back(desk: SessionDesk, number: int, line: Line) -> None:
    match line:
        case PromptsLine():
            desk.bring_back_prompts(number, line.prompts, line.unanswered)
            if line.colour is not None:
                desk.bring_back_look(number, Look(line.segment_name, line.colour))
        case MaskLine():
            desk.bring_back_mask(number, line.plane, line.mask, line.quality)
        case StaleLine():
            desk.bring_back_stale(number, line.axis, line.first, line.last)
