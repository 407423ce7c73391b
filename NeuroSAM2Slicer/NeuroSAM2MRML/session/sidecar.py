"""A JSON file beside an exported segmentation: who said what to which model, for methods sections and for doing it again."""

import json
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.outputs import is_there
from NeuroSAM2Core.version import __version__
from NeuroSAM2Core.volume import Axis, SlicePlane
from NeuroSAM2MRML.session.desk import SessionDesk

FORMAT = 1


def sidecar_text(desk: SessionDesk) -> str:
    """Everything that led to the masks, as JSON; no name of a patient or a file."""
    model = desk.node.model
    return json.dumps(
        {
            "format": FORMAT,
            "software": f"NeuroSAM2 {__version__}",
            "model": {"name": model.name, "sha256": model.sha256},
            "image": {
                "shape_kji": list(desk.volume.shape),
                "spacing_mm_ijk": [round(value, 6) for value in desk.volume.spacing_mm],
            },
            "objects": [_object(desk, number) for number in sorted(desk.objects.segments)],
        },
        indent=2,
    )


def write_sidecar(desk: SessionDesk, path: Path, *, overwrite: bool = False) -> None:
    """Writes the file; one that is there already is replaced only when asked.

    Raises:
        DataError: It cannot be written there, or is there already.
    """
    try:
        disk.write_atomically(path, sidecar_text(desk) + "\n", overwrite=overwrite)
    except FileExistsError as error:
        raise is_there(path) from error
    except OSError as error:
        raise DataError(f"cannot write {path.name}: {error.strerror or error}", hint="choose another folder") from error


def _object(desk: SessionDesk, number: int) -> dict[str, object]:
    record = desk.objects.record(number)
    said = record.prompts
    voxels = count_voxels(desk, number)
    return {
        "name": desk.objects.name(number),
        "axis": said.axis,
        "points": [
            {"slice": p.index, "row": p.point.row, "col": p.point.col, "positive": p.point.positive}
            for p in said.points
        ],
        "boxes": [
            {"slice": b.index, "row0": b.box.row0, "col0": b.box.col0, "row1": b.box.row1, "col1": b.box.col1}
            for b in said.boxes
        ],
        "readings": [{"slice": r.index, "reading": r.reading} for r in sorted(said.readings, key=lambda r: r.index)],
        "slices_kept_by_hand": sorted(said.kept),
        "slices": {
            str(plane.index): {"predicted_iou": round(q.predicted_iou, 4), "presence": round(q.presence, 4)}
            | ({"ending": q.ending} if q.ending else {})
            for plane, q in sorted(record.quality.items(), key=lambda one: one[0].index)
            if plane.axis == said.axis
        },
        "volume_ml": round(voxels * desk.volume.voxel_volume_ml, 4),
    }


def count_voxels(desk: SessionDesk, number: int) -> int:
    """Voxels of an object on the image's grid."""
    axis = desk.axis_of(number) or Axis.K
    planes = (SlicePlane(axis, index) for index in range(desk.volume.shape[axis.array_axis]))
    return sum(int(desk.keeper.read(number, plane).sum()) for plane in planes)
