"""The three slice views of Slicer's usual layout, under the names that the panels call them by.

The names are those of qSlicerLayoutManager, qMRMLSliceWidget and qMRMLSliceView, as far as the panels use them.
"""

from NeuroSAM2Lib.headless.views import ORIENTATIONS

from Testing.Support.slice_views import SliceView


class SliceWidget:
    """One view and what is around it."""

    def __init__(self, view):
        self.view = view

    def sliceView(self):
        return self

    def interactor(self):
        return self.view.interactor

    def sliceLogic(self):
        return self.view.logic

    def mrmlSliceNode(self):
        return self.view.node


class LayoutManager:
    """The layout."""

    def __init__(self, mrml):
        self.mrml = mrml
        self.widgets = {name: SliceWidget(SliceView(mrml, name, way)) for name, way in ORIENTATIONS.items()}

    def add(self, name, orientation):
        """Another view appears; returns its hands."""
        self.widgets[name] = SliceWidget(SliceView(self.mrml, name, orientation))
        return self.widgets[name].view

    def remove(self, name):
        view = self.widgets.pop(name).view
        self.mrml.logic.GetSliceLogics().RemoveItem(view.logic)
        self.mrml.scene.RemoveNode(view.node)

    def mrmlSliceLogics(self):
        return self.mrml.logic.GetSliceLogics()

    def resetSliceViews(self):
        for widget in self.widgets.values():
            widget.view.logic.FitSliceToAll()

    def sliceViewNames(self):
        return tuple(self.widgets)

    def sliceWidget(self, name):
        return self.widgets.get(name)
