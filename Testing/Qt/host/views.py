"""Slicer's slice views, drawn off screen: real slice logic, real displayable managers, and a mouse that tests move.

The names are those of qSlicerLayoutManager, qMRMLSliceWidget and ctkVTKRenderView, as far as the panels use them.
"""

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

MANAGERS = (
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
)
ORIENTATIONS = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}


class SliceView:
    """One slice view."""

    def __init__(self, application_logic, scene, name, orientation, size=(300, 300)):
        self.renderer, self.window = vtk.vtkRenderer(), vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.SetSize(*size)
        self.window.AddRenderer(self.renderer)
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self.events = vtk.vtkRenderWindowInteractor()
        self.events.SetRenderWindow(self.window)
        self.managers = self._managers(application_logic)
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(application_logic)
        application_logic.GetSliceLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(scene)
        self.style = slicer.vtkMRMLSliceViewInteractorStyle()
        self.style.SetSliceLogic(self.logic)
        self.style.SetDisplayableManagers(self.managers)
        self.node = self.logic.AddSliceNode(name)
        self.node.SetOrientation(orientation)
        self.node.SetMappedInLayout(1)
        self.managers.SetMRMLDisplayableNode(self.node)
        self.style.SetInteractor(self.events)
        self._mapper, self._picture = vtk.vtkImageMapper(), vtk.vtkActor2D()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._picture.SetMapper(self._mapper)
        self._picture.GetProperty().SetDisplayLocationToBackground()
        self.renderer.AddViewProp(self._picture)
        self.logic.ResizeSliceNode(*size)

    def fit(self):
        """Shows the whole background volume."""
        self.logic.ResizeSliceNode(*self.window.GetSize())
        self.logic.FitSliceToBackground()
        self.logic.SnapSliceOffsetToIJK()

    def pixels(self):
        """What is drawn, (H, W, 3) uint8, top row first."""
        source = self.logic.GetImageDataConnection()
        self._mapper.SetInputConnection(source)
        self._picture.SetVisibility(source is not None)
        self.window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.ReadFrontBufferOff()
        grab.Update()
        image = grab.GetOutput()
        width, height, _ = image.GetDimensions()
        flat = vtk_to_numpy(image.GetPointData().GetScalars())
        return np.ascontiguousarray(flat.reshape(height, width, 3)[::-1])

    def place_of(self, ras):
        """Where a world position in mm is drawn, in whole pixels from the lower left."""
        to_xy = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), to_xy)
        return tuple(round(one) for one in to_xy.MultiplyPoint([*ras, 1.0])[:2])

    def move_to(self, x, y):
        """The mouse moves there."""
        self._mouse("MouseMoveEvent", x, y)

    def click(self, x, y):
        """The mouse comes in, moves there and clicks."""
        for event in ("EnterEvent", "MouseMoveEvent", "LeftButtonPressEvent", "LeftButtonReleaseEvent"):
            self._mouse(event, x, y)

    def sliceView(self):
        return self

    def sliceLogic(self):
        return self.logic

    def mrmlSliceNode(self):
        return self.node

    def _mouse(self, event, x, y):
        self.events.SetEventInformation(int(x), int(y), 0, 0, chr(0), 0, None)
        self.events.InvokeEvent(event)

    def _managers(self, application_logic):
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(application_logic)
        for name in MANAGERS:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        group = slicer.vtkMRMLDisplayableManagerGroup()
        group.SetRenderer(self.renderer)
        group.Initialize(factory, self.renderer)
        return group


class LayoutManager:
    """The three slice views of Slicer's usual layout."""

    def __init__(self, application_logic, scene):
        self.views = {name: SliceView(application_logic, scene, name, way) for name, way in ORIENTATIONS.items()}

    def sliceViewNames(self):
        return tuple(self.views)

    def sliceWidget(self, name):
        return self.views.get(name)

    def resetSliceViews(self):
        for view in self.views.values():
            view.fit()
