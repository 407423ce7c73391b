"""Keys, only while the module is shown. One that presses a button works exactly when the button is enabled."""

from collections.abc import Callable, Mapping

import qt

from NeuroSAM2Qt.connections import connect


class Shortcuts:
    """Keys of a panel.

    Args:
        window: Where they are listened for, the main window; without one there are no keys.
        keys: What each key does.
    """

    def __init__(self, window: qt.QWidget | None, keys: Mapping[str, Callable[[], None]]) -> None:
        self._window, self._keys = window, keys
        self._shortcuts: list[qt.QShortcut] = []

    def install(self) -> None:
        """The module is shown."""
        self.uninstall()
        if self._window is None:
            return
        for key, act in self._keys.items():
            shortcut = qt.QShortcut(self._window)
            shortcut.setKey(qt.QKeySequence(key))
            connect(shortcut, "activated()", act)
            self._shortcuts.append(shortcut)

    def active(self) -> tuple[qt.QShortcut, ...]:
        """Those that are listened for now."""
        return tuple(self._shortcuts)

    def uninstall(self) -> None:
        """The module is left: the keys are free for others."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts = []
