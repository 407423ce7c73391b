"""Stand-ins for the qMRML and ctk widgets that the panels use, over the real scene. `widget_table` says what they may offer.

Their state is kept in `__dict__`, as a C++ object would keep it: nothing of it can be reached from the panels.
"""

import slicer
from PySide6.QtCore import Property, Signal

from Testing.Qt.host import dialect

qt = dialect.install()


def stored(kind, name, default, on_change=None):
    """A Q_PROPERTY whose value is simply kept."""
    key = f"_{name}"

    def read(widget):
        return widget.__dict__.get(key, default)

    def write(widget, value):
        has_changed = read(widget) != value
        widget.__dict__[key] = value
        if has_changed and on_change is not None:
            on_change(widget)

    return Property(kind, read, write)


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
        state["_node"], state["_tag"] = None, None
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
        self.__dict__["_node"] = node

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

    def setupViewObservations(self):
        self.__dict__["_observes"] = True

    def removeViewObservations(self):
        self.__dict__["_observes"] = False

    def installKeyboardShortcuts(self, parent=None):
        self.__dict__["_shortcuts"] = True

    def uninstallKeyboardShortcuts(self):
        self.__dict__["_shortcuts"] = False


def _show_history(widget):
    history = widget.__dict__["_history"]
    widget.findChild(qt.QToolButton, "UndoButton").setEnabled(bool(history.IsRestorePreviousStateAvailable()))
    widget.findChild(qt.QToolButton, "RedoButton").setEnabled(bool(history.IsRestoreNextStateAvailable()))


class ctkCollapsibleButton(qt.QAbstractButton):
    """Draws its head and shows or hides what is in it."""

    contentsCollapsed = Signal(bool)

    def __init__(self, parent=None):
        super().__init__(parent)
        self.setCheckable(True)
        self.setChecked(True)
        self.connect("toggled(bool)", lambda is_open: _fold(self, is_open))

    def showEvent(self, event):
        super().showEvent(event)
        _make_room(self)

    def paintEvent(self, _event):
        painter = qt.QPainter(self)
        option = qt.QStyleOptionButton()
        option.initFrom(self)
        option.rect = qt.QRect(0, 0, self.width, HEAD_PX)
        option.text = ("▾  " if self.isChecked() else "▸  ") + self.text
        qt.QApplication.style().drawControl(qt.QStyle.CE_PushButton, option, painter, self)
        painter.end()

    def hitButton(self, place):
        return place.y() < HEAD_PX

    def sizeHint(self):
        inner = self.layout()
        if inner is None or not self.isChecked():
            return qt.QSize(160, HEAD_PX)
        return inner.sizeHint()

    def minimumSizeHint(self):
        inner = self.layout()
        return qt.QSize(40, HEAD_PX) if inner is None or not self.isChecked() else inner.minimumSize()

    collapsed = Property(
        bool, lambda widget: not widget.isChecked(), lambda widget, is_closed: widget.setChecked(not is_closed)
    )


HEAD_PX = 26


def _make_room(widget):
    """Below the head; children that came while it was closed are hidden, too."""
    inner = widget.layout()
    if inner is not None and inner.contentsMargins.top() < HEAD_PX:
        margins = inner.contentsMargins
        inner.setContentsMargins(margins.left(), HEAD_PX + 6, margins.right(), margins.bottom())
    if not widget.isChecked():
        _hide_children(widget)


def _fold(widget, is_open):
    if is_open:
        for child in widget.__dict__.pop("_hidden", ()):
            child.setVisible(True)
    else:
        _hide_children(widget)
    widget.setMaximumHeight(16777215 if is_open else HEAD_PX)
    widget.updateGeometry()
    widget.contentsCollapsed.emit(not is_open)


def _hide_children(widget):
    """Remembers which were not hidden by someone else."""
    for child in widget.findChildren(qt.QWidget, options=qt.Qt.FindDirectChildrenOnly):
        if not child.isHidden():
            widget.__dict__.setdefault("_hidden", []).append(child)
            child.setVisible(False)


class ctkPathLineEdit(qt.QWidget):
    Dirs, Files = 1, 2
    currentPathChanged = Signal(str)
    filters = stored(int, "filters", 3)
    nameFilters = stored("QStringList", "nameFilters", [])
    settingKey = stored(str, "settingKey", "")

    def __init__(self, parent=None):
        super().__init__(parent)
        layout = qt.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        edit, button = qt.QLineEdit(), qt.QToolButton()
        button.setText("…")
        layout.addWidget(edit)
        layout.addWidget(button)
        self.setFocusProxy(edit)
        self.__dict__["_edit"] = edit
        edit.connect("textChanged(QString)", lambda text: self.currentPathChanged.emit(text))

    def setCurrentPath(self, path):
        self.__dict__["_edit"].setText(path)

    def addCurrentPathToHistory(self):
        self.__dict__.setdefault("_paths", []).append(self.currentPath)

    currentPath = Property(str, lambda widget: widget.__dict__["_edit"].text, setCurrentPath)


STAND_INS = {
    kind.__name__: dialect.native(kind)
    for kind in (qMRMLWidget, qMRMLNodeComboBox, qMRMLSegmentEditorWidget, ctkCollapsibleButton, ctkPathLineEdit)
}
