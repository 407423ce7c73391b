"""Slicer's slice views, as the controllers know them: a node and an interactor."""

from collections.abc import Iterator

import slicer
import vtk


def slice_views() -> Iterator[tuple[slicer.vtkMRMLSliceNode, vtk.vtkRenderWindowInteractor]]:
    """Those of the layout; none without a main window."""
    manager = slicer.app.layoutManager()
    if manager is None:
        return
    for name in manager.sliceViewNames():
        widget = manager.sliceWidget(name)
        yield widget.mrmlSliceNode(), widget.sliceView().interactor()
