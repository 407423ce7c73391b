"""The presenter of the engine section: applies or tests settings, downloads models, and reports the result."""

from collections.abc import Callable
from dataclasses import dataclass

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Lib.engine.check import EngineCheck
from NeuroSAM2Lib.engine.choice import EngineChoice
from NeuroSAM2Lib.engine.link import Engine
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.presenters.models import ModelController
from NeuroSAM2Lib.view_state import ModelRow

TESTING = _("Testing. Starting an engine takes a few seconds.")
IN_USE = _("In use from now on")


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineViewModel:
    """What the section shows."""

    titles: tuple[str, ...]
    """Of the models of the catalog, in its order."""
    sentence: str
    is_testing: bool
    is_downloading: bool


class EnginePresenter:
    """The section.

    Args:
        models: The chooser in force; asked for each time, since each engine has its own.
        use: Puts a choice to work.
        start: Starts an engine, for the test.
    """

    def __init__(
        self,
        models: Callable[[], ModelController],
        use: Callable[[EngineChoice], None],
        start: Callable[[EngineChoice], Engine],
    ) -> None:
        self._models, self._use, self._start = models, use, start
        self._check: EngineCheck | None = None
        self._sentence = self._notice = ""

    @property
    def view(self) -> EngineViewModel:
        """What the section shows."""
        models = self._models().view
        sentence = self._sentence
        if models.download is not None:
            sentence = _("{notice}: {megabytes:.0f} MB so far").format(
                notice=models.notice, megabytes=models.download[0] / 1e6
            )
        return EngineViewModel(
            titles=tuple(map(_title, models.rows)),
            sentence=sentence[:1].upper() + sentence[1:],
            is_testing=self._check is not None,
            is_downloading=models.download is not None,
        )

    def use(self, choice: EngineChoice) -> None:
        """Puts a choice to work; reports what is wrong with it."""
        try:
            self._use(choice)
        except NeuroSAM2Error as error:
            self._sentence = str(error)
            return
        self._notice = self._models().notice
        self._sentence = self._notice or IN_USE

    def test(self, choice: EngineChoice) -> None:
        """Tries a choice on a small volume; ends the test where one runs."""
        if self._check is not None:
            self._check.cancel()
            self.poll()
            return
        try:
            choice.check()
            self._check = EngineCheck(self._start(choice), choice.load_model)
        except NeuroSAM2Error as error:
            self._sentence = str(error)
            return
        self._sentence = TESTING

    def cancel_download(self) -> None:
        """Stops it; what has come is kept."""
        self._models().cancel_download()

    def poll(self) -> bool:
        """Goes on with a test and a download; true while one runs."""
        notice = self._models().notice
        if notice != self._notice:
            self._notice = self._sentence = notice
        result = None if self._check is None else self._check.poll()
        if result is not None:
            self._check = None
            self._sentence = result.sentence
        return self._check is not None or self._models().view.download is not None

    def close(self) -> None:
        """Ends a test."""
        if self._check is not None:
            self._check.cancel()
            self._check = None


def _title(row: ModelRow) -> str:
    return f"{row.name}: {row.description}" + ("" if row.is_installed else _(" (to be downloaded)"))
