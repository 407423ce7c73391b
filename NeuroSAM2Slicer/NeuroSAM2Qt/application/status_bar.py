"""What goes on in the background, in the status bar of Slicer's main window, where it is seen from every module."""

import slicer


class StatusBar:
    """One sentence of ours; what others write there stays while we have nothing to say."""

    def __init__(self) -> None:
        self._shown = ""

    def show(self, sentence: str) -> None:
        """This from now on; empty for nothing."""
        if sentence != self._shown:
            self._shown = sentence
            slicer.util.showStatusMessage(sentence)
