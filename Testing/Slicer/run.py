"""Runs all scenarios in a running Slicer and ends it with 0 if all is well, else with 1. From the top folder of a source tree:

    Slicer --testing --python-script "$PWD/Testing/Slicer/run.py"

Options of its own come last: `--out FOLDER` says where results.json, results.xml (JUnit) and a picture after each test go; else they go
into a new folder, which is printed. Nothing needs to be installed or set before: the modules are loaded from this source tree where Slicer
has not found them already. Needs neither torch nor a network; what does need torch is skipped, with the reason, where it is not there.
"""

import argparse
import os
import sys
import tempfile
import traceback
from pathlib import Path

import qt
import slicer

FOLDER = Path(__file__).resolve().parent
sys.path.append(str(FOLDER))
from reports import Outcome, Recorder, collect, write_reports  # noqa: E402  (found by the line above)

NAMES = ("NeuroSAM2Segment", "NeuroSAM2Train")
PLACE = FOLDER.parents[1] / "NeuroSAM2Slicer"
LEVEL_COLUMN = 2
"""ctkErrorLogAbstractModel::LogLevelColumn, which Python cannot name."""
ERRORS = ("Error", "Critical", "Fatal")


def load_modules() -> None:
    """Registers and loads those of the two modules that Slicer does not have.

    Raises:
        RuntimeError: Slicer cannot load them.
    """
    factory = slicer.app.moduleManager().factoryManager()
    missing = [name for name in NAMES if not factory.isRegistered(name)]
    for name in missing:
        factory.registerModule(qt.QFileInfo(str(PLACE / name / f"{name}.py")))
    if missing and not factory.loadModules(missing):
        raise RuntimeError(f"Slicer could not load {' and '.join(missing)}")


class ErrorLog:
    """What Slicer has logged as an error, from now on."""

    def __init__(self) -> None:
        self._model = slicer.app.errorLogModel()
        self._model.logEntryGrouping = False  # or what comes within a second goes into one entry
        self._num_read = self._model.logEntryCount()

    def notice(self) -> list[str]:
        """Since it was read before."""
        slicer.app.processEvents()  # entries are added from the event loop
        first, self._num_read = self._num_read, self._model.logEntryCount()
        rows = self._model.sourceModel()
        return [
            self._model.logEntryDescription(row)
            for row in range(first, self._num_read)
            if rows.data(rows.index(row, LEVEL_COLUMN)) in ERRORS
        ]


def photograph(path: Path) -> bool:
    """A picture of the main window; without one, of the panel."""
    slicer.app.processEvents()
    seen = slicer.util.mainWindow() or slicer.util.getModuleWidget(NAMES[0]).parent
    return bool(seen.grab().save(os.fsencode(path).decode("utf-8", "surrogateescape")))


def run(folder: Path, out: Path) -> bool:
    """Runs all scenarios of a folder; returns whether there are some and all is well.

    Args:
        folder: Holds *Scenarios.py.
        out: For reports and pictures; made where it is missing.
    """
    out.mkdir(parents=True, exist_ok=True)
    log = ErrorLog()
    load_modules()
    recorder = Recorder(log.notice, photograph, out, _tell)
    collect(folder).run(recorder)
    paths = {name: slicer.util.modulePath(name) for name in NAMES}
    about = {"slicer": str(slicer.app.applicationVersion), "python": sys.version.split()[0], **paths}
    return write_reports(recorder.outcomes, about, out)


def main(words: list[str]) -> int:
    """The status to end Slicer with."""
    parser = argparse.ArgumentParser(prog="run.py")
    parser.add_argument("--out", type=Path)
    args, _ = parser.parse_known_args(words)
    out = args.out or Path(tempfile.mkdtemp(prefix="NeuroSAM2-scenarios-", dir=slicer.app.temporaryPath))
    try:
        is_good = run(FOLDER, out)
    except Exception:  # or Slicer would stay open
        _print(traceback.format_exc())
        is_good = False
    _print(f"{'All is well' if is_good else 'NOT all is well'}: see {out}")
    return 0 if is_good else 1


def _tell(outcome: Outcome) -> None:
    _print(f"{outcome.state:7} {outcome.time_s:6.1f} s  {outcome.scenarios}.{outcome.name}")
    if outcome.message:
        _print(outcome.message)


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201  (not to the standard error: Slicer would log it as an error)


if __name__ == "__main__":
    slicer.util.exit(main(sys.argv[1:]))
