"""Slicer's error log: what its widgets, VTK and our own code write there. A session without a fault leaves it empty."""

import logging

import vtk

ERROR, WARNING = "Error", "Warning"
LEVEL_COLUMN = 2

errors = []
"""What was written as an error, oldest first."""
entries = []
"""All there ever was, oldest first: level and text."""


def log_error(text):
    """What a widget of Slicer's logs as an error (qCritical)."""
    errors.append(text)
    entries.append((ERROR, text))


def log_warning(text):
    """What Slicer shows there without a red sign."""
    entries.append((WARNING, text))


class ErrorLogModel:
    """ctkErrorLogAbstractModel, as far as Python reaches it, and the model of rows behind it."""

    logEntryGrouping = True

    def logEntryCount(self):
        return len(entries)

    def logEntryDescription(self, row):
        return entries[row][1]

    def sourceModel(self):
        return self

    def index(self, row, column):
        return row, column

    def data(self, index):
        row, column = index
        return entries[row][0] if column == LEVEL_COLUMN else None


class _Handler(logging.Handler):
    def emit(self, record):
        log = log_error if record.levelno >= logging.ERROR else log_warning
        log(self.format(record))


def open_log():
    """Errors and warnings of VTK and of Python's loggers go into the log from now on."""
    logging.getLogger().addHandler(_Handler(logging.WARNING))

    def hear(_window, event, text):
        (log_error if event == "ErrorEvent" else log_warning)(text)

    hear.CallDataType = vtk.VTK_STRING
    for event in ("ErrorEvent", "WarningEvent"):
        vtk.vtkOutputWindow.GetInstance().AddObserver(event, hear)
