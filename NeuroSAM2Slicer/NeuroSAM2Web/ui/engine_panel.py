"""The engine's tab: which model, on which device, on which machine; the Test button.

What the engine panel looks like.
"""

from collections.abc import Callable
from pathlib import Path

from NeuroSAM2Lib.engine.choice import DEVICES, EngineChoice, Place
from NeuroSAM2Lib.engine.link import Engine
from NeuroSAM2Lib.presenters.engine_presenter import EnginePresenter
from trame.widgets import html
from trame.widgets import vuetify3 as v3

from NeuroSAM2Core import disk
from NeuroSAM2Core.decoding import parse_count
from NeuroSAM2Web.app_state import AppState
from NeuroSAM2Web.ui.widgets import choices, section

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


def build_engine_form(panel: EnginePanel) -> None:
    """All of it."""
    attributes = {"density": "compact", "variant": "outlined", "classes": "mb-3", "hide_details": True}
    section("Model")
    v3.VSelect(items=("model_titles",), v_model=("engine_model",), label="Model", **attributes)
    v3.VTextField(
        v_if=f"engine_model === '{OWN_FILE}'", v_model=("engine_file",), label="Model file (.safetensors)", **attributes
    )
    v3.VSelect(
        items=("device_titles", choices(DEVICE_TITLES)), v_model=("engine_device",), label="Device", **attributes
    )
    section("Where it runs")
    places = choices({place.value: title for place, title in PLACES.items()})
    v3.VSelect(items=("place_titles", places), v_model=("engine_place",), label="Runs on", **attributes)
    with html.Div(v_if=f"engine_place === '{Place.REMOTE.value}'"):
        html.Div("Start `neurosam2 serve` there. It prints the port and the token.", classes="ns-hint mb-3")
        v3.VTextField(v_model=("engine_host",), label="Server", **attributes)
        v3.VTextField(v_model=("engine_port",), label="Port", type="number", **attributes)
        v3.VTextField(v_model=("engine_token",), label="Token", type="password", autocomplete="off", **attributes)
    with html.Div(classes="ns-row"):
        v3.VBtn(
            "Use",
            click=panel.use,
            color="primary",
            variant="flat",
            size="small",
            title="Use this engine from now on. Your clicks and outlines stay.",
        )
        v3.VBtn(
            "{{ is_testing ? 'Cancel test' : 'Test' }}",
            click=panel.test,
            variant="tonal",
            size="small",
            title="Try this engine on a small image, and say what works and how fast",
        )
        v3.VBtn(
            "Cancel download",
            v_if="is_downloading",
            click=panel.cancel_download,
            variant="tonal",
            size="small",
            title="Stop the download. What has come is kept for the next time.",
        )
    v3.VProgressLinear(v_if="is_testing || is_downloading", indeterminate=True, color="primary", classes="mb-2")
    html.Div("{{ engine_sentence }}", classes="text-body-2", raw_attrs=['role="status"', 'data-test="engine"'])
