"""Draws the pictures of docs/screenshots: `python -m Testing.Qt.screenshots docs/screenshots [PART...]`. Takes a few minutes.

Parts are segment, train and cohort; all of them without any.

The panels are the real ones in the test host, the outlines come from the bundled model on the practice volume, the training is real. The
frame around panel and views is drawn here: it is not Slicer's window.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from Testing.Support.pictures import save_picture

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ROOT = Path(__file__).parents[2]
PANEL_PX, HEIGHT_PX, TALL_PX, VIEW_PX = 470, 1000, 1700, (560, 500)
BARS = {"Red": "#c43c3c", "Green": "#5a9e4b", "Yellow": "#d8b13c"}
LIMIT_S = 240.0
QUIET_TURNS = 20
"""Of the event loop, in which no widget has moved."""
GREEN = (0.3, 0.75, 0.4)
LESION = (79, 86, 27)
"""(i, j, k) of its middle."""
SETTINGS = "run.report_every = 5\nsampling.clips = 1\nsampling.slices = 2"


class Studio:
    """Both panels in front of the practice volume."""

    def __init__(self, folder):
        from NeuroSAM2Lib.engine.choice import EngineChoice

        from NeuroSAM2Core.remote import EngineClient
        from Testing.Qt.host.application import start
        from Testing.Qt.host.spin import Loop

        self.application = start(folder)
        self.loop = Loop(self.application)
        command = EngineChoice.command
        EngineChoice.connect = lambda choice, slicer_python: EngineClient.launch(sys.executable)
        EngineChoice.command = lambda choice, slicer_python: command(choice, sys.executable)
        from Testing.Qt.train_panel_user import TrainPanelUser

        self.train_user = TrainPanelUser(self.application, self.loop, Path("NeuroSAM2 training"))
        self.user = self.train_user.user
        self.application.window.resize(PANEL_PX, HEIGHT_PX)
        for name in BARS:
            self.user.view(name).resize(*VIEW_PX)

    def show_segment(self):
        self._show(self.user.module)

    def show_train(self):
        self._show(self.train_user.module)

    def settle(self):
        self.loop.until(self.user.settled, limit_s=LIMIT_S)

    def set_visible_plane(self, place):
        for name in BARS:
            self.user.view(name).node.JumpSliceByOffsetting(*self.user.ras(*place))

    def picture(self, path):
        """The panel and the three views."""
        panel = self._grab(self.application.window)
        width, height = VIEW_PX
        whole = Image.new("RGB", (panel.width + 2 * width + 12, 2 * height + 32), "#2b2b2b")
        whole.paste(panel.getpixel((2, 2)), (0, 0, panel.width, whole.height))
        whole.paste(panel, (0, 0))
        pen = ImageDraw.Draw(whole)
        for (name, colour), (column, row) in zip(BARS.items(), ((0, 0), (0, 1), (1, 1)), strict=True):
            x, y = panel.width + 4 + column * (width + 4), row * (height + 16)
            pen.rectangle([x, y, x + width, y + 12], fill=colour)
            whole.paste(self._view(name), (x, y + 12))
        whole.paste(self._close_up(), (panel.width + 8 + width, 12))
        save_picture(whole, path)

    def panel(self, path):
        """The panel alone, without the empty room below it."""
        self.application.window.resize(PANEL_PX, TALL_PX)
        panel = self._grab(self.application.panels)
        self.application.window.resize(PANEL_PX, HEIGHT_PX)
        bottom = ImageChops.difference(panel, Image.new("RGB", panel.size, panel.getpixel((2, 2)))).getbbox()[3]
        save_picture(panel.crop((0, 0, panel.width, min(panel.height, bottom + 20))), path)

    def _grab(self, widget):
        """What a widget looks like once its layout does not move any more."""
        from PySide6.QtWidgets import QWidget

        before, num_same = None, 0
        while num_same < QUIET_TURNS:
            self.loop.turn()
            now = [(one.x, one.y, one.width, one.height) for one in widget.findChildren(QWidget)]
            before, num_same = now, num_same + 1 if now == before else 0
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "panel.png"
            widget.grab().save(str(file))
            return Image.open(file).convert("RGB")

    def _view(self, name):
        return Image.fromarray(np.ascontiguousarray(self.user.view(name).draw()[::-1]))

    def _close_up(self):
        """The object, larger."""
        axial = self._view("Red")
        x, y = self.user.view("Red").to_xy(self.user.ras(*LESION)) if self.user.session else (280, 250)
        left, top = min(max(0, x - 140), VIEW_PX[0] - 280), min(max(0, VIEW_PX[1] - y - 125), VIEW_PX[1] - 250)
        return axial.crop((left, top, left + 280, top + 250)).resize(VIEW_PX, Image.Resampling.LANCZOS)

    def _show(self, module):
        self.application.panels.setCurrentWidget(module.parent)
        module.widget.enter()


def main(folder: Path, parts: list[str]) -> None:
    """All pictures of some parts, in the order of the tutorial."""
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        studio = Studio(Path(scratch))
        for part, draw in {"segment": segment, "train": train, "cohort": cohort}.items():
            if part in parts or not parts:
                draw(studio, folder)
        studio.train_user.module.close()
        studio.user.close()


def segment(studio: Studio, folder: Path) -> None:
    """From an empty scene to a reviewed object."""
    user, (i, j, k) = studio.user, LESION
    studio.show_segment()
    studio.panel(folder / "start.png")
    user.ui.stateButton.click()
    user.show(user.ui.volumeSelector.currentNode())
    user.ui.stateButton.click()
    studio.set_visible_plane(LESION)
    user.ui.boxButton.click()
    user.drag((i - 13, j - 11, k), (i + 13, j + 11, k))
    studio.settle()
    user.session.document.segmentation_node.GetSegmentation().GetNthSegment(0).SetColor(*GREEN)
    studio.picture(folder / "box.png")
    user.ui.negativeButton.click()
    user.hover(i - 9, j + 5, k)
    studio.loop.until(lambda: user.session.preview.outline.is_shown, limit_s=LIMIT_S)
    studio.picture(folder / "preview.png")
    user.ui.negativeButton.click()
    user.ui.propagateButton.click()
    studio.settle()
    studio.picture(folder / "segment.png")
    user.ui.engineSection.collapsed = False
    user.ui.testButton.click()
    studio.loop.until(lambda: user.ui.testButton.text == "Test", limit_s=LIMIT_S)
    user.ui.propagateSection.collapsed = user.ui.outlineSection.collapsed = True
    studio.panel(folder / "engine.png")
    user.ui.engineSection.collapsed = True
    user.ui.repairSection.collapsed = user.ui.filesSection.collapsed = user.ui.measurementsSection.collapsed = False
    studio.loop.until(lambda: user.ui.measureButton.enabled, limit_s=LIMIT_S)
    user.ui.measureButton.click()
    studio.loop.until(lambda: user.ui.measurementsTable.rowCount == 1, limit_s=LIMIT_S)
    studio.panel(folder / "results.png")
    user.ui.repairSection.collapsed = user.ui.filesSection.collapsed = user.ui.measurementsSection.collapsed = True
    user.ui.propagateSection.collapsed = user.ui.outlineSection.collapsed = False


def train(studio: Studio, folder: Path) -> None:
    """From one segmented case to a new model."""
    from Testing.Support.exported import add_case

    ui = studio.train_user.ui
    studio.show_train()
    for name, role in (("head 1", "training"), ("head 2", "training"), ("head 3", "validation"), ("head 4", "test")):
        add_case(studio.train_user.controller.cases, name, *studio.train_user.current(), role)
    studio.train_user.panel.wake()
    ui.stepsSpinBox.setValue(100)
    ui.settingsEdit.setPlainText(SETTINGS)
    ui.lookButton.click()
    studio.loop.until(lambda: ui.lookButton.enabled, limit_s=LIMIT_S)
    assert studio.train_user.controller.samples.pictures, ui.sampleReportLabel.text
    ui.trainSection.collapsed = ui.comparisonSection.collapsed = True
    studio.panel(folder / "samples.png")
    ui.trainSection.collapsed = ui.comparisonSection.collapsed = False
    ui.samplesSection.collapsed = True
    ui.startButton.click()
    studio.loop.until(
        lambda: studio.train_user.controller.view.step >= 40 or not ui.stopButton.enabled, limit_s=LIMIT_S
    )
    assert ui.stopButton.enabled, studio.train_user.controller.log(2000)
    studio.panel(folder / "training.png")
    studio.loop.until(lambda: not ui.stopButton.enabled, limit_s=LIMIT_S)
    ui.compareButton.click()
    studio.loop.until(lambda: ui.useButton.enabled and not studio.train_user.controller.is_comparing, limit_s=LIMIT_S)
    studio.panel(folder / "train.png")


def cohort(studio: Studio, folder: Path) -> None:
    """The list of a cohort, and its most doubtful case."""
    ui, out = studio.user.ui, made_cohort(Path.cwd() / "study")
    studio.show_segment()
    for section in (ui.propagateSection, ui.outlineSection, ui.engineSection):
        section.collapsed = True
    ui.cohortSection.collapsed = False
    studio.user.panel.cohort.ask_folder = lambda title: str(out)
    ui.openCohortButton.click()
    studio.loop.until(lambda: ui.cohortTable.rowCount > 0, limit_s=LIMIT_S)
    ui.nextCaseButton.click()
    studio.loop.until(lambda: ui.objectTable.rowCount > 0, limit_s=LIMIT_S)
    studio.settle()
    studio.panel(folder / "cohort.png")


def made_cohort(study: Path) -> Path:
    """The folder of a cohort of brains made from the template, as the command leaves it."""
    counts = ("--training", "2", "--validation", "0", "--held-out", "4")
    subprocess.run([sys.executable, str(ROOT / "tools" / "make_finetuning_cases.py"), str(study), *counts], check=True)
    command = ("cohort", str(study / "dataset.json"), "--images", str(study), "--out", str(study / "out"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", "NeuroSAM2Core", *command], check=True, env=environment)
    return study / "out"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
