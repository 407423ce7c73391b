"""The training project that is open: a folder that the person's settings remember, and what is done in it."""

from collections.abc import Callable
from pathlib import Path

import slicer
from NeuroSAM2MRML.workplace.train_desk import TrainDesk
from NeuroSAM2MRML.workplace.workplace import Workplace

from NeuroSAM2Qt.own_python import own_python

FOLDER_KEY = "NeuroSAM2/TrainingFolder"
FIRST_FOLDER = "NeuroSAM2 training"


class TrainProject:
    """One at a time.

    Args:
        workplace: Gives the segmentation module's: its session is the current case, its engine uses the models.
    """

    def __init__(self, workplace: Callable[[], Workplace]) -> None:
        self._workplace = workplace
        self.desk: TrainDesk | None = None

    @property
    def workplace(self) -> Workplace:
        """The one there is now."""
        return self._workplace()

    @property
    def folder(self) -> str:
        """The one that was open last."""
        return str(slicer.app.userSettings().value(FOLDER_KEY) or Path.home() / FIRST_FOLDER)

    def open(self, folder: str) -> bool:
        """The project in a folder, with a run that may be under way; false where it is open already.

        Args:
            folder: Its path; empty for none.
        """
        desk = self.desk
        is_open = desk is not None and desk.controller.folder == Path(folder) and desk.workplace is self.workplace
        if not folder or is_open:
            return False
        slicer.app.userSettings().setValue(FOLDER_KEY, folder)
        self.close()
        self.desk = TrainDesk(self.workplace, Path(folder), own_python())
        return True

    def close(self) -> None:
        """Nothing is open; a run goes on."""
        if self.desk is not None:
            self.desk.close()
            self.desk = None
