"""The engine's tab: which model, on which device, on which machine; the Test button."""

from collections.abc import Callable
from pathlib import Path

from NeuroSAM2Lib.engine.choice import DEVICES, EngineChoice, Place
from NeuroSAM2Lib.engine.link import Engine
from NeuroSAM2Lib.presenters.engine_presenter import EnginePresenter

from NeuroSAM2Core import disk
from NeuroSAM2Core.decoding import parse_count
from NeuroSAM2Web.app_state import AppState
from NeuroSAM2Web.ui.widgets import choices

OWN_FILE = "file"
DEVICE_TITLES = dict(zip(DEVICES, ("Automatic", "NVIDIA card (CUDA)", "Apple (MPS)", "Processor (CPU)"), strict=True))
PLACES = {Place.SLICER: "This computer", Place.REMOTE: "A server"}


class EnginePanel:
    """One panel.

    Args:
        app_state: Has the presenter and the page.
        start: Starts an engine, for the test.
        settings: Where the choice is kept for the next start.
    """

    def __init__(self, app_state: AppState, start: Callable[[EngineChoice], Engine], settings: Path) -> None:
        self.app_state, self._settings = app_state, settings
        self.engine = EnginePresenter(lambda: app_state.presenter.models, self._put_to_work, start)
        self._names = [row.name for row in app_state.presenter.models.view.rows]
        self._kept = app_state.presenter.choice.to_text()
        self._show(app_state.presenter.choice)
        self._copy()

    def poll(self) -> bool:
        """Goes on with a test and a download; true while one runs."""
        is_busy = self.engine.poll()
        self._copy()
        self._keep_choice()
        return is_busy

    def close(self) -> None:
        """Ends a test."""
        self.engine.close()

    def use(self) -> None:
        """Puts what is chosen to work; the person is asked first where something is to be downloaded."""
        choice = self._chosen()
        self.app_state.host.attempt(lambda: self.engine.use(choice))
        self.app_state.wake()

    def test(self) -> None:
        """Tries what is chosen, or ends the test."""
        self.engine.test(self._chosen())
        self.app_state.wake()

    def cancel_download(self) -> None:
        """Stops it."""
        self.engine.cancel_download()
        self.app_state.wake()

    def _put_to_work(self, choice: EngineChoice) -> None:
        self.app_state.state.tool = "look"
        self.app_state.presenter.use_engine(choice)

    def _chosen(self) -> EngineChoice:
        state = self.app_state.state
        return EngineChoice(
            place=Place(state.engine_place),
            host=str(state.engine_host).strip(),
            port=parse_count(str(state.engine_port)) or 0,
            token=str(state.engine_token).strip(),
            model=str(state.engine_file).strip() if state.engine_model == OWN_FILE else str(state.engine_model),
            device=str(state.engine_device),
        )

    def _show(self, choice: EngineChoice) -> None:
        is_named = choice.model in self._names
        self.app_state.state.update(
            {
                "engine_place": choice.place.value,
                "engine_host": choice.host,
                "engine_port": choice.port,
                "engine_token": choice.token,
                "engine_model": choice.model if is_named else OWN_FILE,
                "engine_file": "" if is_named else choice.model,
                "engine_device": choice.device,
            }
        )

    def _copy(self) -> None:
        view = self.engine.view
        titles = [*zip(self._names, view.titles, strict=True), (OWN_FILE, "A file of your own")]
        self.app_state.state.update(
            {
                "model_titles": choices(dict(titles)),
                "engine_sentence": view.sentence,
                "is_testing": view.is_testing,
                "is_downloading": view.is_downloading,
            }
        )

    def _keep_choice(self) -> None:
        """Also one that came from elsewhere: a download that has ended, a model that was trained."""
        choice = self.app_state.presenter.choice
        text = choice.to_text()
        if text != self._kept:
            self._kept = text
            disk.write_atomically(self._settings, text)
            self._show(choice)
