"""Stand-ins for Slicer's widgets over the real scene; see `stand_ins`."""

import slicer
import vtk
from PySide6.QtCore import Property, Signal

from Testing.Qt.host import pythonqt
from Testing.Qt.host.effects import PaintEffect
from Testing.Qt.host.log import log_error
from Testing.Qt.host.stored import stored

qt = pythonqt.install()


class qMRMLWidget(qt.QWidget):
    SIGNATURES = ("mrmlSceneChanged(vtkMRMLScene*)",)
    mrmlSceneChanged = Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self.__dict__["_scene"] = None

    def setMRMLScene(self, scene):
        self.__dict__["_scene"] = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self):
        return self.__dict__["_scene"]


class _NodeList:
    """The nodes that a node box offers, and the chosen one.

    What it says follows the text that is shown, as the real one's does: another node of the same name is no news, a new name is.
    """

    def __init__(self, box, combo):
        self.box, self.combo = box, combo
        self.ids, self.chosen, self.text, self.tags, self.name_tag = [], None, "", [], None

    def watch(self, scene):
        for subject, tag in self.tags:
            subject.RemoveObserver(tag)
        names = ("EndCloseEvent", "EndImportEvent", "EndBatchProcessEvent")
        events = [] if scene is None else [getattr(scene, name) for name in names]
        self.tags = [(scene, scene.AddObserver(event, lambda *_: self.refresh())) for event in events]
        if scene is not None:
            self.tags.append((scene, observe_node(scene, scene.NodeAddedEvent, self.gain)))
            self.tags.append((scene, observe_node(scene, scene.NodeAboutToBeRemovedEvent, self.lose)))
        self.refresh()

    def gain(self, node):
        """Nodes of other kinds are no news, as in the real box, which takes them into its model one by one."""
        if self._is_offered(node):
            self.refresh()

    def nodes(self):
        scene = self.box.mrmlScene()
        if scene is None:
            return []
        return [node for node in map(scene.GetNthNode, range(scene.GetNumberOfNodes())) if self._is_offered(node)]

    def refresh(self):
        self._offer(self.nodes())
        self.choose(self.chosen if self.chosen in self.ids else self.ids[0] if self.ids else None)

    def lose(self, node):
        """A node is about to go; the real box falls on its neighbour."""
        if self.box.mrmlScene().IsClosing() or node.GetID() not in self.ids:
            return
        self.box.nodeAboutToBeRemoved.emit(node)
        place = self.ids.index(node.GetID())
        self._offer([one for one in self.nodes() if one is not node])
        if self.chosen == node.GetID():
            self.choose(self.ids[min(place, len(self.ids) - 1)] if self.ids else None)

    def choose(self, node_id):
        """What is not offered is none."""
        self.chosen = node_id if node_id in self.ids else None
        self._observe_name()
        is_listed = self.chosen in self.ids
        self.combo.blockSignals(True)
        self.combo.setCurrentIndex(self.ids.index(self.chosen) if is_listed else -1)
        self.combo.blockSignals(False)
        if self.combo.currentText != self.text:
            self.text = self.combo.currentText
            self.box.currentNodeChanged.emit(self.node())
            self.box.currentNodeIDChanged.emit(self.chosen or "")

    def _observe_name(self):
        if self.name_tag is not None:
            self.name_tag[0].RemoveObserver(self.name_tag[1])
        node = self.node()
        self.name_tag = None if node is None else (node, node.AddObserver("ModifiedEvent", lambda *_: self._rename()))

    def _rename(self):
        if self.node() is not None and self.node().GetName() != self.text:
            self.refresh()

    def pick(self, index):
        """A person chooses from the list: this is always said."""
        self.choose(self.ids[index])
        self.box.nodeActivated.emit(self.node())

    def node(self):
        scene = self.box.mrmlScene()
        return None if scene is None or self.chosen is None else scene.GetNodeByID(self.chosen)

    def _offer(self, nodes):
        self.combo.blockSignals(True)
        self.combo.clear()
        self.ids = [None] * self.box.noneEnabled + [node.GetID() for node in nodes]
        self.combo.addItems([self.box.noneDisplay] * self.box.noneEnabled + [node.GetName() for node in nodes])
        self.combo.blockSignals(False)

    def _is_offered(self, node):
        if node.GetHideFromEditors() and not self.box.showHidden:
            return False
        if any(node.IsA(kind) for kind in self.box.hideChildNodeTypes):
            return False
        is_any = self.box.showChildNodeTypes
        return any(node.IsA(kind) and (is_any or node.GetClassName() == kind) for kind in self.box.nodeTypes)


def observe_node(scene, event, act):
    def call(_scene, _event, node):
        act(node)

    call.CallDataType = vtk.VTK_OBJECT
    return scene.AddObserver(event, call)


class qMRMLNodeComboBox(qt.QWidget):
    SIGNATURES = (
        "currentNodeChanged(vtkMRMLNode*)",
        "nodeActivated(vtkMRMLNode*)",
        "nodeAboutToBeRemoved(vtkMRMLNode*)",
        "nodeAddedByUserAction(vtkMRMLNode*)",
    )
    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    nodeActivated = Signal(object)
    nodeAboutToBeRemoved = Signal(object)
    nodeAddedByUserAction = Signal(object)
    nodeTypes = stored("QStringList", "nodeTypes", [])
    hideChildNodeTypes = stored("QStringList", "hideChildNodeTypes", [])
    baseName = stored(str, "baseName", "")
    noneEnabled = stored(bool, "noneEnabled", False)
    addEnabled = stored(bool, "addEnabled", True)
    removeEnabled = stored(bool, "removeEnabled", True)
    renameEnabled = stored(bool, "renameEnabled", False)
    editEnabled = stored(bool, "editEnabled", False)
    showHidden = stored(bool, "showHidden", False)
    showChildNodeTypes = stored(bool, "showChildNodeTypes", True)
    selectNodeUponCreation = stored(bool, "selectNodeUponCreation", True)
    noneDisplay = stored(str, "noneDisplay", "None")

    def __init__(self, parent=None):
        super().__init__(parent)
        layout = qt.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        combo = qt.QComboBox()
        combo.setObjectName("ComboBox")
        layout.addWidget(combo)
        self.setFocusProxy(combo)
        state = self.__dict__["_state"] = _NodeList(self, combo)
        self.__dict__["_scene"] = None
        combo.connect("activated(int)", lambda index: state.pick(index))

    def setMRMLScene(self, scene):
        if scene is not self.__dict__["_scene"]:
            self.__dict__["_scene"] = scene
            self.__dict__["_state"].watch(scene)

    def mrmlScene(self):
        return self.__dict__["_scene"]

    def currentNode(self):
        return self.__dict__["_state"].node()

    def setCurrentNode(self, node):
        self.__dict__["_state"].choose(None if node is None else node.GetID())

    def setCurrentNodeID(self, node_id):
        self.__dict__["_state"].choose(node_id or None)

    def _node_id(self):
        return self.__dict__["_state"].chosen or ""

    currentNodeID = Property(str, _node_id, setCurrentNodeID)

    def nodeCount(self):
        return len(self.__dict__["_state"].nodes())

    def addNode(self, kind=""):
        scene = self.mrmlScene()
        node = scene.AddNewNodeByClass(kind or self.nodeTypes[0], scene.GenerateUniqueName(self.baseName or "Node"))
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUserAction.emit(node)
        return node


class qMRMLSegmentEditorWidget(qMRMLWidget):
    SIGNATURES = ("mrmlSceneChanged(vtkMRMLScene*)",)
    currentSegmentIDChanged = Signal(str)
    segmentationNodeSelectorVisible = stored(bool, "segmentationNodeSelectorVisible", True)
    sourceVolumeNodeSelectorVisible = stored(bool, "sourceVolumeNodeSelectorVisible", True)
    switchToSegmentationsButtonVisible = stored(bool, "switchToSegmentationsButtonVisible", True)

    def __init__(self, parent=None):
        super().__init__(parent)
        state = self.__dict__
        state["_node"], state["_tags"], state["_watched"] = None, [], []
        state["_segmentation"] = state["_source"] = None
        state["_is_batch"] = False
        state["_effect"], state["_effects"] = None, {"Paint": PaintEffect(self)}
        state["_history"] = slicer.vtkSegmentationHistory()
        layout = qt.QHBoxLayout(self)
        for name, text in (("UndoButton", "Undo"), ("RedoButton", "Redo")):
            button = qt.QToolButton()
            button.setObjectName(name)
            button.setText(text)
            button.setEnabled(False)
            layout.addWidget(button)
        self.findChild(qt.QToolButton, "UndoButton").connect("clicked()", self.undo)
        self.findChild(qt.QToolButton, "RedoButton").connect("clicked()", self.redo)
        state["_history"].AddObserver("ModifiedEvent", lambda *_: _show_history(self))

    def setMaximumNumberOfUndoStates(self, number):
        self.__dict__["_history"].SetMaximumNumberOfStates(number)

    def setMRMLScene(self, scene):
        if scene is self.mrmlScene():
            return
        state = self.__dict__
        for subject, tag in state.pop("_scene_tags", ()):
            subject.RemoveObserver(tag)
        super().setMRMLScene(scene)
        if scene is not None:
            acts = {scene.StartBatchProcessEvent: _begin_batch, scene.EndBatchProcessEvent: _end_batch}
            state["_scene_tags"] = [
                (scene, scene.AddObserver(event, lambda *_, act=act: act(self))) for event, act in acts.items()
            ]

    def setMRMLSegmentEditorNode(self, node):
        state = self.__dict__
        if node is state["_node"]:
            return
        self.removeViewObservations()
        for subject, tag in state["_tags"]:
            subject.RemoveObserver(tag)
        state["_node"], state["_effect"] = node, None
        state["_tags"] = [] if node is None else [(node, node.AddObserver("ModifiedEvent", lambda *_: _follow(self)))]
        _watch_effect(self)
        _follow(self)

    def mrmlSegmentEditorNode(self):
        return self.__dict__["_node"]

    def setSegmentationNode(self, node):
        settings = self.mrmlSegmentEditorNode()
        if settings is None:
            if node is not None:
                log_error("setSegmentationNode failed: need to set segment editor node first")
        elif settings.GetSegmentationNode() is not node:
            settings.SetAndObserveSegmentationNode(node)

    def segmentationNode(self):
        """Of the hidden selector."""
        return self.__dict__["_segmentation"]

    def setSourceVolumeNode(self, node):
        if self.mrmlSegmentEditorNode() is None or self.segmentationNode() is None:
            if node is not None:
                log_error("setSourceVolumeNode failed: need to set segment editor and segmentation nodes first")
        elif self.mrmlSegmentEditorNode().GetSourceVolumeNode() is not node:
            self.mrmlSegmentEditorNode().SetAndObserveSourceVolumeNode(node)

    def sourceVolumeNode(self):
        node = self.mrmlSegmentEditorNode()
        return None if node is None else node.GetSourceVolumeNode()

    def setCurrentSegmentID(self, segment_id):
        if self.currentSegmentID() != segment_id:
            self.mrmlSegmentEditorNode().SetSelectedSegmentID(segment_id)
            self.currentSegmentIDChanged.emit(segment_id)

    def currentSegmentID(self):
        node = self.mrmlSegmentEditorNode()
        return "" if node is None else node.GetSelectedSegmentID() or ""

    def saveStateForUndo(self):
        self.__dict__["_history"].SaveState()

    def undo(self):
        self.__dict__["_history"].RestorePreviousState()

    def redo(self):
        self.__dict__["_history"].RestoreNextState()

    def setActiveEffectByName(self, name):
        self.mrmlSegmentEditorNode().SetActiveEffectName(name)

    def activeEffect(self):
        return self.__dict__["_effect"]

    def setupViewObservations(self):
        self.removeViewObservations()
        if self.activeEffect() is not None:
            self.activeEffect().observe(slicer.app.layoutManager().widgets.values())

    def removeViewObservations(self):
        for effect in self.__dict__["_effects"].values():
            effect.forget()

    def installKeyboardShortcuts(self, parent=None):
        self.__dict__["_shortcuts"] = True

    def uninstallKeyboardShortcuts(self):
        self.__dict__["_shortcuts"] = False


def _follow(widget):
    """The hidden selectors follow the settings, but not while a batch goes on."""
    state, settings = widget.__dict__, widget.mrmlSegmentEditorNode()
    if state["_is_batch"] or settings is None or widget.mrmlScene() is None:
        return
    segmentation = settings.GetSegmentationNode()
    if segmentation is not state["_segmentation"]:
        state["_segmentation"] = segmentation
        state["_history"].SetSegmentation(None if segmentation is None else segmentation.GetSegmentation())
        state["_history"].RemoveAllStates()
        _show_history(widget)
        if segmentation is not None:
            role = segmentation.GetReferenceImageGeometryReferenceRole()
            settings.SetAndObserveSourceVolumeNode(segmentation.GetNodeReference(role))
    if segmentation is not None:
        state["_source"] = settings.GetSourceVolumeNode()


def _begin_batch(widget):
    widget.__dict__["_is_batch"] = True


def _end_batch(widget):
    """What the hidden selectors show is written back, however little they have followed."""
    state, scene = widget.__dict__, widget.mrmlScene()
    state["_is_batch"] = False
    for name in ("_segmentation", "_source"):
        if state[name] is not None and not scene.IsNodePresent(state[name]):
            state[name] = None
    settings = widget.mrmlSegmentEditorNode()
    if settings is not None:
        segmentation, source = state["_segmentation"], state["_source"]
        settings.SetAndObserveSegmentationNode(segmentation)
        settings.SetAndObserveSourceVolumeNode(source)
        if segmentation is None:
            state["_history"].SetSegmentation(None)
            state["_history"].RemoveAllStates()
            _show_history(widget)


def _watch_effect(widget):
    """The active effect is what the node says; it and other modes of the mouse than the usual one put each other down."""
    for subject, tag in widget.__dict__["_watched"]:
        subject.RemoveObserver(tag)
    node, mouse = widget.mrmlSegmentEditorNode(), slicer.app.applicationLogic().GetInteractionNode()
    watched = () if node is None else ((node, _follow_node), (mouse, _follow_mouse))
    widget.__dict__["_watched"] = [
        (one, one.AddObserver("ModifiedEvent", lambda *_, follow=follow: follow(widget, node, mouse)))
        for one, follow in watched
    ]


def _follow_node(widget, node, mouse):
    effect = widget.__dict__["_effects"].get(node.GetActiveEffectName())
    if effect is widget.activeEffect():
        return
    widget.__dict__["_effect"] = effect
    widget.removeViewObservations()
    if effect is not None:
        widget.setupViewObservations()
        mouse.SetCurrentInteractionMode(mouse.ViewTransform)


def _follow_mouse(widget, node, mouse):
    if widget.activeEffect() is not None and mouse.GetCurrentInteractionMode() != mouse.ViewTransform:
        node.SetActiveEffectName("")


def _show_history(widget):
    history = widget.__dict__["_history"]
    widget.findChild(qt.QToolButton, "UndoButton").setEnabled(bool(history.IsRestorePreviousStateAvailable()))
    widget.findChild(qt.QToolButton, "RedoButton").setEnabled(bool(history.IsRestoreNextStateAvailable()))
