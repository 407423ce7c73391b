"""The workflow of the public forge, and the entries for systems without `make`, do what pyproject.toml and the Makefile say."""

import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHON = "Programming Language :: Python :: "
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

sys.path.insert(0, str(ROOT / "tools"))
import make  # noqa: E402

sys.path.pop(0)


@pytest.fixture
def jobs():
    return yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]


@pytest.fixture
def scripts(jobs):
    """What the jobs run, line by line."""
    steps = [step for job in jobs.values() for step in job["steps"]]
    return [line for step in steps for line in step.get("run", "").splitlines()]


def claimed():
    return [line.removeprefix(PYTHON) for line in PROJECT["classifiers"] if line.startswith(PYTHON)]


def test_every_python_that_is_claimed_is_tested_on_every_system(jobs):
    matrix = jobs["test"]["strategy"]["matrix"]
    assert matrix["python"] == claimed()
    assert [os.partition("-")[0] for os in matrix["os"]] == ["ubuntu", "windows", "macos"]
    assert jobs["test"]["runs-on"] == "${{ matrix.os }}"


def test_the_oldest_python_is_the_one_that_is_required(jobs):
    assert PROJECT["requires-python"] == f">={claimed()[0]}"
    assert tuple(map(int, claimed()[0].split("."))) == make.OLDEST


def test_every_script_that_is_called_is_there(scripts):
    words = [word for line in scripts for word in shlex.split(line)]
    called = [word for word in words if word.endswith((".py", ".sh", ".ps1"))]
    assert called
    assert [word for word in called if not (ROOT / word).is_file()] == []


def test_every_entry_that_is_called_is_there(scripts):
    entries = re.findall(r"^([a-z][\w-]*):", MAKEFILE, re.MULTILINE)
    called = [line.split()[1] for line in scripts if line.startswith("make ")]
    assert {"check", "test"} <= set(called) <= set(entries)
    assert [line.split()[1] for line in scripts if line.startswith("./make.ps1")] == ["test"]


def test_slicers_own_image_runs_the_scenarios(jobs):
    assert "slicer" in jobs["slicer"]["container"]["image"]
    assert any("tools/slicer_scenarios.sh" in step.get("run", "") for step in jobs["slicer"]["steps"])
    script = (ROOT / "tools" / "slicer_scenarios.sh").read_text(encoding="utf-8")
    assert "Testing/Slicer/run.py" in script


@pytest.mark.parametrize("entry", ["check", "test", "docs", "demo"])
def test_the_entries_without_make_run_what_the_makefile_runs(entry):
    recipe = re.search(rf"^{entry}: (?:setup|\$\(APP_STAMP\))\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)[1]
    lines = [line.strip() for line in recipe.splitlines() if "lint-imports" not in line]
    expected = [" ".join(("$(BIN)/python", *command)) for command in make.ENTRIES[entry]]
    assert expected == [re.sub(r"\$\(BIN\)/(ruff|mypy)", r"$(BIN)/python -m \1", line) for line in lines]


def test_the_readme_names_the_form_for_powershell():
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    for entry in ("demo", "test"):
        assert f"make {entry}" in page
        assert rf".\make.ps1 {entry}" in page
    assert "tools/make.py" in (ROOT / "make.ps1").read_text(encoding="utf-8")


def navigated(nav):
    """The pages of the site's navigation."""
    if isinstance(nav, str):
        return {nav}
    return set().union(*map(navigated, nav.values() if isinstance(nav, dict) else nav))


def test_the_site_has_every_page_and_every_package_is_in_its_reference():
    pages = navigated(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    shown = {page for page in pages if not page.startswith("api/")}
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert {page for page in there if not page.startswith("adr/0")} == shown
    packages = {f"api/NeuroSAM2Core.{path.parent.name}.md" for path in (ROOT / "NeuroSAM2Core").glob("*/__init__.py")}
    library = ROOT / "NeuroSAM2Slicer" / "NeuroSAM2Lib"
    packages |= {f"api/NeuroSAM2Lib.{path.parent.name}.md" for path in library.glob("*/__init__.py")}
    left_out = {"api/NeuroSAM2Core.cli.md", "api/NeuroSAM2Lib.headless.md"}
    modules = ("errors", "repair", "summary")
    assert pages - shown == packages - left_out | {
        "api/neurosam2.md",
        *(f"api/NeuroSAM2Core.{name}.md" for name in modules),
    }


def test_every_decision_record_is_in_the_index():
    index = (ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "docs" / "adr").glob("0*.md")):
        number, title = re.match(r"# (\d+)\. (.+)", path.read_text(encoding="utf-8")).groups()
        assert f"| {number} | [{title}]({path.name}) |" in index


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_an_issue_form_asks_something_of_everyone(name):
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text(encoding="utf-8"))
    assert form["name"]
    assert form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_an_environment_is_made_once_and_used_as_this_system_lays_it_out(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(make, "run", lambda command, check=True: ran.append(list(command)) or 0)
    venv = tmp_path / "venv"
    venv.mkdir()
    for _ in range(2):
        assert make.main(["demo", "--venv", str(venv)]) == 0
    python = str(make.python_of(venv))
    demo = [python, "tools/demo.py", "demo"]
    made = [sys.executable, "-m", "venv", str(venv)]
    assert ran == [made, [python, "tools/install.py", "app"], demo, demo]
    assert make.main(["test", "--venv", str(venv)]) == 0
    assert ran[4:] == [made, [python, "tools/install.py"], [python, "-m", "pytest"]], "tests need more than the demo"
    assert make.main(["demo", "--venv", str(venv)]) == 0
    assert ran[7:] == [demo]
    monkeypatch.setattr(make, "IS_WINDOWS", True)
    assert make.python_of(Path("venv")).parts[-2:] == ("Scripts", "python.exe")
