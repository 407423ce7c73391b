"""What the mouse and the keys do, one click away."""

from trame.widgets import html
from trame.widgets import vuetify3 as v3

IN_SHORT = (
    "Press X and drag a box around something in a slice view. Press A: the outline goes through the other slices. Where it is wrong, "
    "press P or N and click; only what depends on that slice is done again."
)
MOUSE = (
    ("Click with Include, Exclude or Box in hand", "Say what belongs to the object"),
    ("Point with Include or Exclude in hand", "See as a line what a click there would give"),
    ("Wheel, or arrow up and down", "The next slice"),
    ("Move with Shift", "Show the slices through the pointer in the other views"),
    ("Drag, with no tool in hand", "Brightness and contrast"),
    ("Drag with the middle button, or with Shift", "Move the picture"),
    ("Drag with the right button, or with Ctrl", "Zoom"),
)
KEYS = (
    ("P, N, X", "Include, Exclude, Box; once more puts the tool down, and so does Escape"),
    ("E", "The next outline that a single click can mean"),
    ("O, M", "Next object, use its mask"),
    ("H", "Hide all objects, or show them again"),
    ("1 to 5", "One view, each axis, with 3D, large 3D, second image side by side"),
    ("I, F", "Invert the image, show all of it"),
    ("A, Q", "Propagate, stop"),
    ("C, D", "Confirm this slice, go to the next doubtful one"),
    ("W, Shift+W, L", "Scribble through what belongs or does not belong to the object; lasso around it"),
    ("Shift+P, Shift+E, Shift+L", "Brush, eraser, scissors"),
    ("K, Shift+K", "Keep or remove the part of the object that is clicked on"),
    ("Shift+F, Shift+N", "Fill between confirmed slices; the object is not on this slice"),
    ("U, J", "Copy what is on this slice to the next one, or to the one before"),
    ("Ctrl+Z, Ctrl+Y", "Undo, redo"),
    ("Ctrl+O, Ctrl+S", "Open, save"),
)


def build_help() -> None:
    """The dialog; shown while `helps` is true."""
    with v3.VDialog(v_model=("helps",), max_width=560), v3.VCard(title="How it works"):
        with v3.VCardText():
            html.P(IN_SHORT, classes="mb-3")
            for title, lines in (("Mouse", MOUSE), ("Keys", KEYS)):
                html.Div(title, classes="ns-section")
                with html.Table(classes="ns-help mb-2"):
                    for cause, effect in lines:
                        with html.Tr():
                            html.Td(cause)
                            html.Td(effect)
        with v3.VCardActions():
            v3.VSpacer()
            v3.VBtn("Close", click="helps = false", color="primary")
