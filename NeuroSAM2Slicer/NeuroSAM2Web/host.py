"""A scene for the browser. Questions are asked in the page before the action that needs the answer is done.

A controller asks while it acts and cannot wait. So the first time the answer is no, the question is shown with the action beside it;
if the person agrees, the action is done once more, and this time the answer is yes.
"""

from collections.abc import Callable
from pathlib import Path

from NeuroSAM2Lib.headless.application import HeadlessApplication


class WebHost(HeadlessApplication):
    """A `Host`.

    Args:
        folder: Where scene bundles are unpacked and journals are kept.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.question = ""
        """What the person is asked now; empty while there is nothing."""
        self._action: Callable[[], None] = lambda: None
        self._asked_in: Callable[[], None] = lambda: None
        self._granted = ""

    def confirm(self, question: str) -> bool:
        """See `Host`."""
        if question == self._granted:
            return True
        self.question, self._asked_in = question, self._action
        return False

    def attempt(self, action: Callable[[], None]) -> None:
        """Does something that may ask."""
        self._action = action
        action()

    def answer(self, *, is_yes: bool) -> None:
        """The person has answered; after a yes, what was asked for is done."""
        question, self.question = self.question, ""
        if is_yes and question:
            self._granted = question
            self.attempt(self._asked_in)
            self._granted = ""
