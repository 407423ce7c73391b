"""The host is as strict as PythonQt and Slicer: what they refuse is refused here."""

import time

import pytest
import slicer

from Testing.Qt.host.stand_ins import STAND_INS
from Testing.Qt.host.widget_table import REAL_WIDGETS


def declared(kind):
    """What a stand-in offers of its own, by name."""
    own = [one for one in kind.__mro__ if one.__name__ in STAND_INS]
    return {name for one in own for name in vars(one) if not name.startswith("_")}


QT_OVERRIDES = {"showEvent", "paintEvent", "hitButton", "sizeHint", "minimumSizeHint", "staticMetaObject", "SIGNATURES"}
ENUMS = {"Dirs", "Files"}


@pytest.mark.parametrize("name", sorted(STAND_INS))
def test_a_stand_in_offers_nothing_that_the_real_widget_lacks(name):
    real = REAL_WIDGETS[name]
    inherited = {"mrmlSceneChanged"} if issubclass(STAND_INS[name], STAND_INS["qMRMLWidget"]) else set()
    signals = {one.split("(")[0] for one in real.signals} | inherited
    assert declared(STAND_INS[name]) <= real.properties | signals | real.methods | QT_OVERRIDES | ENUMS


def test_a_property_hides_the_getter_of_its_name(qt):
    button = qt.QPushButton("Go")
    button.text = "Stop"
    assert button.text == "Stop"
    with pytest.raises(TypeError):
        button.text()


def test_a_c_object_takes_no_new_attributes_but_a_python_subclass_does(qt):
    class Panel(qt.QWidget):
        pass

    panel = Panel()
    panel.mine = 1
    with pytest.raises(AttributeError, match="not allowed"):
        qt.QWidget().mine = 1
    with pytest.raises(AttributeError, match="overwritten"):
        qt.QPushButton().click = print
    assert panel.mine == 1


def test_a_signal_that_qt_lacks_is_refused(qt):
    combo = qt.QComboBox()
    for signature in ("currentIndexChanged(QString)", "activated(QString)", "changed()"):
        with pytest.raises(ValueError, match="signal"):
            combo.connect(signature, print)
    with pytest.raises(ValueError, match="by its signature"):
        qt.QPushButton().clicked.connect(print)


def test_a_function_gets_no_more_arguments_than_it_takes(qt):
    button, got = qt.QPushButton(), []
    button.connect("clicked(bool)", lambda: got.append("none"))
    button.connect("clicked(bool)", lambda is_checked: got.append(is_checked))
    button.click()
    assert got == ["none", False]


def test_what_a_callback_raises_is_printed_and_kept(qt, capsys):
    from Testing.Qt.host.signals import failures

    def fail():
        raise RuntimeError("on purpose")

    button = qt.QPushButton()
    button.connect("clicked()", fail)
    button.click()
    assert "on purpose" in failures.pop()
    assert "on purpose" in capsys.readouterr().err


def test_a_form_with_an_unknown_widget_or_property_is_refused(qt, tmp_path):
    form = tmp_path / "form.ui"
    head = '<ui version="4.0"><class>F</class><widget class="qMRMLWidget" name="F">{}</widget><customwidgets>{}</customwidgets></ui>'
    custom = "<customwidget><class>{}</class><extends>QWidget</extends><header>h</header></customwidget>"
    for inside, name, message in (
        ("", "ctkUnheardOf", "has no stand-in"),
        ('<property name="cleverness"><bool>true</bool></property>', "qMRMLWidget", "has no property cleverness"),
    ):
        form.write_text(head.format(inside, custom.format(name)), encoding="utf-8")
        file = qt.QFile(str(form))
        file.open(qt.QIODevice.ReadOnly)
        with pytest.raises(LookupError, match=message):
            qt.QUiLoader().load(file)


def test_a_node_box_follows_the_scene(slicer_app):
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.noneEnabled = True
    box.setMRMLScene(slicer_app.mrmlScene())
    heard = []
    box.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: heard.append(node and node.GetName()))
    node = slicer_app.mrmlScene().AddNewNodeByClass("vtkMRMLScalarVolumeNode", "T1")
    assert box.nodeCount() == 1
    box.setCurrentNode(node)
    slicer_app.mrmlScene().RemoveNode(node)
    assert heard == ["T1", None]
    with pytest.raises(ValueError, match="no such signal"):
        box.connect("currentNodeChanged(vtkMRMLVolumeNode*)", print)


@pytest.fixture
def box(slicer_app):
    """A node box that listens, and what it has said by each signal."""
    one = slicer.qMRMLNodeComboBox()
    one.nodeTypes, one.noneEnabled = ["vtkMRMLScalarVolumeNode"], True
    heard = []
    for name in ("currentNodeChanged", "nodeActivated"):
        one.connect(f"{name}(vtkMRMLNode*)", lambda node, name=name: heard.append((name, node)))
    yield one, heard
    one.setMRMLScene(None)


def test_a_node_box_says_at_once_that_nothing_is_chosen_when_it_gets_its_scene(slicer_app, box):
    one, heard = box
    slicer_app.mrmlScene().AddNewNodeByClass("vtkMRMLScalarVolumeNode", "T1")
    one.setMRMLScene(slicer_app.mrmlScene())
    assert heard == [("currentNodeChanged", None)]


def test_a_node_box_says_what_is_chosen_only_where_the_shown_text_changes(slicer_app, box, qt):
    one, heard = box
    first, second = (slicer_app.mrmlScene().AddNewNodeByClass("vtkMRMLScalarVolumeNode", "T1") for _ in range(2))
    one.setMRMLScene(slicer_app.mrmlScene())
    one.setCurrentNode(first)
    heard.clear()
    one.setCurrentNode(second)
    assert (one.currentNode(), heard) == (second, [])
    one.findChild(qt.QComboBox, "ComboBox").activated.emit(1)
    assert heard == [("nodeActivated", first)]
    first.SetName("renamed")
    assert heard[1:] == [("currentNodeChanged", first)]


def test_a_node_box_falls_on_the_neighbour_of_what_is_deleted(slicer_app, box):
    one, heard = box
    first, second = (slicer_app.mrmlScene().AddNewNodeByClass("vtkMRMLScalarVolumeNode", name) for name in ("a", "b"))
    one.setMRMLScene(slicer_app.mrmlScene())
    one.setCurrentNode(first)
    slicer_app.mrmlScene().RemoveNode(first)
    assert heard[-1] == ("currentNodeChanged", second)


def test_the_editor_writes_back_at_the_end_of_a_batch_what_its_selectors_show(slicer_app):
    scene = slicer_app.mrmlScene()
    editor, settings = slicer.qMRMLSegmentEditorWidget(), scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    editor.setMRMLScene(scene)
    editor.setMRMLSegmentEditorNode(settings)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    scene.StartState(scene.BatchProcessState)
    editor.setSegmentationNode(node)
    assert settings.GetSegmentationNode() is node
    assert editor.segmentationNode() is None
    scene.EndState(scene.BatchProcessState)
    assert settings.GetSegmentationNode() is None
    editor.setSegmentationNode(node)
    assert editor.segmentationNode() is node
    editor.setMRMLScene(None)


def test_the_log_has_errors_of_widgets_loggers_and_vtk(slicer_app):
    import logging

    import vtk

    from Testing.Qt.host.log import errors

    editor = slicer.qMRMLSegmentEditorWidget()
    editor.setSourceVolumeNode(slicer_app.mrmlScene().AddNewNodeByClass("vtkMRMLScalarVolumeNode", "T1"))
    logging.getLogger("ours").error("on purpose")
    reader = vtk.vtkPNGReader()
    reader.SetFileName("nowhere.png")
    reader.Update()
    assert len(errors) >= 3
    errors.clear()


def test_a_click_in_a_view_lands_where_the_view_says(slicer_app):
    logic = slicer_app.applicationLogic()
    points = slicer_app.mrmlScene().AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "P")
    points.CreateDefaultDisplayNodes()
    for name in slicer_app.layoutManager().sliceViewNames():
        view = slicer_app.layoutManager().sliceWidget(name).view
        slicer.modules.markups.logic().SetActiveList(points)
        logic.GetInteractionNode().SetCurrentInteractionMode(slicer.vtkMRMLInteractionNode.Place)
        view.click(120, 170)
        place = points.GetNthControlPointPositionWorld(points.GetNumberOfControlPoints() - 1)
        assert view.to_xy(place) == (120, 170)


def test_the_loop_measures_what_blocks_the_window(qt, loop):
    for block in (lambda: time.sleep(0.15), lambda: sum(range(30_000_000))):
        loop.longest_s = 0.0
        qt.QTimer.singleShot(0, block)
        loop.turn()
        assert loop.longest_s > 0.1


def test_missing_libraries_are_named_with_the_command_that_brings_them(monkeypatch):
    from Testing.Support import panel_libraries as libraries

    assert libraries.what_is_missing() == ""
    monkeypatch.setattr(libraries.ctypes.util, "find_library", lambda name: None if name == "EGL" else "there")
    monkeypatch.setattr(libraries.importlib.util, "find_spec", lambda name: None if name == "PySide6" else "there")
    assert libraries.what_is_missing() == (
        "the panels are not tested: apt-get install libegl1 libgl1-mesa-dri and pip install pyside6-essentials"
    )
