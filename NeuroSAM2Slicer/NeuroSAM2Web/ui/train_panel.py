"""The training panel: buttons call the presenter, its view model is copied into the page's state. The twin of Slicer's."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from NeuroSAM2Lib.presenters.train_presenter import FIRST_FOLDER, TrainPresenter, TrainViewModel
from NeuroSAM2Lib.training.cases import ROLE_TITLES, ROLES, Role
from NeuroSAM2Lib.training.controller import TrainController
from NeuroSAM2Lib.training.run import ADAPTATIONS, PARTS, PRESETS, TrainChoice, matching, parse_settings
from NeuroSAM2Lib.training.verdict_view import Tone, VerdictView
from NeuroSAM2Lib.view_state import TrainView, capitalized

from NeuroSAM2Core.decoding import parse_count
from NeuroSAM2Core.errors import ConfigError, NeuroSAM2Error
from NeuroSAM2Web.app_state import AppState
from NeuroSAM2Web.server.allowed_folders import AllowedFolders
from NeuroSAM2Web.ui.file_dialogs import FolderChooser
from NeuroSAM2Web.ui.pictures import Samples, draw, png_source

LOOK_EVERY_S = 0.25
MAX_TRAINING_STEPS = 1_000_000


class TrainPanel:
    """One panel.

    Args:
        app_state: Has the presenter and the page.
        folders: That may be used.
    """

    def __init__(self, app_state: AppState, folders: AllowedFolders) -> None:
        self.page, self.folders = app_state, folders
        self.presenter: TrainPresenter | None = None
        self._shown: TrainViewModel | None = None
        self._looks_at = 0.0
        self.samples = Samples(app_state.state)
        self.chooser = FolderChooser(app_state.state, folders)
        self.page.state.update(
            {
                "train_folder": str(folders.roots[0] / FIRST_FOLDER) if folders.roots else "",
                "train_role": ROLES[0],
                "train_chosen": -1,
                "train_source": "",
                "train_model": "nano",
                "train_models": [],
                "train_adapt": 0,
                "train_steps": TrainChoice().steps,
                "train_preset": PRESETS[0],
                "train_settings": "",
                "train_sentence": "",
                "train_pace": "",
                "train_has_log": False,
                "train_log": "",
                "train_verdict": None,
                "train_large": "",
                "train_warning_colours": colours(Tone.UNSURE),
            }
        )
        self.adapt(0)
        self.open_folder()

    def poll(self) -> bool:
        """Takes in and shows what there is; true while a case is being written."""
        if self.presenter is None:
            return False
        now = time.monotonic()
        if now < self._looks_at and not self.presenter.is_adding:
            return False
        self._looks_at = now + LOOK_EVERY_S
        is_adding = self.presenter.poll()
        self._copy()
        return is_adding

    def close(self) -> None:
        """The app ends; a run goes on."""
        if self.presenter is not None:
            self.presenter.close()

    def open_folder(self) -> None:
        """The project in the typed folder, with a run that may be under way."""
        try:
            folder = self.folders.resolve(str(self.page.state.train_folder))
        except NeuroSAM2Error as error:
            self.page.state.train_sentence = capitalized(str(error))
            return
        self.close()
        self.presenter = TrainPresenter(self.page.presenter, folder, sys.executable)
        self.page.state.train_folder = str(folder)
        self._shown = None
        self._copy()

    def does(self, action: Callable[[TrainController], object]) -> Callable[[], None]:
        """A button's function: the action, then what came of it."""

        def pressed() -> None:
            if self.presenter is not None:
                self.presenter.act(action)
                self._show_now()

        return pressed

    def add_current(self) -> None:
        """What is segmented now goes on the list."""
        if self.presenter is not None:
            self.presenter.add_current(self._role)
            self._show_now()

    def add_folder(self) -> None:
        """The annotated volumes of the typed folder go on the list."""

        def add(_controller: TrainController) -> None:
            assert self.presenter is not None
            self.presenter.add_folder(self.folders.folder(str(self.page.state.train_source)), self._role)

        self.does(add)()

    def browse_source(self) -> None:
        """The folder with annotated volumes is chosen in a dialog."""
        self.chooser.show(str(self.page.state.train_source or ""), lambda folder: self._take("train_source", folder))

    def browse_project(self) -> None:
        """The project's folder is chosen in a dialog."""

        def take(folder: str) -> None:
            self._take("train_folder", folder)
            self.open_folder()

        self.chooser.show(str(self.page.state.train_folder or ""), take)

    def _take(self, field: str, folder: str) -> None:
        self.page.state[field] = folder

    def remove(self) -> None:
        """The chosen case goes off the list."""
        if self.presenter is not None:
            self.presenter.remove(int(self.page.state.train_chosen))
            self.page.state.train_chosen = -1
            self._show_now()

    def validate_dataset(self) -> None:
        """Looks at the cases as a run with what is chosen would see them."""
        self.does(lambda controller: controller.validate_dataset(self._choice()))()

    def turn(self, step: int) -> None:
        """To another picture of them."""
        self.samples.turn(step)

    def start(self) -> None:
        """Begins a run with what is chosen."""
        self.does(lambda controller: controller.begin(self._choice()))()

    def use_new_model(self) -> None:
        """Puts the run's model to work; where it is not shown to be better, the page asks first."""
        self.page.host.attempt(self._use_new_model)

    def _use_new_model(self) -> None:
        if self.presenter is not None:
            self.presenter.use_new_model()
            self._show_now()

    def adapt(self, number: int) -> None:
        """What to adapt, in a person's words; the number after the last leaves the expert's choice as it is."""
        state = self.page.state
        state.train_adapt = number
        if number < len(ADAPTATIONS):
            state.train_rank = ADAPTATIONS[number].adapter_rank
            state.train_parts = list(ADAPTATIONS[number].parts)

    def set_parts(self, parts: list[str]) -> None:
        """An expert's choice of parts."""
        self.page.state.train_parts = [part for part in PARTS if part in parts]
        self._name_choice()

    def set_rank(self, text: str) -> None:
        """An expert's width of adapters."""
        self.page.state.train_rank = text
        self._name_choice()

    def set_steps(self, text: str) -> None:
        """How long, and what that will cost."""
        self.page.state.train_steps = text
        self._show_estimate()

    def show_log(self, is_on: bool) -> None:
        """The log of the run, or no longer."""
        self.page.state.train_has_log = is_on
        self._copy_log()

    @property
    def _role(self) -> Role:
        return next(role for role in ROLES if role == self.page.state.train_role)

    def _choice(self) -> TrainChoice:
        state = self.page.state
        parts = tuple(part for part in PARTS if part in state.train_parts)
        return TrainChoice(
            model=str(state.train_model),
            preset=str(state.train_preset),
            parts=parts,
            adapter_rank=whole_number("adapter rank", state.train_rank, 0, 256),
            steps=whole_number("steps", state.train_steps, 1, MAX_TRAINING_STEPS),
            settings=parse_settings(str(state.train_settings)),
        )

    def _name_choice(self) -> None:
        state = self.page.state
        state.train_adapt = matching(state.train_parts, parse_count(str(state.train_rank)))

    def _show_now(self) -> None:
        self._shown, self._looks_at = None, 0.0
        self.poll()
        self.page.wake()

    def _copy(self) -> None:
        assert self.presenter is not None
        state = self.page.state
        state.train_models = [row.name for row in self.page.presenter.models.view.rows if row.is_installed]
        try:
            view = self.presenter.view()
        except NeuroSAM2Error as error:
            state.train_sentence = capitalized(str(error))
            return
        if view == self._shown:
            return
        if self._shown is None or view.run != self._shown.run:
            state.update(run_state(view.run))
            self.samples.show(view.run.pictures)
            self._show_estimate()
            self._copy_log()
        if self._shown is None or _verdict(view) != _verdict(self._shown):
            state.train_verdict = verdict_state(*_verdict(view))
        self._shown = view
        state.train_sentence, state.train_pace = view.sentence, view.progress_rate

    def _show_estimate(self) -> None:
        steps = parse_count(str(self.page.state.train_steps))
        self.page.state.train_estimate = (
            "" if self.presenter is None or steps is None else self.presenter.estimate(steps)
        )

    def _copy_log(self) -> None:
        if self.page.state.train_has_log and self.presenter is not None:
            self.page.state.train_log = self.presenter.controller.log()


def run_state(view: TrainView) -> Mapping[str, object]:
    """The view of a run as the page's variables."""
    return {
        "train_cases": [
            {"name": row.name, "role": ROLE_TITLES[row.role], "files": "" if row.is_there else "files are missing"}
            for row in view.cases
        ],
        "train_comparison": [{"what": row.what, "before": row.before, "after": row.after} for row in view.comparison],
        "train_warnings": list(view.warnings),
        "train_curves": asdict(draw(view.losses, view.dices, view.num_steps)) if view.losses else None,
        "train_report": view.report,
        "train_is_running": view.is_running,
        "train_step": view.step,
        "train_num_steps": view.num_steps,
        **{
            f"train_{name}": getattr(view, name)
            for name in (
                "can_validate",
                "can_start",
                "can_stop",
                "can_continue",
                "can_compare",
                "can_promote",
                "can_roll_back",
            )
        },
    }


def _verdict(view: TrainViewModel) -> tuple[VerdictView | None, Path | None]:
    return view.verdict, view.run.verdict_picture


def verdict_state(verdict: VerdictView | None, picture: Path | None) -> Mapping[str, str] | None:
    """A verdict as a variable of the page; None without one."""
    if verdict is None:
        return None
    return {
        "sentence": verdict.sentence,
        "detail": verdict.detail,
        "colours": colours(verdict.tone),
        "picture": "" if picture is None else png_source(picture),
    }


def colours(tone: Tone) -> str:
    """A style: text on its own ground, in the light theme and in the dark one."""
    return f"background: {tone.value.ground}; color: {tone.value.text}"


def whole_number(what: str, value: object, least: int, most: int) -> int:
    """What was typed as a number.

    Raises:
        ConfigError: It is none, or out of range.
    """
    text = str(value).strip()
    number = parse_count(text)
    if number is None or not least <= number <= most:
        raise ConfigError(f"{what}: {text!r} will not do", hint=f"a whole number from {least} to {most}")
    return number
