"""An effect of the Segment Editor in the slice views: while one is active, the mouse is its own.

As in qMRMLSegmentEditorWidget, observers of priority 1 hear of the mouse before the view's own tools and keep it from them.
"""

import numpy as np
import slicer
from NeuroSAM2Lib.scene.volume_nodes import read_volume

EVENTS = ("LeftButtonPressEvent", "MouseMoveEvent", "LeftButtonReleaseEvent")
PRIORITY = 1.0
RADIUS = 1
"""Of the brush, in voxels."""


class PaintEffect:
    """Paint: a brush for the selected segment."""

    def __init__(self, editor):
        self.editor, self.tags, self.is_painting = editor, [], False

    def observe(self, widgets):
        for widget in widgets:
            for event in EVENTS:
                self._observe(widget.view, event)

    def forget(self):
        for interactor, tag in self.tags:
            interactor.RemoveObserver(tag)
        self.tags, self.is_painting = [], False

    def _observe(self, view, event):
        def hear(interactor, _event):
            if self._paints(view, event):
                interactor.GetCommand(tag).SetAbortFlag(1)

        tag = view.interactor.AddObserver(event, hear, PRIORITY)
        self.tags.append((view.interactor, tag))

    def _paints(self, view, event):
        if event == "LeftButtonPressEvent":
            self.editor.saveStateForUndo()
            self.is_painting = True
        if not self.is_painting:
            return False
        self._brush(view.to_ras(*view.interactor.GetEventPosition()))
        self.is_painting = event != "LeftButtonReleaseEvent"
        return True

    def _brush(self, ras):
        node = self.editor.mrmlSegmentEditorNode()
        segmentation, segment_id, volume_node = (
            node.GetSegmentationNode(),
            node.GetSelectedSegmentID(),
            node.GetSourceVolumeNode(),
        )
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, volume_node).copy()
        i, j, k = np.round(read_volume(volume_node).to_ijk(ras)).astype(int)
        voxels[k, j - RADIUS : j + RADIUS + 1, i - RADIUS : i + RADIUS + 1] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, segmentation, segment_id, volume_node)
