"""The segmentation panel: buttons call the presenter, its view model is copied into the widgets."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import qt
import slicer
from NeuroSAM2Lib.engine.choice import EngineChoice, install_plan
from NeuroSAM2Lib.engine.link import Engine
from NeuroSAM2Lib.presenters.cohort_presenter import cohort_presenter
from NeuroSAM2Lib.presenters.follow_presenter import follow_presenter
from NeuroSAM2Lib.presenters.mouse_tools import MouseTools
from NeuroSAM2Lib.presenters.panel_settings import Choices, PanelSettings
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter
from NeuroSAM2Lib.presenters.segment_view_model import SegmentViewModel, StatusAction
from NeuroSAM2Lib.presenters.tools import DRAWN_PROMPTS, PART_TOOLS, Tool, ToolButton
from NeuroSAM2Lib.presenters.view_presenter import ViewPresenter
from NeuroSAM2Lib.segmentation.controller import SessionController

from NeuroSAM2Qt.application import DesktopHost, Installer, StatusBar, load_sample, slice_views, slicer_python
from NeuroSAM2Qt.connections import AT_ONCE_MS, BUSY_MS, IDLE_MS, Shortcuts, WorkerBridge, connect
from NeuroSAM2Qt.engine_panel import EnginePanel
from NeuroSAM2Qt.help_text import segment_help
from NeuroSAM2Qt.train_project import TrainProject
from NeuroSAM2Qt.widgets.cohort_box import CohortBox
from NeuroSAM2Qt.widgets.files_box import FilesBox
from NeuroSAM2Qt.widgets.measurements_box import MeasurementsBox
from NeuroSAM2Qt.widgets.repair_box import RepairBox
from NeuroSAM2Qt.widgets.settings_boxes import CleanupBox, DisplayBox, PreviewSwitch, RangeBox, SwitchesBox, WindowBox
from NeuroSAM2Qt.widgets.tables import ObjectMenu, ObjectTable, QualityStripTable

CHOICE_KEY = "NeuroSAM2/Engine"
EDITOR_TAG = "NeuroSAM2Segment.SegmentEditor"
MAX_UNDO = 20
NUM_COLUMNS = 2
"""Of buttons."""


def start_engine(choice: EngineChoice) -> Engine:
    """The engine of a choice."""
    return choice.connect(slicer_python())


def new_segment_presenter(
    editor: "slicer.qMRMLSegmentEditorWidget", start: Callable[[EngineChoice], Engine] = start_engine
) -> SegmentPresenter:
    """A presenter in Slicer's scene, with the engine that was chosen last.

    Args:
        editor: Has the undo history.
        start: Starts engines.
    """
    choice = EngineChoice.from_text(str(slicer.app.userSettings().value(CHOICE_KEY) or ""))
    return SegmentPresenter(DesktopHost(editor), choice, start, slicer_python())


class SegmentPanel:
    """One panel.

    Args:
        ui: Its widgets.
        segment_presenter: What they show and act on.
        start: Starts engines, for the test of one.
    """

    def __init__(
        self,
        ui: SimpleNamespace,
        segment_presenter: SegmentPresenter,
        start: Callable[[EngineChoice], Engine] = start_engine,
    ) -> None:
        self.ui, self.segment_presenter = ui, segment_presenter
        self.installer, self.status = Installer(), StatusBar()
        self.tools = MouseTools(self.segment_presenter)
        self.preview = PreviewSwitch(ui.previewCheckBox, self.tools)
        self.engine = EnginePanel(ui, self.segment_presenter, self._use_engine, start)
        self.quality_strip = QualityStripTable(
            ui.qualityStripTable, ui.legendLabel, self._do(self.segment_presenter.jump_to_cell)
        )
        self.objects = ObjectTable(
            ui.objectTable, self._do(self._choose), self._do(self.segment_presenter.edit_objects)
        )
        self.menu = ObjectMenu(ui.objectMenuButton, self._do(self.segment_presenter.edit_objects))
        self.display = DisplayBox(ui, self._do(self.segment_presenter.edit_objects))
        views = ViewPresenter(self.segment_presenter)
        self.window = WindowBox(ui, self._do(views.change_window), self._do(views.object_values))
        self.range = RangeBox(ui)
        self.repair = RepairBox(ui, self._do(self.segment_presenter.repair))
        self.cleanup = CleanupBox(ui, self._do(self.segment_presenter.set_cleanup))
        self.measurements = MeasurementsBox(
            ui, self.segment_presenter.measurements, self._do, self.segment_presenter.jump_to_slice
        )
        self.files = FilesBox(
            ui, self.segment_presenter, follow_presenter(self.segment_presenter, slicer_python()), self._do
        )
        project = TrainProject(lambda: self.segment_presenter)
        cohort = cohort_presenter(self.segment_presenter, self._work_on, lambda: Path(project.folder), slicer_python())
        self.cohort = CohortBox(ui, cohort, lambda: Path(project.folder), self._do)
        self.switches = SwitchesBox(ui, self._do(self.segment_presenter.switch))
        self.bridge = WorkerBridge(self._poll, lambda: self.segment_presenter.link.engine)
        self.tool_buttons = {
            Tool.POSITIVE: ui.positiveButton,
            Tool.NEGATIVE: ui.negativeButton,
            Tool.BOX: ui.boxButton,
            **_add_buttons(DRAWN_PROMPTS, ui.drawnGrid, ui.maskButton),
            **_add_buttons(PART_TOOLS, ui.handGrid, ui.scissorsButton, first_row=2),
        }
        place = len(DRAWN_PROMPTS)
        ui.drawnGrid.addWidget(ui.holdCheckBox, place // NUM_COLUMNS, place % NUM_COLUMNS)
        self.shortcuts = Shortcuts(slicer.util.mainWindow(), self._keys())
        self._shown: SegmentViewModel | None = None
        self._is_showing = False
        self._ignores_events = False
        """What selectors say is nobody's choice: the scene brings it, or the panel is gone."""
        self._kept: Choices | None = None
        self._selected_in_editor = ""
        self._saved = segment_presenter.choice.to_text()
        ui.helpLabel.text = segment_help()
        self._effects = {"Paint": ui.brushButton, "Erase": ui.eraserButton, "Scissors": ui.scissorsButton}
        self.prepare_editor()
        self._connect()
        self._find_missing()

    def prepare_editor(self) -> None:
        """Gives the embedded editor its node; again after the scene was closed."""
        scene = slicer.mrmlScene
        node = scene.GetSingletonNode(EDITOR_TAG, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = scene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(EDITOR_TAG)
            node = scene.AddNode(node)
        self.ui.editorWidget.setMRMLSegmentEditorNode(node)
        self.ui.editorWidget.setMaximumNumberOfUndoStates(MAX_UNDO)

    def enter(self) -> None:
        """The module is shown."""
        self.shortcuts.install()
        self.ui.editorWidget.setupViewObservations()
        self._find_missing()
        self.restore()
        self.bridge.start()

    def exit(self) -> None:
        """Another module is shown; the engine goes on with what it was asked."""
        self.shortcuts.uninstall()
        self.tools.deactivate()
        self.ui.editorWidget.setActiveEffectByName("")
        self.ui.editorWidget.removeViewObservations()

    def close(self) -> None:
        """Slicer is about to unload the module, or to load it anew; the widgets may live on."""
        self.exit()
        self._ignores_events = True
        self.bridge.stop()
        self.files.follow.cancel()
        self.cohort.cohort.close()
        self.engine.close()
        self.status.show("")

    def begin_closing(self) -> None:
        """The scene is about to be closed: what selectors say until `end_batch` is nobody's choice."""
        self._ignores_events = True

    def begin_import(self) -> None:
        """A scene is about to be read. Where something is chosen it is added to what is there, and all choices stay."""
        self._ignores_events = True
        if any(self.segment_presenter.chosen):
            self._kept = PanelSettings(slicer.mrmlScene).choices

    def end_batch(self) -> None:
        """The scene is whole again, and all selectors have seen to it: what it remembers is shown, or what was kept."""
        kept, self._kept = self._kept, None
        if kept is not None and any(map(slicer.mrmlScene.IsNodePresent, filter(None, self.segment_presenter.chosen))):
            PanelSettings(slicer.mrmlScene).choices = kept
        if self._ignores_events:
            self.prepare_editor()
            self.restore()
        else:
            self._share_with_editor()

    def let_go(self, node: object) -> None:
        """A node is about to be deleted: a selector that shows it shall not fall on its neighbour in the list."""
        if not self._ignores_events:
            for selector in (self.ui.volumeSelector, self.ui.segmentationSelector):
                if selector.currentNode() is node:
                    selector.setCurrentNode(None)

    def restore(self) -> None:
        """Shows what the scene remembers."""
        memory = PanelSettings(slicer.mrmlScene)
        volume, segmentation = memory.volume_node, memory.segmentation_node
        self._ignores_events = True
        self.ui.volumeSelector.setCurrentNode(volume)
        self.ui.segmentationSelector.setCurrentNode(segmentation)
        self.range.restore()
        self.repair.restore()
        self.cleanup.restore()
        self.switches.restore()
        self._ignores_events = False
        self._select(volume, segmentation)

    def _connect(self) -> None:
        ui, act = self.ui, self._act
        for selector in (ui.volumeSelector, ui.segmentationSelector):
            # The first is emitted where the shown text changes, the second where a person has chosen, be it a node of the same name.
            for signal in ("currentNodeChanged(vtkMRMLNode*)", "nodeActivated(vtkMRMLNode*)"):
                connect(selector, signal, lambda node: self._follow_selectors())
        for tool, button in self.tool_buttons.items():
            connect(button, "clicked()", lambda tool=tool: self._on_tool(tool))
        for effect, button in self._effects.items():
            connect(button, "clicked()", lambda effect=effect: self._on_effect(effect))
        connect(ui.holdCheckBox, "toggled(bool)", self._do(self.segment_presenter.hold))
        connect(ui.stateButton, "clicked()", self._on_status_action)
        connect(ui.editorWidget, "currentSegmentIDChanged(QString)", self._do(self.segment_presenter.follow_segment))
        connect(ui.nextObjectButton, "clicked()", act(lambda session: session.next_object()))
        connect(
            ui.maskButton,
            "clicked()",
            self._do(lambda: self.segment_presenter.use_mask(ui.editorWidget.currentSegmentID())),
        )
        connect(ui.undoButton, "clicked()", act(lambda session: session.undo()))
        connect(ui.redoButton, "clicked()", act(lambda session: session.redo()))
        connect(ui.clearButton, "clicked()", act(lambda session: session.clear()))
        connect(ui.showOnlyButton, "clicked()", self._do(self.segment_presenter.show_only_active))
        connect(ui.readingButton, "clicked()", self._do(self.segment_presenter.next_reading))
        connect(ui.propagateButton, "clicked()", self._do(self.segment_presenter.propagate))
        connect(ui.extendButton, "clicked()", self._do(self.segment_presenter.extend))
        connect(ui.stopButton, "clicked()", act(lambda session: session.stop()))
        connect(ui.continueButton, "clicked()", self._do(self.segment_presenter.resume))
        connect(ui.confirmButton, "clicked()", self._do(self.segment_presenter.confirm_shown))
        connect(ui.doubtfulButton, "clicked()", self._do(self.segment_presenter.jump_to_next_doubtful))

    def _keys(self) -> dict[str, Callable[[], None]]:
        ui = self.ui
        buttons = {
            "P": ui.positiveButton,
            "N": ui.negativeButton,
            "X": ui.boxButton,
            **{one.key: self.tool_buttons[one.tool] for one in (*DRAWN_PROMPTS, *PART_TOOLS)},
            "M": ui.maskButton,
            "E": ui.readingButton,
            "O": ui.nextObjectButton,
            "H": ui.hideButton,
            "A": ui.propagateButton,
            "Q": ui.stopButton,
            "D": ui.doubtfulButton,
            "C": ui.confirmButton,
            "Ctrl+Z": ui.undoButton,
            "Ctrl+Y": ui.redoButton,
        }
        return (
            {key: button.click for key, button in buttons.items()}
            | self.repair.keys
            | {"Esc": self._do(self.tools.release_tool)}
        )

    def _act(self, action: Callable[[SessionController], object]) -> Callable[[], None]:
        """A button's function: the action, then what came of it."""

        def pressed() -> None:
            self.segment_presenter.act(action)
            self.bridge.wake()

        return pressed

    def _do(self, action: Callable[..., None]) -> Callable[..., None]:
        """The same for what takes an argument or no session."""

        def called(*arguments: object) -> None:
            if not self._is_showing:
                action(*arguments)
                self.bridge.wake()

        return called

    def _poll(self) -> int:
        """Takes in and shows what there is; says when to look again."""
        if self._selected() != self.segment_presenter.chosen:
            self._follow_selectors()
        self.segment_presenter.poll()
        is_testing = self.engine.poll()
        is_testing = self.files.poll() or is_testing
        self.tools.follow()
        self._save_choice()
        view = self.segment_presenter.view()
        self.show(view)
        self.measurements.show()
        self.cohort.poll()
        if self.segment_presenter.has_more:
            return AT_ONCE_MS
        is_busy = is_testing or not view.session.activity.is_quiet or self.tools.tool is not Tool.LOOK
        return BUSY_MS if is_busy else IDLE_MS

    def show(self, view: SegmentViewModel) -> None:
        """Copies the view into the widgets."""
        for tool, button in self.tool_buttons.items():
            button.setChecked(self.tools.tool is tool)
        if view == self._shown:
            return
        self._shown, self._is_showing = view, True
        ui, session = self.ui, view.session
        ui.stateLabel.text = view.state.sentence
        ui.stateButton.text = view.state.button
        ui.stateButton.setVisible(view.state.fix is not StatusAction.NOTHING)
        for button in (*self.tool_buttons.values(), ui.nextObjectButton, ui.maskButton):
            button.setEnabled(session.can_prompt)
        ui.readingButton.setEnabled(view.reading is not None)
        ui.readingButton.text = f"{view.reading_title} (E)"
        ui.propagateButton.setEnabled(session.can_propagate)
        ui.extendButton.setEnabled(session.can_extend)
        ui.stopButton.setEnabled(session.can_stop)
        ui.continueButton.setEnabled(session.can_continue)
        ui.clearButton.setEnabled(session.can_clear)
        ui.undoButton.setEnabled(session.can_undo)
        ui.redoButton.setEnabled(session.can_redo)
        for button in (ui.confirmButton, ui.doubtfulButton):
            button.setEnabled(session.can_prompt and bool(session.objects))
        ui.undoButton.setToolTip(view.undo_tip)
        self.objects.show(session.objects, view.volumes_ml)
        self.menu.show(session.objects)
        self.repair.show(can_repair=session.can_clear)
        self.files.show(can_prompt=session.can_prompt, has_objects=bool(session.objects))
        self.display.show(view.style, can_change=bool(session.objects))
        self.window.show(has_image=session.can_prompt, has_objects=bool(session.objects))
        for button in (
            ui.showOnlyButton,
            *self._effects.values(),
            *(self.tool_buttons[one.tool] for one in PART_TOOLS),
        ):
            button.setEnabled(session.can_clear)
        ui.holdCheckBox.setEnabled(session.can_prompt)
        ui.holdCheckBox.setChecked(session.is_held)
        self._select_in_editor(next((row.segment_id for row in session.objects if row.is_active), ""))
        self._show_progress(view)
        self.quality_strip.show(view.cells, view.shown)
        self._is_showing = False

    def _select_in_editor(self, segment_id: str) -> None:
        """The editor follows to another active object; until then the segment that is chosen there stays chosen."""
        is_other = segment_id != self._selected_in_editor
        self._selected_in_editor = segment_id
        if segment_id and is_other:
            self.ui.editorWidget.setCurrentSegmentID(segment_id)

    def _show_progress(self, view: SegmentViewModel) -> None:
        done, total = view.session.progress or (0, 0)
        is_under_way = view.session.progress is not None
        self.ui.progressBar.setVisible(is_under_way)
        self.ui.paceLabel.setVisible(is_under_way)
        self.ui.progressBar.setMaximum(total)
        self.ui.progressBar.setValue(done)
        self.ui.paceLabel.text = view.progress_rate
        self.status.show(f"NeuroSAM2: {view.progress_rate}" if is_under_way else "")
        self.range.show(len(view.cells))

    def _selected(self) -> tuple[object, object]:
        return self.ui.volumeSelector.currentNode(), self.ui.segmentationSelector.currentNode()

    def _follow_selectors(self) -> None:
        """Takes over what they show; a selector can change in silence, so code that sets one calls this, too."""
        if not self._ignores_events:
            self._select(*self._selected())

    def _select(self, volume: object, segmentation: object) -> None:
        PanelSettings(slicer.mrmlScene).choose(volume, segmentation)
        if (volume, segmentation) != self.segment_presenter.chosen:
            self.tools.deactivate()
        self._selected_in_editor = ""
        self.segment_presenter.select(volume, segmentation)
        self._share_with_editor()
        self.bridge.wake()

    def _work_on(self, volume: object) -> None:
        """An image of the scene is chosen, with a new segmentation, and shown in the views."""
        self.ui.volumeSelector.setCurrentNode(volume)
        self.ui.segmentationSelector.setCurrentNode(None)
        self._follow_selectors()
        self.ui.segmentationSelector.setCurrentNode(self.segment_presenter.new_segmentation())
        self._follow_selectors()
        slicer.util.setSliceViewerLayers(background=volume, fit=True)

    def _share_with_editor(self) -> None:
        """The embedded editor works on what is chosen; it takes an image only once it has a segmentation."""
        volume, segmentation = self.segment_presenter.chosen
        self.ui.editorWidget.setSegmentationNode(segmentation)
        if segmentation is not None:
            self.ui.editorWidget.setSourceVolumeNode(volume)

    def _on_tool(self, tool: Tool) -> None:
        """Activates or deactivates a tool, by the active tool and not by the button, which may be out of date."""
        self.tools.activate(Tool.LOOK if self.tools.tool is tool else tool, slice_views)
        self.bridge.wake()

    def _choose(self, segment_id: str) -> None:
        self.segment_presenter.act(lambda session: session.choose(segment_id))

    def _on_effect(self, name: str) -> None:
        """Takes an effect of the Segment Editor for the active object; what it paints is confirmed like any manual edit."""
        active = next((row.segment_id for row in self.segment_presenter.view().session.objects if row.is_active), "")
        if active:
            self.tools.deactivate()
            self.ui.editorWidget.setCurrentSegmentID(active)
            self.ui.editorWidget.setActiveEffectByName(name)
        self.bridge.wake()

    def _on_status_action(self) -> None:
        action = self.segment_presenter.do_status_action()
        if action is StatusAction.INSTALL:
            self._install()
        elif action is StatusAction.SAMPLE:
            self.ui.volumeSelector.setCurrentNode(load_sample())
            self._follow_selectors()
        elif action is StatusAction.SEGMENTATION:
            self.ui.segmentationSelector.setCurrentNode(self.segment_presenter.new_segmentation())
            self._follow_selectors()
        self.bridge.wake()

    def _install(self) -> None:
        plan = self.segment_presenter.plan
        if not self.segment_presenter.host.confirm(plan.question):
            return
        problem = self.installer.take(plan)
        if problem:
            slicer.util.errorDisplay(problem, windowTitle="NeuroSAM2")
        self._find_missing()

    def _find_missing(self) -> None:
        self.segment_presenter.plan = install_plan(self.installer.found(self.segment_presenter.choice.place))

    def _save_choice(self) -> None:
        """Also one that came from elsewhere: a download that has ended, a model that was trained."""
        text = self.segment_presenter.choice.to_text()
        if text != self._saved:
            self._saved = text
            slicer.app.userSettings().setValue(CHOICE_KEY, text)
            self.engine.show(self.segment_presenter.choice)

    def _use_engine(self, choice: EngineChoice) -> None:
        self.tools.deactivate()
        self.segment_presenter.use_engine(choice)
        self._find_missing()
        self.bridge.wake()


def _add_buttons(
    tools: Sequence[ToolButton], grid: "qt.QGridLayout", after: "qt.QWidget", *, first_row: int = 0
) -> dict[Tool, "qt.QPushButton"]:
    """A button for each tool.

    Args:
        tools: What they take in hand.
        grid: Gets them.
        after: The Tab key goes from here to the first of them.
        first_row: Of the grid.
    """
    buttons = {}
    for place, one in enumerate(tools):
        button = qt.QPushButton(f"{one.title} ({one.key})")
        button.setToolTip(one.tip)
        button.setCheckable(True)
        button.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Fixed)
        grid.addWidget(button, first_row + place // NUM_COLUMNS, place % NUM_COLUMNS)
        qt.QWidget.setTabOrder(after, button)
        buttons[one.tool] = after = button
    return buttons
