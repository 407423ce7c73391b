"""What a package index shows and installs: one name to import, what runs without Slicer, full addresses, commands that work."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml
from setuptools import find_packages

import neurosam2
import NeuroSAM2Core
from NeuroSAM2Core.training.config.fine_tuning import presets

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RAW = "https://raw.githubusercontent.com/neurosam2/SlicerNeuroSAM2/main/"


def test_neurosam2_offers_the_public_names():
    assert neurosam2.__all__ == NeuroSAM2Core.__all__
    assert all(getattr(neurosam2, name) is getattr(NeuroSAM2Core, name) for name in neurosam2.__all__)


def test_python_m_neurosam2_is_the_command_line():
    command = [sys.executable, "-m", "neurosam2", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=True)
    assert "segment" in done.stdout


def test_only_what_runs_without_slicer_is_in_the_wheel():
    rules = PROJECT["tool"]["setuptools"]["packages"]["find"]
    found = [name for folder in rules["where"] for name in find_packages(str(ROOT / folder), include=rules["include"])]
    assert {name.split(".")[0] for name in found} == {"NeuroSAM2Core", "NeuroSAM2Lib", "NeuroSAM2Web"}
    assert PROJECT["tool"]["setuptools"]["py-modules"] == ["neurosam2"]


def test_the_files_beside_the_code_are_in_the_wheel():
    packed = set()
    for package, patterns in PROJECT["tool"]["setuptools"]["package-data"].items():
        (folder,) = (path for path in (ROOT / package, ROOT / "NeuroSAM2Slicer" / package) if path.is_dir())
        for pattern in patterns:
            found = {path.name for path in folder.glob(pattern)}
            assert found, f"{package}: {pattern}"
            packed |= found
    assert {f"{name}.toml" for name in presets()} <= packed


def test_the_readme_shows_its_pictures_on_other_sites_too():
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert pictures
    for address in pictures:
        assert address.startswith(RAW), address
        assert (ROOT / address.removeprefix(RAW)).is_file(), address


def test_nothing_is_installed_by_a_name_that_is_not_published():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
    pages += [*ROOT.glob("NeuroSAM2*/**/*.py"), *(ROOT / "cuda_ext").glob("*.md")]
    for page in pages:
        for line in page.read_text(encoding="utf-8").splitlines():
            assert not re.search(r"pip install [\"']?neurosam2", line), f"{page}: {line}"


def test_the_citation_names_licence_and_code():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["repository-code"] == PROJECT["project"]["urls"]["Homepage"]


def test_a_package_index_has_all_that_it_shows():
    project = PROJECT["project"]
    assert {"description", "readme", "license", "authors", "maintainers", "keywords", "classifiers"} <= project.keys()
    assert {"Homepage", "Documentation", "Repository", "Changelog", "Issues"} <= project["urls"].keys()
