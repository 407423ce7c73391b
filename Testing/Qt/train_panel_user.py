"""A person in front of both panels, with a folder for training."""

from NeuroSAM2Lib.training.cases import labels_of

from Testing.Qt.host.modules import load_module
from Testing.Qt.panel_user import SLICER, PanelUser


class TrainPanelUser:
    """Both panels, and a folder for training."""

    def __init__(self, application, loop, folder):
        self.user, self.loop, self.folder = PanelUser(application, loop), loop, folder
        self.module = load_module(SLICER / "NeuroSAM2Train" / "NeuroSAM2Train.py")
        self.panel, self.ui = self.module.widget.panel, self.module.widget.ui
        self.ui.folderEdit.currentPath = str(folder)

    @property
    def controller(self):
        return self.panel.presenter.controller

    def outline(self, name, voxels=None):
        self.user.load(voxels, name=name)
        self.user.ui.boxButton.click()
        self.user.drag((18, 15, 6), (38, 34, 6))
        self.loop.until(self.user.settled)

    def add(self, name, role=0):
        self.outline(name)
        self.ui.roleSelector.setCurrentIndex(role)
        self.add_current()

    def add_current(self):
        self.ui.addButton.click()
        self.loop.until(lambda: not self.panel.presenter.is_adding)

    def current(self):
        """The image and the labels of the segmentation panel."""
        document = self.user.session.document
        return document.volume, labels_of(document)

    def allow(self, steps):
        """The pretended program may do so many steps in all."""
        self.controller.run.folder.with_suffix(".go").write_bytes(b"x" * steps)

    def finish(self):
        self.allow(9)
        self.loop.until(lambda: not self.ui.stopButton.enabled)

    def close(self):
        if self.panel.presenter is not None and self.controller.is_running:
            self.allow(9)
            self.loop.until(lambda: not self.controller.is_running)
        self.module.close()
        self.user.close()
