"""The app in a browser for every test that asks for it; skipped with a reason where the machine lacks a browser or what drawing needs."""

import importlib.util
import shutil

import pytest

from Testing.Support.left_out import TestModule
from Testing.Support.offscreen import missing_libraries

NEEDED = ("trame", "trame_vuetify", "slicer", "PIL")


def what_is_missing():
    """A sentence; empty where the app can run."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return f"the app needs {', '.join(missing)}: pip install '.[app]'"
    return missing_libraries()


def browser_is_missing():
    """A sentence; empty where there is a browser to test with."""
    if importlib.util.find_spec("playwright") is None:
        return "the browser is driven with playwright: pip install playwright"
    return "" if chromium() else "there is no Chromium here: on Debian, apt-get install chromium fonts-dejavu-core"


def chromium():
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


MISSING = what_is_missing()


def pytest_pycollect_makemodule(module_path, parent):
    return TestModule.from_parent(parent, path=module_path, lacking=MISSING)


def pytest_report_header():
    return [one for one in (MISSING, browser_is_missing()) if one] or None


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium."""
    if browser_is_missing():
        pytest.skip(browser_is_missing())
    from Testing.Web.visit import open_browser

    with open_browser(chromium()) as opened:
        yield opened


@pytest.fixture
def visit(browser, tmp_path):
    """The app as a process of its own, with the example in it, and a page that shows it."""
    from Testing.Web.visit import AppProcess, Visit

    with AppProcess(tmp_path / "home") as app, Visit(browser, app) as visiting:
        visiting.wait_ready()
        yield visiting
        assert not visiting.errors, visiting.errors
