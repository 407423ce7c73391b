"""The training project that is open: a folder that the person's settings remember, and what is done in it."""

from collections.abc import Callable
from pathlib import Path

import slicer
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter
from NeuroSAM2Lib.presenters.train_presenter import FIRST_FOLDER, TrainPresenter

from NeuroSAM2Qt.application import slicer_python

FOLDER_KEY = "NeuroSAM2/TrainingFolder"


class TrainProject:
    """One at a time.

    Args:
        segment_presenter: Gives the segmentation module's: its session is the current case, its engine uses the models.
    """

    def __init__(self, segment_presenter: Callable[[], SegmentPresenter]) -> None:
        self._segment_presenter = segment_presenter
        self.presenter: TrainPresenter | None = None

    @property
    def segment_presenter(self) -> SegmentPresenter:
        """The one there is now."""
        return self._segment_presenter()

    @property
    def folder(self) -> str:
        """The one that was open last."""
        return str(slicer.app.userSettings().value(FOLDER_KEY) or Path.home() / FIRST_FOLDER)

    def open(self, folder: str) -> bool:
        """The project in a folder, with a run that may be under way; false where it is open already.

        Args:
            folder: Its path; empty for none.
        """
        presenter = self.presenter
        is_open = (
            presenter is not None
            and presenter.controller.folder == Path(folder)
            and presenter.segment_presenter is self.segment_presenter
        )
        if not folder or is_open:
            return False
        slicer.app.userSettings().setValue(FOLDER_KEY, folder)
        self.close()
        self.presenter = TrainPresenter(self.segment_presenter, Path(folder), slicer_python())
        return True

    def close(self) -> None:
        """Nothing is open; a run goes on."""
        if self.presenter is not None:
            self.presenter.close()
            self.presenter = None
