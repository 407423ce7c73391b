"""Slicer's translation functions: the context of a text is the file that asks, with its package."""

import inspect
from pathlib import Path

import slicer


def translate(context, text):
    application = getattr(slicer, "app", None)
    return text if application is None else application.translate(context, text)


def tr(text):
    path = Path(inspect.currentframe().f_back.f_code.co_filename)
    is_in_package = (path.parent / "__init__.py").is_file()
    return translate(f"{path.parent.name}.{path.stem}" if is_in_package else path.stem, text)
