"""Closed surfaces of masks, drawn off screen in a process of their own: neither making nor drawing them holds the app up.

`python -m NeuroSAM2Lib.headless.surface_renderer` reads messages from its input, one line of JSON each, with the bytes that it
announces after it, and answers those that ask for a picture. It ends with its input.
"""

import json
import sys
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import vtk
from numpy.typing import NDArray

from NeuroSAM2Lib.scene.arrays import Matrix, set_voxels, to_vtk

MAX_VOXELS = 4_000_000
"""Larger masks are thinned out, so that a surface takes less than a second."""
BACKGROUND = (0.09, 0.10, 0.12)
ANTERIOR = 0, 1, 0


@dataclass(slots=True)
class Surface:
    """Of one object."""

    mask: NDArray[np.uint8]
    """(K, J, I), a part of the volume."""
    ijk_to_ras: Matrix
    """Of the part."""
    actor: vtk.vtkActor


def make_surface(mask: NDArray[np.uint8], ijk_to_ras: Matrix, smoothing: float) -> vtk.vtkPolyData:
    """The closed surface of a mask in the world, made as Slicer makes it.

    Args:
        mask: (K, J, I).
        ijk_to_ras: Of it.
        smoothing: Slicer's smoothing factor, 0 to 1; 0 leaves the edges of the voxels.
    """
    step = max(1, int(np.ceil((mask.size / MAX_VOXELS) ** (1 / 3))))
    padded = np.pad(mask[::step, ::step, ::step], 1)
    image = vtk.vtkImageData()
    set_voxels(image, padded)
    edges = vtk.vtkDiscreteFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, 1)
    edges.ComputeNormalsOff()
    edges.ComputeGradientsOff()
    last: vtk.vtkAlgorithm = edges
    if smoothing > 0:
        smooth = vtk.vtkWindowedSincPolyDataFilter()
        smooth.SetInputConnection(last.GetOutputPort())
        smooth.SetNumberOfIterations(int(20 + smoothing * 40))
        smooth.SetPassBand(10.0 ** (-4.0 * smoothing))
        smooth.BoundarySmoothingOff()
        smooth.FeatureEdgeSmoothingOff()
        smooth.NonManifoldSmoothingOn()
        smooth.NormalizeCoordinatesOn()
        last = smooth
    to_world = np.diag([step, step, step, 1.0])
    to_world[:3, 3] = -step
    place = vtk.vtkTransform()
    place.SetMatrix(to_vtk(ijk_to_ras @ to_world))
    moved = vtk.vtkTransformPolyDataFilter()
    moved.SetTransform(place)
    moved.SetInputConnection(last.GetOutputPort())
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputConnection(moved.GetOutputPort())
    normals.ConsistencyOn()
    normals.SplittingOff()
    normals.Update()
    return normals.GetOutput()


class SurfaceRenderer:
    """The surfaces of all objects, and a camera."""

    def __init__(self) -> None:
        self.smoothing = 0.5
        self._surfaces: dict[str, Surface] = {}
        self._renderer = vtk.vtkRenderer()
        self._renderer.SetBackground(*BACKGROUND)
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.AddRenderer(self._renderer)
        self._is_framed = False

    def set_mask(self, name: str, mask: NDArray[np.uint8], ijk_to_ras: Matrix) -> None:
        """An object has this mask; an empty one has no surface."""
        if name not in self._surfaces:
            actor = vtk.vtkActor()
            actor.SetMapper(vtk.vtkPolyDataMapper())
            actor.GetMapper().ScalarVisibilityOff()
            self._renderer.AddActor(actor)
            self._surfaces[name] = Surface(mask, ijk_to_ras, actor)
        surface = self._surfaces[name]
        surface.mask, surface.ijk_to_ras = mask, ijk_to_ras
        self._make(surface)

    def set_style(self, name: str, colour: tuple[float, float, float], opacity: float) -> None:
        """How an object is shown; with opacity 0 it is not."""
        if name in self._surfaces:
            actor = self._surfaces[name].actor
            actor.GetProperty().SetColor(*colour)
            actor.GetProperty().SetOpacity(opacity)
            actor.SetVisibility(opacity > 0)

    def remove(self, name: str) -> None:
        """An object is gone."""
        if name in self._surfaces:
            self._renderer.RemoveActor(self._surfaces.pop(name).actor)

    def set_smoothing(self, smoothing: float) -> None:
        """All surfaces are made anew with another smoothing factor, 0 to 1."""
        self.smoothing = min(1.0, max(0.0, smoothing))
        for surface in self._surfaces.values():
            self._make(surface)

    def turn(self, right_deg: float, up_deg: float, zoom: float) -> None:
        """Moves the camera around the objects, and nearer for a zoom above 1."""
        camera = self._renderer.GetActiveCamera()
        camera.Azimuth(-right_deg)
        camera.Elevation(up_deg)
        camera.OrthogonalizeViewUp()
        camera.Dolly(min(4.0, max(0.25, zoom)))
        self._renderer.ResetCameraClippingRange()

    def frame(self) -> None:
        """Shows all objects, from the front."""
        camera = self._renderer.GetActiveCamera()
        camera.SetFocalPoint(0, 0, 0)
        camera.SetPosition(*ANTERIOR)
        camera.SetViewUp(0, 0, 1)
        self._renderer.ResetCamera()
        self._is_framed = any(surface.mask.size for surface in self._surfaces.values())

    def draw(self, width: int, height: int) -> NDArray[np.uint8]:
        """The picture (H, W, 3), its first row at the bottom."""
        if not self._is_framed:
            self.frame()
        self._window.SetSize(width, height)
        self._window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self._window)
        grab.SetInputBufferTypeToRGB()
        grab.ReadFrontBufferOff()
        grab.ShouldRerenderOff()
        grab.Update()
        return np.asarray(memoryview(grab.GetOutput().GetPointData().GetScalars())).reshape(height, width, 3).copy()

    def _make(self, surface: Surface) -> None:
        data = vtk.vtkPolyData()
        if surface.mask.any():
            data = make_surface(surface.mask, surface.ijk_to_ras, self.smoothing)
        surface.actor.GetMapper().SetInputData(data)


def serve(messages: BinaryIO, answers: BinaryIO) -> None:
    """Takes messages until there are no more."""
    renderer = SurfaceRenderer()
    while line := messages.readline():
        message = json.loads(line)
        kind = message["kind"]
        if kind == "mask":
            shape = tuple(message["shape"])
            mask = np.frombuffer(messages.read(int(np.prod(shape))), np.uint8).reshape(shape)
            renderer.set_mask(message["name"], mask, np.reshape(message["ijk_to_ras"], (4, 4)))
        elif kind == "style":
            renderer.set_style(message["name"], tuple(message["colour"]), message["opacity"])
        elif kind == "remove":
            renderer.remove(message["name"])
        elif kind == "smoothing":
            renderer.set_smoothing(message["smoothing"])
        elif kind == "turn":
            renderer.turn(message["right_deg"], message["up_deg"], message["zoom"])
        elif kind == "frame":
            renderer.frame()
        elif kind == "draw":
            answers.write(renderer.draw(message["width"], message["height"]).tobytes())
            answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
