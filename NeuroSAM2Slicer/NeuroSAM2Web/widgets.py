"""Building blocks of the page: our own parts of `client/`, and a button with its key on it."""

from pathlib import Path

from trame.widgets import html
from trame.widgets import vuetify3 as v3
from trame_client.widgets.core import HtmlElement

MODULE = {
    "serve": {"__neurosam2": str(Path(__file__).with_name("client"))},
    "scripts": ["__neurosam2/neurosam2.js"],
    "styles": ["__neurosam2/neurosam2.css"],
    "vue_use": ["NeuroSAM2"],
}
"""What the server hands out, as trame wants it said."""


def slice_view(**said: object) -> HtmlElement:
    """A slice view: its picture and the mouse in it."""
    return _part("ns-slice-view", ["name", "label", "number", "tool", "about"], said)


def slice_bar(**said: object) -> HtmlElement:
    """The slider below a slice view, which is the quality ribbon as well where the object lies along the view."""
    return _part("ns-slice-bar", ["name", "label", "index", "count", "cells"], said)


def key_button(text: str, key: str, *, tip: str = "", **said: object) -> v3.VBtn:
    """A button that a key presses, too.

    Args:
        text: On it.
        key: Such as P or Ctrl+Z; empty for none.
        tip: What it does, for whoever points at it.
        said: As for any Vuetify button.
    """
    attributes = (
        {"raw_attrs": [f'data-key="{key}"', f'aria-keyshortcuts="{key.replace("Ctrl", "Control")}"']} if key else {}
    )
    with v3.VBtn(
        title=tip or text, density="comfortable", variant="tonal", size="small", **attributes, **said
    ) as button:
        html.Span(text)
        if key:
            html.Kbd(key, classes="ns-key")
    return button


def _part(tag: str, properties: list[str], said: dict[str, object]) -> HtmlElement:
    element = HtmlElement(tag, **said)
    element._attr_names += properties
    return element
