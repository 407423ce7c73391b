"""Stand-ins for the qMRML and ctk widgets that the panels use. `widget_table` says what they may offer.

Their state is kept in `__dict__`, as a C++ object would keep it: nothing of it can be reached from the panels.
"""

from Testing.Qt.host import pythonqt
from Testing.Qt.host.ctk_widgets import ctkCollapsibleButton, ctkPathLineEdit
from Testing.Qt.host.qmrml_widgets import qMRMLNodeComboBox, qMRMLSegmentEditorWidget, qMRMLWidget

STAND_INS = {
    kind.__name__: pythonqt.native(kind)
    for kind in (qMRMLWidget, qMRMLNodeComboBox, qMRMLSegmentEditorWidget, ctkCollapsibleButton, ctkPathLineEdit)
}
