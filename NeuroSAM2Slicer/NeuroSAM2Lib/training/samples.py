"""A look at the cases before a run: a program of its own reads every case, says what is wrong and draws clips as training will see them.

Pictures of clips, one of them open. Pure.
"""

from collections.abc import Sequence
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.processes import ProcessTree, exit_summary, has_crashed
from NeuroSAM2Lib.engine.choice import StartProgram
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.training.run import TrainChoice

MAX_LINES = 8
LOOKING = _("looking at the cases")
FINDINGS = (0, 1)
"""How the program ends when it has looked: nothing is wrong, or something is."""


class Samples:
    """The pictures of one project.

    Args:
        folder: Of the project.
        start: Starts processes.
        python: The interpreter that has torch, as the start of a command.
    """

    def __init__(self, folder: Path, start: StartProgram, python: Sequence[str]) -> None:
        self._folder, self._start, self._python = folder / "samples", start, tuple(python)
        self._process: ProcessTree | None = None
        self._failure = ""

    @property
    def is_running(self) -> bool:
        """The program is at it."""
        return self._process is not None

    @property
    def pictures(self) -> tuple[Path, ...]:
        """What has been drawn, in order; nothing while it is being drawn anew."""
        return () if self.is_running else self._drawn()

    def begin(self, choice: TrainChoice, dataset: Path) -> None:
        """Looks at the cases as a run with this choice would see them.

        Raises:
            DataError: It looks already, or the folder cannot be written to.
        """
        if self.is_running:
            raise DataError(_("the cases are being looked at already"), hint=_("wait a moment"))
        config = self._folder / "samples.toml"
        try:
            for picture in self._drawn():  # and nothing that somebody else has put there
                disk.delete(picture)
            self._folder.mkdir(parents=True, exist_ok=True)
            disk.write_atomically(config, choice.to_toml(dataset.resolve(), self._folder.resolve()))
        except OSError as error:
            raise DataError(
                _("cannot write to {folder}: {reason}").format(folder=self._folder, reason=error.strerror or error)
            ) from error
        command = [*self._python, "-m", "NeuroSAM2Core", "train", str(config), "--check"]
        self._process = self._start(command, self._log)

    def poll(self) -> str:
        """What came of it, in a sentence or a few lines, once it has ended; empty otherwise."""
        code = None if self._process is None else self._process.poll()
        if code is None:
            return ""
        self._process = None
        has_looked = code in FINDINGS and not has_crashed(self._log)
        self._failure = "" if has_looked else exit_summary(self._python[0], code, self._log)
        return self.report or _("the cases could not be looked at")

    @property
    def report(self) -> str:
        """The last output of the program without paths of files; empty without any."""
        if self._failure:
            return self._failure
        try:
            lines = [
                line
                for line in self._log.read_text(errors="replace", encoding="utf-8").splitlines()
                if str(self._folder) not in line
            ]
        except OSError:
            return ""
        lines = "\n".join(lines).strip().splitlines()
        return "\n".join([*lines[:MAX_LINES], *(["..."] if len(lines) > MAX_LINES else [])])

    def cancel(self) -> None:
        """Ends it."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def _drawn(self) -> tuple[Path, ...]:
        return tuple(sorted((self._folder / "clips").glob("clip-*.png")))

    @property
    def _log(self) -> Path:
        return self._folder / "log.txt"


class ImageCarousel:
    """Begins empty."""

    def __init__(self) -> None:
        self._pictures: tuple[Path, ...] = ()
        self._number = 0

    @property
    def picture(self) -> Path | None:
        """The one that is open; None in an empty carousel."""
        return self._pictures[self._number] if self._pictures else None

    @property
    def caption(self) -> str:
        """Which one that is; empty in an empty carousel."""
        return (
            _("Clip {number} of {count}").format(number=self._number + 1, count=len(self._pictures))
            if self._pictures
            else ""
        )

    def fill(self, pictures: Sequence[Path]) -> bool:
        """These pictures, open at the first; false, and nothing happens, where they are the same as before."""
        if tuple(pictures) == self._pictures:
            return False
        self._pictures, self._number = tuple(pictures), 0
        return True

    def turn(self, step: int) -> None:
        """So many pictures on; after the last comes the first."""
        if self._pictures:
            self._number = (self._number + step) % len(self._pictures)
