"""A verdict in words and colour, and what is asked before a model is used that is not better. Pure.

The report of a comparison as it lies in its folder, read again only when its file has changed.
"""

import logging
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.verdict import MIN_CASES, PICTURE_FILE, REPORT_FILE, Outcome, Report, Verdict, read_report
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.training.cases import Case

logger = logging.getLogger(__name__)


class ReportReader:
    """Follows the report of one folder.

    Args:
        folder: Of the comparison; need not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._report: Report | None = None
        self._stamp: tuple[int, int] | None = None

    @property
    def picture(self) -> Path | None:
        """Of the cases; None where none was drawn."""
        path = self.folder / PICTURE_FILE
        return path if path.is_file() else None

    def read(self) -> Report | None:
        """The report; None where there is none. One that cannot be read, or is of an earlier version, is none, with a warning."""
        path = self.folder / REPORT_FILE
        try:
            found = path.stat()
        except OSError:
            self._report = self._stamp = None
            return None
        stamp = (found.st_mtime_ns, found.st_size)
        if stamp != self._stamp:
            self._stamp, self._report = stamp, None
            try:
                self._report = read_report(path)
            except DataError as error:
                logger.warning("%s", error)
        return self._report


MAX_NAMED = 3
FEW_CASES = 10
"""With fewer, a bootstrap interval is too narrow."""


@dataclass(frozen=True, slots=True)
class Colours:
    """Text on its own ground, so that it can be read in a light and in a dark window: their contrast is 4.5 or more (WCAG AA)."""

    text: str
    ground: str


class Tone(Enum):
    """How a sentence is meant."""

    GOOD = Colours("#ffffff", "#1b6e3c")
    UNSURE = Colours("#1f1f1f", "#f5c26b")
    BAD = Colours("#ffffff", "#a61c1c")


TONES = {
    Outcome.BETTER: Tone.GOOD,
    Outcome.NO_DIFFERENCE: Tone.UNSURE,
    Outcome.TOO_FEW_CASES: Tone.UNSURE,
    Outcome.WORSE: Tone.BAD,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class VerdictView:
    """What a panel shows of a verdict."""

    tone: Tone
    sentence: str
    detail: str
    """What kind of interval it is."""
    question: str
    """Asked before the new model is used; empty where it is better."""


def view_of(verdict: Verdict) -> VerdictView:
    """The verdict for people."""
    return VerdictView(
        tone=TONES[verdict.outcome],
        sentence=_joined(
            _first_words(verdict),
            _worse_cases(verdict),
            _worse_prompts(verdict),
            _skipped(verdict),
            _flattered(verdict),
        ),
        detail=_detail(verdict),
        question=_question(verdict),
    )


def missing_proof(cases: list[Case]) -> str:
    """What is missing for a proof that a training helps; empty where there is enough, or nothing to train on."""
    roles = [case.role for case in cases if case.is_there]
    if "training" not in roles:
        return ""
    count = roles.count("test") or roles.count("validation")
    if count == 0:
        return _("No case is held out: no proof will be possible that training helps. Add two, or better three.")
    if count < MIN_CASES:
        return _("Held-out cases: {count}, too few for an interval; three or more give one.").format(count=count)
    return ""


def _first_words(verdict: Verdict) -> str:
    head = {
        Outcome.BETTER: _("Better on {better} of {count} held-out cases"),
        Outcome.WORSE: _("Worse on {worse} of {count} held-out cases"),
        Outcome.NO_DIFFERENCE: _("No difference shown: better on {better}, worse on {worse} of {count} held-out cases"),
        Outcome.TOO_FEW_CASES: _("Not enough held-out cases to tell: better on {better} of {count}"),
    }[verdict.outcome]
    words = head.format(better=verdict.num_better, worse=len(verdict.worse), count=len(verdict.cases))
    return _("{words}, Dice {change} ({certainty}).").format(
        words=words, change=f"{verdict.dice.difference:+z.2f}", certainty=_certainty(verdict)
    )


def _certainty(verdict: Verdict) -> str:
    low, high = verdict.dice.low, verdict.dice.high
    if low is None or high is None:
        return _("fewer than three cases, too few for an interval")
    return _("{low} to {high}").format(low=f"{low:+z.2f}", high=f"{high:+z.2f}")


def _worse_cases(verdict: Verdict) -> str:
    if not verdict.worse:
        return ""
    named = ", ".join(f"{case.case} ({case.difference:+.2f})" for case in verdict.worse[:MAX_NAMED])
    if len(verdict.worse) > MAX_NAMED:
        return _("Worse on {cases} and {more} more.").format(cases=named, more=len(verdict.worse) - MAX_NAMED)
    return _("Worse on {cases}.").format(cases=named)


def _worse_prompts(verdict: Verdict) -> str:
    sentences = {
        "box": _("Worse after a box ({change})."),
        "click": _("Worse after a click ({change})."),
        "scribble": _("Worse after a scribble ({change})."),
        "lasso": _("Worse after a lasso ({change})."),
    }
    return _joined(
        *(
            sentences[one.kind].format(change=f"{one.difference:+.2f}")
            for one in verdict.worse_prompts
            if one.kind in sentences
        )
    )


def _skipped(verdict: Verdict) -> str:
    if not verdict.skipped:
        return ""
    named = ", ".join(verdict.skipped[:MAX_NAMED]) + (", ..." if len(verdict.skipped) > MAX_NAMED else "")
    return _("Not measured: {cases}.").format(cases=named)


def _flattered(verdict: Verdict) -> str:
    if not verdict.cases_chose_checkpoint:
        return ""
    return _("These cases also chose the checkpoint: the gain is flattered. Hold out others for the test.")


def _detail(verdict: Verdict) -> str:
    dice = _("Dice of whole volumes after the first prompt.")
    if verdict.dice.low is None:
        return dice
    interval = _("The interval is a 95 % bootstrap interval over cases.")
    narrow = _("With fewer than ten cases it is too narrow.") if len(verdict.cases) < FEW_CASES else ""
    return _joined(dice, interval, narrow)


def _question(verdict: Verdict) -> str:
    if verdict.outcome is Outcome.BETTER:
        return ""
    reason = {
        Outcome.WORSE: _(
            "The new model is worse on held-out cases: Dice {before} before, {after} after, {drop} lower."
        ),
        Outcome.NO_DIFFERENCE: _(
            "Held-out cases do not show that the new model is better: Dice {before} before, {after} after."
        ),
        Outcome.TOO_FEW_CASES: _(
            "Too few cases were held out to tell whether the new model is better: Dice {before} before, {after} after."
        ),
    }[verdict.outcome].format(
        before=f"{verdict.dice.before:.2f}",
        after=f"{verdict.dice.after:.2f}",
        drop=f"{max(0.0, -verdict.dice.difference):.2f}",
    )
    return _joined(reason, _worse_cases(verdict), _worse_prompts(verdict), _("Use it nevertheless?"))


def _joined(*sentences: str) -> str:
    return " ".join(one for one in sentences if one)
