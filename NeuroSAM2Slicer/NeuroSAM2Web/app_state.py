"""The state that all panels of the app share: one scene, one presenter, three views, and the page's state.

The example: the MNI152 T1 brain at 1 mm that the nilearn package carries; a head made on the spot where nilearn is not.

A scene for the browser. Questions are asked in the page before the action that needs the answer is done.

A controller asks while it acts and cannot wait. So the first time the answer is no, the question is shown with the action beside it;
if the person agrees, the action is done once more, and this time the answer is yes.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import slicer
from NeuroSAM2Lib.headless.application import HeadlessApplication
from NeuroSAM2Lib.presenters.panel_settings import PanelSettings
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter
from NeuroSAM2Lib.scene.practice_volume import add_practice_volume
from NeuroSAM2Lib.scene.views.image_display import show_only_what_belongs
from NeuroSAM2Lib.scene.volume_nodes import add_volume
from trame_server import Server
from trame_server.state import State

from NeuroSAM2Core.volume import Volume
from NeuroSAM2Web.views import SliceViews

FILE = Path("datasets", "data", "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")
NAME = "MNI152 brain"


def example_file() -> Path | None:
    """Where the brain is on this machine; None where it is not. Nothing of nilearn is imported."""
    found = importlib.util.find_spec("nilearn")
    folders = [] if found is None else list(found.submodule_search_locations or ())
    return next((path for path in (Path(folder) / FILE for folder in folders) if path.is_file()), None)


def add_example(app: HeadlessApplication) -> slicer.vtkMRMLScalarVolumeNode:
    """Puts the example into the scene."""
    path = example_file()
    return add_practice_volume(app.scene) if path is None else add_volume(app.scene, Volume.read(path), NAME)


class WebHost(HeadlessApplication):
    """A `Host`.

    Args:
        folder: Where scene bundles are unpacked and journals are kept.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.question = ""
        """What the person is asked now; empty while there is nothing."""
        self._action: Callable[[], None] = lambda: None
        self._asked_in: Callable[[], None] = lambda: None
        self._granted = ""

    def confirm(self, question: str) -> bool:
        """See `Host`."""
        if question == self._granted:
            return True
        self.question, self._asked_in = question, self._action
        return False

    def attempt(self, action: Callable[[], None]) -> None:
        """Does something that may ask."""
        self._action = action
        action()

    def answer(self, *, is_yes: bool) -> None:
        """The person has answered; after a yes, what was asked for is done."""
        question, self.question = self.question, ""
        if is_yes and question:
            self._granted = question
            self.attempt(self._asked_in)
            self._granted = ""


VOLUMES, SEGMENTATIONS = "vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode"


class AppState:
    """The state of one user's app.

    Args:
        host: Has the scene.
        presenter: On it.
        server: Serves the page.
        wake: Called after each action: takes in and shows what came of it.
    """

    def __init__(self, host: WebHost, presenter: SegmentPresenter, server: Server, wake: Callable[[], None]) -> None:
        self.host, self.presenter, self.server, self.wake = host, presenter, server, wake
        self._example: slicer.vtkMRMLScalarVolumeNode | None = None
        self.views = SliceViews(host, presenter, server, wake)
        _enable_window_level_drag(host.scene)
        self.copy()

    @property
    def state(self) -> State:
        """What the page shows."""
        return self.server.state

    @property
    def volume_node(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The chosen image."""
        return PanelSettings(self.host.scene).volume_node

    @property
    def segmentation_node(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The chosen segmentation."""
        return PanelSettings(self.host.scene).segmentation_node

    def open_example(self) -> None:
        """The example brain; the one that is there already if it is."""
        if self._example is None or not self.host.scene.IsNodePresent(self._example):
            self._example = add_example(self.host)
        self.choose_volume(self._example)

    def choose_volume(self, node: slicer.vtkMRMLScalarVolumeNode) -> None:
        """An image to work on, shown in the views; with the segmentation made for it, or a new one."""
        if node is self.volume_node:
            return
        self.presenter.select(node, None)
        made_for = self._made_for(node)
        self._use(node, made_for if made_for is not None else self.presenter.new_segmentation())

    def choose_segmentation(self, node: slicer.vtkMRMLSegmentationNode) -> None:
        """A segmentation to draw into."""
        self._use(self.volume_node, node)

    def restore(self) -> None:
        """Takes up what the scene remembers after it was read: its choice, or its first image."""
        _enable_window_level_drag(self.host.scene)
        volume = self.volume_node or next(iter(_nodes(self.host.scene, VOLUMES)), None)
        if volume is not None:
            segmentation = self.segmentation_node or self._made_for(volume)
            self._use(volume, segmentation or next(iter(_nodes(self.host.scene, SEGMENTATIONS)), None))

    def copy(self) -> None:
        """Shows which volumes and segmentations there are, and where the views stand."""
        scene = self.host.scene
        self.state.update(
            {
                "volumes": _titles(scene, VOLUMES),
                "segmentations": _titles(scene, SEGMENTATIONS),
                "volume": _id(self.volume_node),
                "segmentation": _id(self.segmentation_node),
                "positions": self.views.positions(),
                "question": self.host.question,
            }
        )

    def _use(
        self, volume: slicer.vtkMRMLScalarVolumeNode | None, segmentation: slicer.vtkMRMLSegmentationNode | None
    ) -> None:
        is_new = volume is not None and not self.views.is_shown(volume)
        PanelSettings(self.host.scene).choose(volume, segmentation)
        self.presenter.select(volume, segmentation)
        self.state.tool = "look"
        if self.presenter.session is not None:
            self.presenter.session.warm_up()
        if volume is not None:
            show_only_what_belongs(self.host.scene, volume, segmentation)
        if is_new:
            self.views.show(volume)
        self.wake()

    def _made_for(self, volume: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSegmentationNode | None:
        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        nodes = (node for node in _nodes(self.host.scene, SEGMENTATIONS) if node.GetNodeReference(role) is volume)
        return next(nodes, None)


def _enable_window_level_drag(scene: slicer.vtkMRMLScene) -> None:
    """With no tool in hand, dragging changes window and level; tools never reach Slicer's own mouse modes here."""
    interaction = scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    interaction.SetCurrentInteractionMode(interaction.AdjustWindowLevel)


def _nodes(scene: slicer.vtkMRMLScene, kind: str) -> list[slicer.vtkMRMLNode]:
    found = scene.GetNodesByClass(kind)
    return [found.GetItemAsObject(number) for number in range(found.GetNumberOfItems())]


def _titles(scene: slicer.vtkMRMLScene, kind: str) -> list[dict[str, str]]:
    return [
        {"title": node.GetName(), "value": node.GetID()}
        for node in _nodes(scene, kind)
        if not node.GetHideFromEditors()
    ]


def _id(node: slicer.vtkMRMLNode | None) -> str:
    return "" if node is None else str(node.GetID())
