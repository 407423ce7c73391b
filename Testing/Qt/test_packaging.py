"""What Slicer builds and lists: every file is packaged, the index entry keeps the rules, the self tests pass."""

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import slicer

from Testing.Qt.host.modules import load_module
from Testing.Qt.panel_user import SLICER, PanelUser

ROOT = Path(__file__).parents[2]
STUBS = """
set(Slicer_FOUND TRUE)
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/use.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/empty.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/empty.cmake)
"""
USE = """
include(CMakeParseArguments)
macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(M "WITH_GENERIC_TESTS" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  foreach(file ${M_SCRIPTS} ${M_RESOURCES})
    file(APPEND ${CMAKE_BINARY_DIR}/packaged.txt "${CMAKE_CURRENT_SOURCE_DIR}/${file}\\n")
  endforeach()
endmacro()
function(ctkMacroCompilePythonScript)
  cmake_parse_arguments(M "NO_INSTALL_SUBDIR" "TARGET_NAME;SOURCE_DIR;DESTINATION_DIR;INSTALL_DIR" "SCRIPTS;RESOURCES" ${ARGN})
  foreach(file ${M_SCRIPTS} ${M_RESOURCES})
    file(APPEND ${CMAKE_BINARY_DIR}/packaged.txt "${M_SOURCE_DIR}/${file}\\n")
  endforeach()
endfunction()
"""
LIMIT_MB = 100
INPUTS = {
    "QDoubleSpinBox",
    "QPushButton",
    "QComboBox",
    "QSpinBox",
    "QLineEdit",
    "QCheckBox",
    "QTableWidget",
    "QSlider",
    "QPlainTextEdit",
} | {
    "qMRMLNodeComboBox",
    "ctkPathLineEdit",
}
CATEGORIES = {"Segmentation", "Neuroimaging", "Active Learning"}


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_every_source_and_resource_is_packaged(tmp_path):
    (tmp_path / "SlicerConfig.cmake").write_text(STUBS, encoding="utf-8")
    (tmp_path / "use.cmake").write_text(USE, encoding="utf-8")
    (tmp_path / "empty.cmake").write_text("", encoding="utf-8")
    build = tmp_path / "build"
    command = [
        "cmake",
        "-S",
        str(ROOT),
        "-B",
        str(build),
        f"-DSlicer_DIR={tmp_path}",
        "-Wno-dev",
        "-DBUILD_TESTING=OFF",
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, encoding="utf-8")
    assert ran.returncode == 0, ran.stderr
    packaged = {Path(line).resolve() for line in (build / "packaged.txt").read_text(encoding="utf-8").splitlines()}
    rooms = ("NeuroSAM2Core", "NeuroSAM2Slicer/NeuroSAM2Lib", "NeuroSAM2Slicer/NeuroSAM2Qt")
    modules = ("NeuroSAM2Slicer/NeuroSAM2Segment", "NeuroSAM2Slicer/NeuroSAM2Train")
    wanted = {path for room in (*rooms, *modules) for path in (ROOT / room).rglob("*.py")}
    wanted |= {path for module in modules for path in (ROOT / module / "Resources").rglob("*.*")}
    wanted |= set((ROOT / "NeuroSAM2Core").rglob("*.toml")) | set((ROOT / "NeuroSAM2Core" / "weights").glob("*"))
    assert wanted - packaged == set()
    assert all(path.is_file() for path in packaged)


def test_the_index_entry_keeps_the_rules():
    entry = json.loads((ROOT / "NeuroSAM2.json").read_text(encoding="utf-8"))
    assert {"$schema", "category", "scm_url"} <= entry.keys()
    assert entry.keys() <= {
        "$schema", "category", "scm_url", "scm_revision", "scm_type", "build_dependencies", "build_subdirectory", "enabled", "tier",
    }  # fmt: skip
    assert entry["category"] in CATEGORIES
    assert re.fullmatch(r"https://github\.com/[\w-]+/Slicer\w+\.git", entry["scm_url"])
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.search(r"^project\(NeuroSAM2\)", cmake, re.MULTILINE)
    assert entry["build_dependencies"] == re.search(r'EXTENSION_DEPENDS "(.*)"', cmake)[1].split()
    for url in re.findall(r"https://raw\.githubusercontent\.com/\S+?\.(?:png|jpg)", cmake):
        assert (ROOT / url.split("/main/")[1]).is_file(), url
    assert (ROOT / "LICENSE").is_file()


def test_the_repository_is_small_enough_for_the_index():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False, encoding="utf-8"
    )
    if listed.returncode != 0:
        pytest.skip("this is no git checkout")
    size = sum((ROOT / name).stat().st_size for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())
    assert size < LIMIT_MB * 1e6 / 2  # the other half is for history


def is_read_only(widget):
    return any(one.get("name") == "readOnly" for one in widget.findall("property"))


@pytest.mark.parametrize("name", ["NeuroSAM2Segment", "NeuroSAM2Train"])
def test_the_tab_key_visits_everything_from_top_to_bottom(name):
    form = ET.parse(SLICER / name / "Resources" / "UI" / f"{name}.ui").getroot()
    reached = [one.text for one in form.iter("tabstop")]
    shown = [one.get("name") for one in form.iter("widget") if one.get("class") in INPUTS and not is_read_only(one)]
    assert reached == shown


def test_the_self_tests_that_slicer_runs_pass(slicer_app, loop):
    user = PanelUser(slicer_app, loop)
    try:
        user.module.module.runTest()
        train = load_module(SLICER / "NeuroSAM2Train" / "NeuroSAM2Train.py")
        train.module.runTest()
        train.close()
    finally:
        user.close()


def test_the_practice_volume_needs_no_network(slicer_app, loop):
    user = PanelUser(slicer_app, loop)
    try:
        user.ui.stateButton.click()
        node = user.ui.volumeSelector.currentNode()
        assert node.GetName().startswith("NeuroSAM2 practice head")
        assert node.GetImageData().GetScalarRange()[1] > 200
        shown = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode").GetBackgroundVolumeID()
        assert shown == node.GetID()
    finally:
        user.close()
