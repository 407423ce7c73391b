"""Building blocks of the page: our own parts of `client/`, and buttons that bear their keys."""

from collections.abc import Callable, Mapping, Sequence

from trame.widgets import html
from trame.widgets import vuetify3 as v3
from trame_client.widgets.core import HtmlElement

Properties = str | tuple[str]
"""A text, or an expression of the page's state."""


def slice_view(**attributes: object) -> HtmlElement:
    """A slice view: its picture and the mouse in it."""
    return _part("ns-slice-view", ["name", "label", "number", "tool", "about", "previews"], attributes)


def surface_view(**attributes: object) -> HtmlElement:
    """The 3D view: its picture and the mouse in it."""
    return _part("ns-surface-view", ["number"], attributes)


def slice_bar(**attributes: object) -> HtmlElement:
    """The slider below a slice view, which is the quality strip as well where the object lies along the view."""
    return _part("ns-slice-bar", ["name", "label", "index", "count", "cells"], attributes)


def curves(**attributes: object) -> HtmlElement:
    """The curves of a training run."""
    return _part("ns-curves", ["drawing"], attributes)


def section(title: str) -> None:
    """The title of a part of a panel."""
    html.Div(title, classes="ns-section")


def switch(label: str, **attributes: object) -> None:
    """A switch with its label.

    Args:
        label: Beside it.
        attributes: As for any of Vuetify's.
    """
    v3.VSwitch(label=label, density="compact", hide_details=True, color="primary", inset=True, **attributes)


def progress(percent: str, *, is_unknown: str) -> None:
    """How far something is.

    Args:
        percent: An expression of the page's state, 0 to 100.
        is_unknown: One that is true while it is unknown.
    """
    v3.VProgressLinear(model_value=(percent,), indeterminate=(is_unknown,), height=6, color="primary", rounded=True)


def choices(titles: Mapping[str, str]) -> list[dict[str, str]]:
    """Values and their titles, in the form of Vuetify's lists."""
    return [{"value": value, "title": title} for value, title in titles.items()]


def key_button(
    text: str,
    key: str = "",
    *,
    tip: Properties = "",
    icon: str = "",
    size: str = "small",
    variant: str = "tonal",
    raw_marks: Sequence[str] = (),
    **attributes: object,
) -> None:
    """A button that a key presses, too.

    Args:
        text: On it.
        key: Such as P or Ctrl+Z; empty for none.
        tip: What it does, for whoever points at it.
        icon: Before the text.
        size: Of Vuetify.
        variant: Of Vuetify.
        raw_marks: More attributes, as in HTML.
        attributes: As for any Vuetify button.
    """
    marks = [f'data-key="{key}"', f'aria-keyshortcuts="{key.replace("Ctrl", "Control")}"'] if key else []
    with v3.VBtn(title=tip or text, size=size, variant=variant, raw_attrs=[*marks, *raw_marks], **attributes):
        if icon:
            v3.VIcon(icon, start=True)
        html.Span(text)
        if key:
            html.Kbd(key, classes="ns-key")


def _part(tag: str, properties: list[str], attributes: dict[str, object]) -> HtmlElement:
    element = HtmlElement(tag, **attributes)
    element._attr_names += properties
    return element


def path_row(listing: str, enter: Callable[[str], object], text_class: str) -> None:
    """The folder that a list of files shows, and a button for the one above it.

    Args:
        listing: The page's variable that holds the list.
        enter: Is called with the folder above.
        text_class: How a long path is drawn.
    """
    with html.Div(classes="d-flex align-center ga-2 mb-2"):
        v3.VBtn(
            icon="mdi-arrow-up",
            size="small",
            variant="tonal",
            title="One folder up",
            disabled=(f"{listing}.parent === null",),
            click=(enter, f"[{listing}.parent]"),
        )
        html.Span(f"{{{{ {listing}.folder || 'Folders that the app may use' }}}}", classes=f"text-body-2 {text_class}")
