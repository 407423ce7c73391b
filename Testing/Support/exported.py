"""Annotated cases for tests of training."""

from NeuroSAM2Lib.training.cases import CaseExport


def add_case(cases, name, image, labels, role="training"):
    """Writes a case whole and puts it on the list; returns the name that it got."""
    export = CaseExport(cases, name, image, labels, role)
    while not export.advance():
        pass
    return export.name
