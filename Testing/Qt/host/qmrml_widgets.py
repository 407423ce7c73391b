"""Stand-ins for Slicer's widgets over the real scene; see `stand_ins`."""

import slicer
from PySide6.QtCore import Property, Signal

from Testing.Qt.host import dialect
from Testing.Qt.host.effects import PaintEffect
from Testing.Qt.host.stored import stored

qt = dialect.install()


class qMRMLWidget(qt.QWidget):
    SIGNATURES = ("mrmlSceneChanged(vtkMRMLScene*)",)
    mrmlSceneChanged = Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self.__dict__["_scene"] = None

    def setMRMLScene(self, scene):
        self.__dict__["_scene"] = scene
        _scene_given(self)
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self):
        return self.__dict__["_scene"]


def _scene_given(widget):
    if isinstance(widget, qMRMLNodeComboBox):
        widget.__dict__["_state"].watch(widget.mrmlScene())


class _NodeList:
    """The nodes that a node box offers, and the chosen one."""

    def __init__(self, box, combo):
        self.box, self.combo = box, combo
        self.ids, self.chosen, self.tags = [], None, []

    def watch(self, scene):
        for subject, tag in self.tags:
            subject.RemoveObserver(tag)
        names = ("NodeAddedEvent", "NodeRemovedEvent", "EndCloseEvent", "EndImportEvent")
        events = [] if scene is None else [getattr(scene, name) for name in names]
        self.tags = [(scene, scene.AddObserver(event, lambda *_: self.refresh())) for event in events]
        self.refresh()

    def nodes(self):
        scene = self.box.mrmlScene()
        if scene is None:
            return []
        return [node for node in map(scene.GetNthNode, range(scene.GetNumberOfNodes())) if self._is_offered(node)]

    def refresh(self):
        nodes = self.nodes()
        self.combo.blockSignals(True)
        self.combo.clear()
        self.ids = [None] * self.box.noneEnabled + [node.GetID() for node in nodes]
        self.combo.addItems([self.box.noneDisplay] * self.box.noneEnabled + [node.GetName() for node in nodes])
        self.combo.blockSignals(False)
        self.choose(self.chosen if self.chosen in self.ids else self.ids[0] if self.ids else None)

    def choose(self, node_id):
        if node_id in self.ids:
            self.combo.blockSignals(True)
            self.combo.setCurrentIndex(self.ids.index(node_id))
            self.combo.blockSignals(False)
        if node_id != self.chosen:
            self.chosen = node_id
            self.box.currentNodeChanged.emit(self.node())
            self.box.currentNodeIDChanged.emit(node_id or "")

    def node(self):
        scene = self.box.mrmlScene()
        return None if scene is None or self.chosen is None else scene.GetNodeByID(self.chosen)

    def _is_offered(self, node):
        if node.GetHideFromEditors() and not self.box.showHidden:
            return False
        if any(node.IsA(kind) for kind in self.box.hideChildNodeTypes):
            return False
        is_any = self.box.showChildNodeTypes
        return any(node.IsA(kind) and (is_any or node.GetClassName() == kind) for kind in self.box.nodeTypes)


class qMRMLNodeComboBox(qt.QWidget):
    SIGNATURES = ("currentNodeChanged(vtkMRMLNode*)", "nodeAddedByUserAction(vtkMRMLNode*)")
    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
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
        combo.connect("currentIndexChanged(int)", lambda index: state.choose(state.ids[index] if index >= 0 else None))

    def setMRMLScene(self, scene):
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
        state["_node"], state["_watched"] = None, []
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

    def setMRMLSegmentEditorNode(self, node):
        self.removeViewObservations()
        self.__dict__["_node"], self.__dict__["_effect"] = node, None
        _watch_effect(self)

    def mrmlSegmentEditorNode(self):
        return self.__dict__["_node"]

    def setSegmentationNode(self, node):
        if self.mrmlSegmentEditorNode() is None:
            return
        self.mrmlSegmentEditorNode().SetAndObserveSegmentationNode(node)
        self.__dict__["_history"].SetSegmentation(None if node is None else node.GetSegmentation())
        self.__dict__["_history"].RemoveAllStates()
        _show_history(self)

    def segmentationNode(self):
        node = self.mrmlSegmentEditorNode()
        return None if node is None else node.GetSegmentationNode()

    def setSourceVolumeNode(self, node):
        if self.mrmlSegmentEditorNode() is not None:
            self.mrmlSegmentEditorNode().SetAndObserveSourceVolumeNode(node)

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
