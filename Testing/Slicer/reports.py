"""Which scenarios there are, what became of each, and the two files that say so. Knows nothing of Slicer."""

import json
import re
import sys
import time
import traceback
import unittest
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

PASSED, FAILED, ERROR, SKIPPED = "passed", "failed", "error", "skipped"
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one test."""

    scenarios: str
    name: str
    state: str
    message: str
    time_s: float
    screenshot: str
    """Name of the file beside the reports; empty where none could be taken."""

    @property
    def is_good(self) -> bool:
        return self.state in (PASSED, SKIPPED)


def collect(folder: Path) -> unittest.TestSuite:
    """All tests of the files *Scenarios.py in a folder."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    names = sorted(path.stem for path in folder.glob("*Scenarios.py"))
    return unittest.defaultTestLoader.loadTestsFromNames(names)


class Recorder(unittest.TestResult):
    """Keeps an outcome of each test.

    Args:
        errors: Returns what was logged as an error since it was asked before; it counts against the test that ends then.
        photograph: Takes a picture into a file; false where there is nothing to see.
        folder: For the pictures.
        tell: Hears of each outcome.
    """

    def __init__(
        self,
        errors: Callable[[], Sequence[str]],
        photograph: Callable[[Path], bool],
        folder: Path,
        tell: Callable[[Outcome], object] = lambda outcome: None,
    ) -> None:
        super().__init__()
        self.outcomes: list[Outcome] = []
        self._errors, self._photograph, self._folder, self._tell = errors, photograph, folder, tell
        self._told: list[tuple[str, str]] = []
        """State and message, of the test that runs."""
        self._began, self._screenshot = 0.0, ""

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._told, self._screenshot = [], ""
        put_away = test.tearDown

        def tear_down() -> None:  # once that is done there is nothing left to see
            self._take_picture(test)
            put_away()

        test.tearDown = tear_down
        self._began = time.monotonic()

    def addError(self, test, err) -> None:
        super().addError(test, err)
        self._note(ERROR, _text(err))
        if isinstance(test, unittest.suite._ErrorHolder):  # of a class or a file: no test begins or ends
            self._keep("", str(test), 0.0)

    def addFailure(self, test, err) -> None:
        super().addFailure(test, err)
        self._note(FAILED, _text(err))

    def addSubTest(self, test, subtest, err) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(FAILED if issubclass(err[0], test.failureException) else ERROR, f"{subtest}\n{_text(err)}")

    def addSkip(self, test, reason) -> None:
        super().addSkip(test, reason)
        self._note(SKIPPED, reason)

    def addUnexpectedSuccess(self, test) -> None:
        super().addUnexpectedSuccess(test)
        self._note(FAILED, "it was expected to fail")

    def stopTest(self, test: unittest.TestCase) -> None:
        seconds = time.monotonic() - self._began
        logged = self._errors()
        if logged:
            self._note(FAILED, "\n".join(["Slicer's error log has new entries:", *logged]))
        if not self._screenshot:
            self._take_picture(test)
        self._keep(type(test).__name__, test.id().rpartition(".")[2], seconds)
        super().stopTest(test)

    def _note(self, state: str, message: str) -> None:
        self._told.append((state, message))

    def _keep(self, scenarios: str, name: str, seconds: float) -> None:
        states = [state for state, _ in self._told]
        worst = next((state for state in (ERROR, FAILED, SKIPPED) if state in states), PASSED)
        payload = "\n".join(message for _, message in self._told)
        outcome = Outcome(
            scenarios=scenarios,
            name=name,
            state=worst,
            message=payload,
            time_s=round(seconds, 3),
            screenshot=self._screenshot,
        )
        self.outcomes.append(outcome)
        self._tell(outcome)

    def _take_picture(self, test: unittest.TestCase) -> None:
        name = ".".join(test.id().rsplit(".", 2)[-2:]) + ".png"
        if self._photograph(self._folder / name):
            self._screenshot = name


def write_reports(outcomes: Sequence[Outcome], about: dict[str, str], folder: Path) -> bool:
    """Writes results.json and results.xml (JUnit); returns whether there were tests and all is well.

    Args:
        outcomes: Of all tests.
        about: What was tested, by name.
        folder: For the files.
    """
    is_good = bool(outcomes) and all(one.is_good for one in outcomes)
    payload = {"is_good": is_good, **about, "tests": [asdict(one) for one in outcomes]}
    (folder / "results.json").write_text(json.dumps(payload, indent=2) + "\n", encoding="utf-8")
    ET.ElementTree(_junit(outcomes, about)).write(folder / "results.xml", encoding="utf-8", xml_declaration=True)
    return is_good


def _junit(outcomes: Sequence[Outcome], about: dict[str, str]) -> ET.Element:
    counts = {
        name: str(sum(one.state == state for one in outcomes))
        for name, state in (("failures", FAILED), ("errors", ERROR), ("skipped", SKIPPED))
    }
    seconds = f"{sum(one.time_s for one in outcomes):.3f}"
    suite = ET.Element("testsuite", name="NeuroSAM2 in Slicer", tests=str(len(outcomes)), time=seconds, **counts)
    properties = ET.SubElement(suite, "properties")
    for name, value in about.items():
        ET.SubElement(properties, "property", name=name, value=_for_xml(value))
    for one in outcomes:
        case = ET.SubElement(suite, "testcase", classname=one.scenarios, name=one.name, time=f"{one.time_s:.3f}")
        tag = {FAILED: "failure", ERROR: "error", SKIPPED: "skipped"}.get(one.state)
        if tag:
            first = one.message.strip().rpartition("\n")[2]
            ET.SubElement(case, tag, message=_for_xml(first)).text = _for_xml(one.message)
        if one.screenshot:
            ET.SubElement(case, "system-out").text = f"[[ATTACHMENT|{one.screenshot}]]"
    return suite


def _text(err) -> str:
    return "".join(traceback.format_exception(*err))


def _for_xml(text: str) -> str:
    return NOT_IN_XML.sub("?", text)
