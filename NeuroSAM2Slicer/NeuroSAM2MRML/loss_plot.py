"""The losses of a run as a MRML table, a plot series and a chart, so that Slicer's plot views show them."""

from collections.abc import Sequence

import slicer
import vtk

NAME = "NeuroSAM2 training"


class LossPlot:
    """The nodes of one scene; made when they are first needed, found again by name."""

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = scene
        self._shown: tuple[tuple[int, float], ...] = ()

    def show(self, losses: Sequence[tuple[int, float]]) -> slicer.vtkMRMLPlotChartNode:
        """Brings the nodes to these steps and losses, and returns the chart."""
        table = self._node("vtkMRMLTableNode", f"{NAME} losses")
        series = self._node("vtkMRMLPlotSeriesNode", "loss")
        chart = self._node("vtkMRMLPlotChartNode", NAME)
        if table.GetNumberOfColumns() == 0:
            for title in ("step", "loss"):
                column = vtk.vtkDoubleArray()
                column.SetName(title)
                table.AddColumn(column)
            series.SetPlotType(series.PlotTypeScatter)
            series.SetMarkerStyle(series.MarkerStyleNone)
            series.SetAndObserveTableNodeID(table.GetID())
            series.SetXColumnName("step")
            series.SetYColumnName("loss")
            chart.AddAndObservePlotSeriesNodeID(series.GetID())
            chart.SetTitle(NAME)
            chart.SetXAxisTitle("step")
            chart.SetYAxisTitle("loss")
            self._shown = ()
        if tuple(losses) != self._shown:
            self._shown = tuple(losses)
            self._fill(table.GetTable())
            table.Modified()
        return chart

    def _fill(self, table: vtk.vtkTable) -> None:
        table.SetNumberOfRows(len(self._shown))
        for row, (step, loss) in enumerate(self._shown):
            table.SetValue(row, 0, vtk.vtkVariant(float(step)))
            table.SetValue(row, 1, vtk.vtkVariant(loss))

    def _node(self, kind: str, name: str) -> slicer.vtkMRMLNode:
        node = self.scene.GetFirstNode(name, kind)
        return node if node is not None else self.scene.AddNewNodeByClass(kind, name)
