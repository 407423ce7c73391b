"""What the real qMRML and ctk widgets offer to Python, taken from their headers: the stand-ins may offer that and nothing else.

PythonQt reaches properties, signals, slots and Q_INVOKABLE methods of these classes. Other public C++ methods are out of reach: a
ctkCollapsibleButton is collapsed by its property, for it has no slot for that.

Every entry was read in Slicer's main branch of 21 August 2026 (583e9b37d5) and CTK's of 12 August 2026 (868d56c7). Since Slicer 5.8.1 these
classes have gained `setEffectCursor` and `nodeAddedByUserAction`. Deprecated names (`masterVolume...`) and what a class inherits from Qt
are left out, but for the few properties that our forms set.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class RealWidget:
    """One class of Slicer or CTK."""

    header: str
    """Where it is declared, in Slicer's or CTK's repository."""
    properties: frozenset[str]
    signals: frozenset[str]
    """By signature."""
    methods: frozenset[str]
    """Slots and Q_INVOKABLE methods."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


REAL_WIDGETS = {
    "qMRMLWidget": RealWidget(
        header="Libs/MRML/Widgets/qMRMLWidget.h",
        properties=_names(""),
        signals=_names("mrmlSceneChanged(vtkMRMLScene*)"),
        methods=_names("mrmlScene setMRMLScene preInitializeApplication postInitializeApplication pixmapFromIcon"),
    ),
    "qMRMLNodeComboBox": RealWidget(
        header="Libs/MRML/Widgets/qMRMLNodeComboBox.h",
        properties=_names(
            "currentNodeID currentNodeId nodeTypes showHidden showChildNodeTypes hideChildNodeTypes baseName noneEnabled addEnabled "
            "removeEnabled editEnabled renameEnabled interactionNodeSingletonTag selectNodeUponCreation noneDisplay sizeAdjustPolicy"
        ),
        signals=_names(
            "currentNodeChanged(vtkMRMLNode*) currentNodeIDChanged(QString) nodeActivated(vtkMRMLNode*) currentNodeChanged(bool) "
            "nodeAdded(vtkMRMLNode*) nodeAddedByUser(vtkMRMLNode*) nodeAddedByUserAction(vtkMRMLNode*) "
            "nodeAboutToBeRemoved(vtkMRMLNode*) nodeAboutToBeEdited(vtkMRMLNode*) currentNodeRenamed(QString)"
        ),
        methods=_names(
            "mrmlScene addAttribute removeAttribute setNodeTypeLabel nodeTypeLabel nodeCount nodeFromIndex currentNode "
            "sortFilterProxyModel addMenuAction setMRMLScene setCurrentNode setCurrentNodeID setCurrentNodeIndex addNode "
            "removeCurrentNode editCurrentNode renameCurrentNode"
        ),
    ),
    "qMRMLSegmentEditorWidget": RealWidget(
        header="Modules/Loadable/Segmentations/Widgets/qMRMLSegmentEditorWidget.h",
        properties=_names(
            "segmentationNodeSelectorVisible sourceVolumeNodeSelectorVisible autoShowSourceVolumeNode "
            "switchToSegmentationsButtonVisible undoEnabled maximumNumberOfUndoStates readOnly effectButtonStyle effectColumnCount "
            "unorderedEffectsVisible maskingSectionVisible specifyGeometryButtonVisible show3DButtonVisible "
            "addRemoveSegmentButtonsVisible defaultTerminologyEntrySettingsKey defaultTerminologyEntry jumpToSelectedSegmentEnabled"
        ),
        signals=_names(
            "currentSegmentIDChanged(QString) segmentationNodeChanged(vtkMRMLSegmentationNode*) "
            "sourceVolumeNodeChanged(vtkMRMLVolumeNode*)"
        ),
        methods=_names(
            "mrmlScene setMRMLScene mrmlSegmentEditorNode setMRMLSegmentEditorNode updateWidgetFromMRML segmentationNode "
            "segmentationNodeID setSegmentationNode setSegmentationNodeID sourceVolumeNode sourceVolumeNodeID setSourceVolumeNode "
            "setSourceVolumeNodeID currentSegmentID setCurrentSegmentID activeEffect setActiveEffect setActiveEffectByName "
            "effectByName availableEffectNames setEffectNameOrder setupViewObservations removeViewObservations saveStateForUndo undo "
            "redo installKeyboardShortcuts uninstallKeyboardShortcuts setSegmentationNodeSelectorVisible "
            "setSourceVolumeNodeSelectorVisible setUndoEnabled setMaximumNumberOfUndoStates setReadOnly setAutoShowSourceVolumeNode "
            "setMaskingSectionVisible setSpecifyGeometryButtonVisible setShow3DButtonVisible setAddRemoveSegmentButtonsVisible "
            "setSwitchToSegmentationsButtonVisible setJumpToSelectedSegmentEnabled setEffectButtonStyle setEffectColumnCount "
            "setEffectCursor effectNameOrder effectCount effectByIndex updateEffectList interactionNode setInteractionNode "
            "selectPreviousSegment selectNextSegment selectSegmentAtOffset jumpSlices showSourceVolumeInSliceViewers "
            "rotateSliceViewsToSegmentation hideLabelLayer toggleSourceVolumeIntensityMaskEnabled updateVolume "
            "segmentationNodeSelectorAddAttribute segmentationNodeSelectorRemoveAttribute sourceVolumeNodeSelectorAddAttribute "
            "sourceVolumeNodeSelectorRemoveAttribute"
        ),
    ),
    "ctkCollapsibleButton": RealWidget(
        header="Libs/Widgets/ctkCollapsibleButton.h",
        properties=_names(
            "collapsed collapsedHeight contentsFrameShape contentsFrameShadow contentsLineWidth contentsMidLineWidth "
            "buttonTextAlignment indicatorAlignment flat text checked checkable"
        ),
        signals=_names("contentsCollapsed(bool)"),
        methods=_names(""),
    ),
    "ctkPathLineEdit": RealWidget(
        header="Libs/Widgets/ctkPathLineEdit.h",
        properties=_names(
            "label filters currentPath options settingKey showBrowseButton showHistoryButton sizeAdjustPolicy minimumContentsLength "
            "nameFilters"
        ),
        signals=_names("validInputChanged(bool) currentPathChanged(QString)"),
        methods=_names("setCurrentPath browse retrieveHistory addCurrentPathToHistory comboBox"),
    ),
}
