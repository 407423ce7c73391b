"""Translation of what a person reads: Slicer's own function where these rooms run in it, the text itself everywhere else.

Imported as `_`. Slicer finds the context of a text by the file that calls, so nothing may stand between the two.
"""

__all__ = ["tr"]

try:
    from slicer.i18n import tr
except ImportError:  # a scene without the application

    def tr(text: str) -> str:
        """The text as it is written."""
        return text
