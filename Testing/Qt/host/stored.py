"""Q_PROPERTYs of stand-ins that simply keep their value, where a C++ object would: out of the panels' reach."""

from PySide6.QtCore import Property


def stored(kind, name, default, on_change=None):
    """A Q_PROPERTY whose value is simply kept."""
    key = f"_{name}"

    def read(widget):
        return widget.__dict__.get(key, default)

    def write(widget, value):
        has_changed = read(widget) != value
        widget.__dict__[key] = value
        if has_changed and on_change is not None:
            on_change(widget)

    return Property(kind, read, write)
