"""Keys that press buttons, only while the module is shown. A key works exactly when its button is enabled."""

import qt


class Shortcuts:
    """Keys of buttons.

    Args:
        window: Where they are listened for, the main window; without one there are no keys.
        keys: Button and key, as on its face.
    """

    def __init__(self, window: qt.QWidget | None, keys: dict[str, qt.QAbstractButton]) -> None:
        self._window, self._keys = window, keys
        self._shortcuts: list[qt.QShortcut] = []

    def install(self) -> None:
        """The module is shown."""
        self.uninstall()
        if self._window is None:
            return
        for key, button in self._keys.items():
            shortcut = qt.QShortcut(self._window)
            shortcut.setKey(qt.QKeySequence(key))
            shortcut.connect("activated()", button.click)
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
