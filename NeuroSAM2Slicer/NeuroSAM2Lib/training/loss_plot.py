"""The curves of a run as MRML tables, plot series and a chart, so that Slicer's plot views show them."""

from collections.abc import Sequence
from dataclasses import dataclass

import slicer
import vtk

from NeuroSAM2Lib.i18n import tr as _

NAME = "NeuroSAM2 training"
Curve = Sequence[tuple[int, float]]
"""Values by step."""


@dataclass(frozen=True, slots=True)
class Line:
    """A curve in the chart."""

    title: str
    colour: tuple[float, float, float]


LOSS = Line(_("loss"), (0.12, 0.23, 0.37))
DICE = Line(_("Dice on checked cases"), (0.94, 0.59, 0.12))


class LossPlot:
    """The nodes of one scene; made when they are first needed, found again by name.

    Args:
        scene: The scene.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = scene

    def show(self, losses: Curve, dices: Curve = ()) -> slicer.vtkMRMLPlotChartNode:
        """Brings the nodes to these values, and returns the chart.

        Args:
            losses: Of the steps.
            dices: Of the cases that are checked while training, where there are some.
        """
        chart = self._node("vtkMRMLPlotChartNode", NAME)
        chart.SetTitle(NAME)
        chart.SetXAxisTitle("step")
        for line, curve in ((LOSS, losses), (DICE, dices)):
            if curve:
                self._draw(chart, line, curve)
        return chart

    def _draw(self, chart: slicer.vtkMRMLPlotChartNode, line: Line, curve: Curve) -> None:
        table = self._node("vtkMRMLTableNode", f"{NAME} {line.title}")
        series = self._node("vtkMRMLPlotSeriesNode", line.title)
        if table.GetNumberOfColumns() == 0:
            for title in ("step", line.title):
                column = vtk.vtkDoubleArray()
                column.SetName(title)
                table.AddColumn(column)
            series.SetPlotType(series.PlotTypeScatter)
            series.SetColor(*line.colour)
            series.SetAndObserveTableNodeID(table.GetID())
            series.SetXColumnName("step")
            series.SetYColumnName(line.title)
        if not chart.HasPlotSeriesNodeID(series.GetID()):
            chart.AddAndObservePlotSeriesNodeID(series.GetID())
        is_line = len(curve) > 1  # VTK cannot draw a line of one point, and says so at every redraw
        series.SetLineStyle(series.LineStyleSolid if is_line else series.LineStyleNone)
        series.SetMarkerStyle(series.MarkerStyleNone if is_line else series.MarkerStyleCircle)
        cells = table.GetTable()
        cells.SetNumberOfRows(len(curve))
        for row, (step, value) in enumerate(curve):
            cells.SetValue(row, 0, vtk.vtkVariant(float(step)))
            cells.SetValue(row, 1, vtk.vtkVariant(value))
        table.Modified()

    def _node(self, kind: str, name: str) -> slicer.vtkMRMLNode:
        node = self.scene.GetFirstNode(name, kind)
        return node if node is not None else self.scene.AddNewNodeByClass(kind, name)
