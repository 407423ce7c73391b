"""A person in front of both panels, with a folder for training."""

from NeuroSAM2MRML.training.cases import labels_of

from Testing.Qt.desk import SLICER, Desk
from Testing.Qt.host.modules import load_module


class School:
    """Both panels, and a folder for training."""

    def __init__(self, application, loop, folder):
        self.desk, self.loop, self.folder = Desk(application, loop), loop, folder
        self.module = load_module(SLICER / "NeuroSAM2Train" / "NeuroSAM2Train.py")
        self.panel, self.ui = self.module.widget.panel, self.module.widget.ui
        self.ui.folderEdit.currentPath = str(folder)

    @property
    def controller(self):
        return self.panel.desk.controller

    def outline(self, name, voxels=None):
        self.desk.load(voxels, name=name)
        self.desk.ui.boxButton.click()
        self.desk.drag((18, 15, 6), (38, 34, 6))
        self.loop.until(self.desk.settled)

    def add(self, name, role=0):
        self.outline(name)
        self.ui.roleSelector.setCurrentIndex(role)
        self.add_current()

    def add_current(self):
        self.ui.addButton.click()
        self.loop.until(lambda: not self.panel.desk.is_adding)

    def current(self):
        """The image and the labels of the segmentation panel."""
        desk = self.desk.session.desk
        return desk.volume, labels_of(desk)

    def allow(self, steps):
        """The pretended program may do so many steps in all."""
        self.controller.run.folder.with_suffix(".go").write_bytes(b"x" * steps)

    def finish(self):
        self.allow(9)
        self.loop.until(lambda: not self.ui.stopButton.enabled)

    def close(self):
        if self.panel.desk is not None and self.controller.is_running:
            self.allow(9)
            self.loop.until(lambda: not self.controller.is_running)
        self.module.close()
        self.desk.close()
