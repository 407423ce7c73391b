"""A path on a slice as a curve node: open for a scribble, closed for a lasso. It is locked, so that no hand moves it by mistake."""

import numpy as np
import slicer
import vtk

from NeuroSAM2Core.prompts.strokes import DECIMALS, Path
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from NeuroSAM2Lib.scene.views.slice_views import nearest_index


def place_path(node: slicer.vtkMRMLMarkupsCurveNode, path: Path, plane: SlicePlane, volume: Volume) -> None:
    """Makes a curve run along a path on a slice; the node must be under the volume's parent transform."""
    places = vtk.vtkPoints()
    places.SetDataTypeToDouble()
    for row, col in path:
        places.InsertNextPoint(*volume.to_ras(np.array(plane.to_ijk(row, col))))
    node.SetCurveTypeToLinear()
    node.SetControlPointPositionsWorld(places)
    for number in range(node.GetNumberOfControlPoints()):  # they would look like clicks
        node.SetNthControlPointVisibility(number, False)
    node.SetLocked(True)


def read_path(node: slicer.vtkMRMLMarkupsCurveNode, axis: Axis, volume: Volume) -> tuple[SlicePlane, Path]:
    """The slice nearest to a curve, and its path there; an empty one where it has no points."""
    places = vtk.vtkPoints()
    node.GetControlPointPositionsWorld(places)
    if not places.GetNumberOfPoints():
        return SlicePlane(axis, 0), ()
    ras = np.array([places.GetPoint(number) for number in range(places.GetNumberOfPoints())])
    ijk = volume.to_ijk(ras)
    plane = SlicePlane(axis, nearest_index(round(float(ijk[:, "ijk".index(axis)].mean()), DECIMALS)))
    pixels = (plane.to_pixel(*place) for place in ijk.tolist())
    return plane, tuple((round(row, DECIMALS) + 0.0, round(col, DECIMALS) + 0.0) for row, col in pixels)
