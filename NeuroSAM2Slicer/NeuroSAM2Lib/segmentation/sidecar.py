"""A JSON file beside an exported segmentation: the prompts and the model, for methods sections and for doing it again."""

import json
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.outputs import is_there
from NeuroSAM2Core.version import __version__
from NeuroSAM2Core.volume import Axis, SlicePlane
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.segments.layers import label_values
from NeuroSAM2Lib.segmentation.document import SegmentationDocument

FORMAT = 1


def sidecar_text(document: SegmentationDocument) -> str:
    """Everything that led to the masks, as JSON; no name of a patient or a file."""
    model = document.node.model
    return json.dumps(
        {
            "format": FORMAT,
            "software": f"NeuroSAM2 {__version__}",
            "model": {"name": model.name, "sha256": model.sha256},
            "image": {
                "shape_kji": list(document.volume.shape),
                "spacing_mm_ijk": [round(value, 6) for value in document.volume.spacing_mm],
            },
            "objects": [_object(document, number) for number in sorted(document.objects.segments)],
        },
        indent=2,
    )


def write_sidecar(document: SegmentationDocument, path: Path, *, overwrite: bool = False) -> None:
    """Writes the file; one that is there already is replaced only when asked.

    Raises:
        DataError: It cannot be written there, or is there already.
    """
    try:
        disk.write_atomically(path, sidecar_text(document) + "\n", overwrite=overwrite)
    except FileExistsError as error:
        raise is_there(path) from error
    except OSError as error:
        raise DataError(
            _("cannot write {name}: {reason}").format(name=path.name, reason=error.strerror or error),
            hint=_("choose another folder"),
        ) from error


def _object(document: SegmentationDocument, number: int) -> dict[str, object]:
    record = document.objects.record(number)
    prompts = record.prompts
    voxels = count_voxels(document, number)
    return {
        "name": document.objects.name(number),
        "label": label_values(document.objects.node)[document.objects.segment_id(number)],
        **prompts.named(),
        "slices": {
            str(plane.index): {"predicted_iou": round(q.predicted_iou, 4), "object_score": round(q.object_score, 4)}
            | ({"ending": q.ending} if q.ending else {})
            for plane, q in sorted(record.quality.items(), key=lambda one: one[0].index)
            if plane.axis == prompts.axis
        },
        "seconds_spent": round(document.node.seconds(number), 1),
        "volume_ml": round(voxels * document.volume.voxel_volume_ml, 4),
    }


def count_voxels(document: SegmentationDocument, number: int) -> int:
    """Voxels of an object on the image's grid."""
    axis = document.axis_of(number) or Axis.K
    planes = (SlicePlane(axis, index) for index in range(document.volume.shape[axis.array_axis]))
    return sum(int(document.slice_io.read(number, plane).sum()) for plane in planes)
