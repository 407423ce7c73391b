"""Loads the real `.ui` files: their custom widgets are the stand-ins, and connections that carry MRML objects are made in Python.

A class without a stand-in, or a property that the real widget does not have, is an error: Slicer would only warn, and go on without.
"""

import xml.etree.ElementTree as ET
from pathlib import Path

from PySide6.QtUiTools import QUiLoader as PySideLoader

from Testing.Qt.host import pythonqt
from Testing.Qt.host.stand_ins import STAND_INS
from Testing.Qt.host.widget_table import REAL_WIDGETS

qt = pythonqt.install()


class UiLoader(PySideLoader):
    """`qt.QUiLoader` as `slicer.util.loadUI` uses it."""

    def __init__(self):
        super().__init__()
        for kind in STAND_INS.values():
            self.registerCustomWidget(kind)

    def load(self, file, parent=None):
        path = Path(file.fileName())
        root = ET.parse(path).getroot()
        _check(path, root)
        links = _take_mrml_connections(root)
        buffer = qt.QBuffer()
        buffer.setData(ET.tostring(root))
        buffer.open(qt.QIODevice.ReadOnly)
        with pythonqt.loading_ui():
            form = super().load(buffer, parent)
        widgets = {form.objectName: form} | {one.objectName: one for one in form.findChildren(qt.QObject)}
        for sender, signal, receiver, slot in links:
            widgets[sender].connect(signal, getattr(widgets[receiver], slot.split("(")[0]))
        return form


def _check(path, root):
    declared = {one.findtext("class") for one in root.iter("customwidget")}
    for name in declared - STAND_INS.keys():
        raise LookupError(f"{path.name}: {name} has no stand-in")
    for widget in root.iter("widget"):
        kind = widget.get("class")
        if kind not in STAND_INS:
            continue
        if kind not in declared:
            raise LookupError(f"{path.name}: {kind} is not among its custom widgets")
        known = REAL_WIDGETS[kind].properties | INHERITED
        for one in widget.findall("property"):
            if one.get("name") not in known:
                raise LookupError(f"{path.name}: {kind} has no property {one.get('name')}")


INHERITED = frozenset(
    {"toolTip", "enabled", "visible", "objectName", "sizePolicy", "windowTitle", "minimumSize", "accessibleName"}
)


def _take_mrml_connections(root):
    links = []
    connections = root.find("connections")
    for one in [] if connections is None else list(connections):
        link = tuple(one.findtext(part) for part in ("sender", "signal", "receiver", "slot"))
        if "vtk" in link[1]:
            links.append(link)
            connections.remove(one)
    return links
