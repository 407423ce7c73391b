"""Slicer's own slice views, drawn off screen: slice logic, displayable managers and interactor style, without Slicer's application.

What the browser shell shows and the tests look at. Drawing needs EGL and crashes where there is none; look before.
"""

from collections.abc import Callable

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from NeuroSAM2Lib.headless.application import HeadlessApplication
from NeuroSAM2Lib.headless.segment_overlay import SegmentOverlay
from NeuroSAM2Lib.scene.arrays import Matrix, to_matrix
from NeuroSAM2Lib.scene.observer import SceneObserver

ORIENTATIONS = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}
"""The views of Slicer's usual layout."""
MANAGERS = (
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLScalarBarDisplayableManager",
)
"""The last one holds the mouse's window and level."""
SEGMENTS = "vtkMRMLSegmentationsDisplayableManager2D"
"""Not needed where a `SegmentOverlay` draws the segments."""
ROUNDING_MM = 1e-3
IDLE = ("vtkMRMLSliceIntersectionRepresentation2D", "vtkMRMLRubberBandWidgetRepresentation")
"""Draw nothing while no button of the mouse is pressed and the other slices are not shown."""


class SliceView:
    """One view.

    Args:
        app: Has the scene.
        name: Of the view, such as Red.
        orientation: Axial, Coronal or Sagittal.
        size: Width and height in pixels.
        overlay: Draws the segments; Slicer's displayable manager does if None.
    """

    def __init__(
        self,
        app: HeadlessApplication,
        name: str,
        orientation: str,
        size: tuple[int, int] = (320, 320),
        overlay: SegmentOverlay | None = None,
    ) -> None:
        self._overlay = overlay
        self._is_pressed = False
        """A button of the mouse."""
        self.renderer = vtk.vtkRenderer()
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
        factory = self._factory = slicer.vtkMRMLDisplayableManagerFactory()
        factory.SetMRMLApplicationLogic(app.logic)
        for manager in MANAGERS:
            if overlay is None or manager != SEGMENTS:
                factory.RegisterDisplayableManager(manager)
        self.managers = slicer.vtkMRMLDisplayableManagerGroup()
        self.managers.SetRenderer(self.renderer)
        self.managers.Initialize(factory, self.renderer)
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(app.logic)
        app.logic.GetSliceLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(app.scene)
        self.style = slicer.vtkMRMLSliceViewInteractorStyle()
        self.style.SetSliceLogic(self.logic)
        self.style.SetDisplayableManagers(self.managers)
        self.node = self.logic.AddSliceNode(name)
        self.node.SetOrientation(orientation)
        self.node.SetMappedInLayout(1)
        self.managers.SetMRMLDisplayableNode(self.node)
        self.style.SetInteractor(self.interactor)
        self.mapper = vtk.vtkImageMapper()
        self.mapper.SetColorWindow(255)
        self.mapper.SetColorLevel(127.5)
        self.picture = vtk.vtkActor2D()
        self.picture.SetMapper(self.mapper)
        self.picture.GetProperty().SetDisplayLocationToBackground()
        if overlay is None:
            self.renderer.AddViewProp(self.picture)
        else:  # the image is no business of VTK's, which would take longer to draw it than all else together
            self.renderer.SetBackgroundAlpha(0.0)
        self.resize(*size)
        self._watch = SceneObserver()
        self._on_change: Callable[[], None] = lambda: None

    def resize(self, width: int, height: int) -> None:
        """So many pixels from now on; what is shown stays in the middle."""
        self.size, self._has_rendered = (width, height), False
        self.window.SetSize(width, height)
        self.logic.ResizeSliceNode(width, height)

    def watch(self, on_change: Callable[[], None]) -> None:
        """Calls a function whenever the picture may have become out of date; often several times in a row."""
        self._on_change = on_change
        self._watch.on(self.managers, vtk.vtkCommand.UpdateEvent, self._notice)
        self._watch.on(self.logic, vtk.vtkCommand.ModifiedEvent, self._notice)

    def show(self, volume_node: slicer.vtkMRMLScalarVolumeNode, ras: Matrix | None = None) -> None:
        """The volume, whole, through a world position, (3,) in mm; through its middle if None."""
        self.logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume_node.GetID())
        self.logic.FitSliceToBackground()
        if ras is not None:
            self.node.JumpSliceByOffsetting(*map(float, ras))

    def fit(self) -> None:
        """The whole image again, on the slice that is shown."""
        offset = self.node.GetSliceOffset()
        self.logic.FitSliceToBackground()
        self.node.SetSliceOffset(offset)

    def look_like(self, other: "SliceView") -> None:
        """The same slice as another view, the same place in the middle, as large."""
        was_modifying = self.node.StartModify()
        self.node.GetSliceToRAS().DeepCopy(other.node.GetSliceToRAS())
        width, height, depth = other.node.GetFieldOfView()
        self.node.SetFieldOfView(width * self.size[0] / other.size[0], height * self.size[1] / other.size[1], depth)
        self.node.SetXYZOrigin(*other.node.GetXYZOrigin())
        self.node.UpdateMatrices()
        self.node.EndModify(was_modifying)

    def draw(self) -> NDArray[np.uint8]:
        """The picture (H, W, 3), its first row at the bottom."""
        connection = self.logic.GetImageDataConnection()
        if self._overlay is None:
            self.mapper.SetInputConnection(connection)
            self.picture.SetVisibility(bool(connection))
            self.window.Render()
            return self._pixels()[..., :3].copy()
        width, height = self.size
        picture = np.zeros((height, width, 3), np.uint8) if connection is None else _image_of(connection)
        self._overlay.draw(picture, self.node)
        elsewhere = self._markups_elsewhere()
        if self._has_rendered and not self._draws_more_than(elsewhere):
            return picture
        for prop in elsewhere:
            prop.VisibilityOff()
        self.window.Render()
        for prop in elsewhere:
            prop.VisibilityOn()
        self._has_rendered = True
        lay_over(picture, self._pixels())
        return picture

    def _markups_elsewhere(self) -> list[vtk.vtkProp]:
        """What stands for Markups that lie on other slices: VTK takes as long to find that out for each as to draw it."""
        slice_to_ras, half_thickness = to_matrix(self.node.GetSliceToRAS()), self.node.GetFieldOfView()[2] / 2
        here = float(slice_to_ras[:3, 2] @ slice_to_ras[:3, 3])
        x, y, z = slice_to_ras[:3, 2].tolist()
        elsewhere, bounds = [], [0.0] * 6
        for prop in self.renderer.GetViewProps():
            node = prop.GetMarkupsNode() if hasattr(prop, "GetMarkupsNode") else None
            if node is None or not prop.GetVisibility():
                continue
            node.GetRASBounds(bounds)
            left, right, back, front, bottom, top = bounds
            middle = (x * (left + right) + y * (back + front) + z * (bottom + top)) / 2
            half = (abs(x) * (right - left) + abs(y) * (front - back) + abs(z) * (top - bottom)) / 2
            reach = ROUNDING_MM + (0.0 if node.IsA("vtkMRMLMarkupsROINode") else half_thickness)  # as Slicer shows them
            is_projected = any(
                node.GetNthDisplayNode(n).GetSliceProjection() for n in range(node.GetNumberOfDisplayNodes())
            )
            is_there = node.GetNumberOfControlPoints() and abs(middle - here) <= half + reach
            if not is_there and not is_projected:
                elsewhere.append(prop)
        return elsewhere

    def _draws_more_than(self, props: list[vtk.vtkProp]) -> bool:
        """Whether VTK has anything to draw but these."""
        found = self.node.GetScene().GetNodesByClass("vtkMRMLSliceDisplayNode")
        displays = (found.GetItemAsObject(number) for number in range(found.GetNumberOfItems()))
        idle = () if self._is_pressed or any(one.GetIntersectingSlicesVisibility() for one in displays) else IDLE
        return any(
            prop.GetVisibility() and prop not in props and prop.GetClassName() not in idle
            for prop in self.renderer.GetViewProps()
        )

    def _pixels(self) -> NDArray[np.uint8]:
        """What VTK has drawn, (H, W, 4), its first row at the bottom."""
        width, height = self.size
        pixels = vtk.vtkUnsignedCharArray()
        self.window.GetRGBACharPixelData(0, 0, width - 1, height - 1, 0, pixels)
        return np.asarray(memoryview(pixels)).reshape(height, width, 4)

    def to_ras(self, x: float, y: float) -> Matrix:
        """The world position, (3,) in mm, of a screen pixel; y goes up."""
        return np.asarray((to_matrix(self.node.GetXYToRAS()) @ [x, y, 0, 1])[:3])

    def to_xy(self, ras: Matrix) -> tuple[int, int]:
        """The screen pixel of a world position."""
        x, y, _, _ = np.linalg.inv(to_matrix(self.node.GetXYToRAS())) @ [*ras, 1]
        return round(x), round(y)

    def place_point(self, node: slicer.vtkMRMLMarkupsNode, x: float, y: float) -> None:
        """Adds a control point to a list where the view is clicked, as Slicer's place mode does.

        Args:
            node: The list.
            x: Screen pixel.
            y: Going up.
        """
        crosshair = self.node.GetScene().GetFirstNodeByClass("vtkMRMLCrosshairNode")
        crosshair.SetCursorPositionXYZ([x, y, 0.0], self.node)
        node.AddControlPointWorld(*map(float, self.to_ras(x, y)))
        crosshair.SetCursorPositionInvalid()

    def mouse(self, event: str, x: int, y: int, *, has_control: bool = False, has_shift: bool = False) -> None:
        """One event of the mouse, by VTK's name, at a screen pixel."""
        self.interactor.SetEventInformation(int(x), int(y), int(has_control), int(has_shift), chr(0), 0, None)
        self._is_pressed = event.endswith("PressEvent") or (self._is_pressed and not event.endswith("ReleaseEvent"))
        self.interactor.InvokeEvent(event)

    def _notice(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        self._on_change()


def _image_of(connection: vtk.vtkAlgorithmOutput) -> NDArray[np.uint8]:
    """A copy of an image in colours, (H, W, 3), its first row at the bottom; black where it is transparent, which is beside the volume."""
    algorithm = connection.GetProducer()
    algorithm.Update()
    image = algorithm.GetOutputDataObject(connection.GetIndex())
    width, height, _ = image.GetDimensions()
    pixels = np.asarray(memoryview(image.GetPointData().GetScalars())).reshape(height, width, -1)
    if pixels.shape[2] < 4:
        return pixels[..., :3].copy()
    colours = np.empty((height, width, 3), np.uint8)
    for channel in range(3):  # several times faster than all at once; opacity is 0 or 255
        np.bitwise_and(pixels[..., channel], pixels[..., 3], out=colours[..., channel])
    return colours


def lay_over(picture: NDArray[np.uint8], drawn: NDArray[np.uint8]) -> None:
    """Lays what was drawn on nothing over a picture.

    Args:
        picture: (H, W, 3), changed in place.
        drawn: (H, W, 4): colours that are multiplied by their opacity, and the opacity.
    """
    where = np.flatnonzero(drawn[..., 3])  # a few outlines and points: far fewer pixels than the box around them
    kept = 255 - drawn.take(4 * where + 3).astype(np.uint16)
    for channel in range(3):
        below, over = picture.take(3 * where + channel), drawn.take(4 * where + channel)
        picture.put(3 * where + channel, np.minimum(over + (below * kept + 127) // 255, 255))
