"""Several people on a server: an app, a scene and a token for each, and one engine for all, as `deploy/app` and docs/app.md have it."""

import os
import re
import shlex
import subprocess
import sys
from contextlib import contextmanager
from urllib.parse import urlsplit

import psutil

from NeuroSAM2Core.cli.main import argument_parser
from Testing.Web.test_safety import UPGRADE, ask, cookie
from Testing.Web.visit import LIMIT_S, ROOT, AppProcess, Visit

DEPLOY = ROOT / "deploy" / "app"


@contextmanager
def shared_engine(folder):
    """The engine of all, as the systemd unit starts it: its process, port and token."""
    (words,) = re.findall(
        r"^ExecStart=(.*)$", (DEPLOY / "neurosam2-engine.service").read_text(encoding="utf-8"), re.MULTILINE
    )
    program, *arguments = shlex.split(words)
    assert program.endswith("/neurosam2")
    given = argument_parser().parse_args(arguments)
    token = folder / given.token_file.name
    process = subprocess.Popen(
        [sys.executable, "-m", "NeuroSAM2Core", given.command, "--port", "0", "--token-file", str(token)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=folder,
    )
    try:
        (port,) = re.findall(r"port (\d+)", process.stdout.readline().decode())
        yield process, port, token.read_text(encoding="utf-8").strip()
    finally:
        process.terminate()
        process.wait(LIMIT_S)
        process.stdout.close()


def use_server(visit, port, token):
    """What a person does under Engine."""
    page = visit.page
    page.get_by_role("tab", name="Engine").click()
    page.locator(".v-select", has_text="Runs on").click()
    page.get_by_role("option", name="A server").click()
    page.get_by_label("Port").fill(port)
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Use", exact=True).click()
    page.get_by_role("tab", name="Segment").click()


def clients_of(engine, port):
    """The connections of people that an engine has."""
    return [
        one
        for one in psutil.Process(engine.pid).net_connections()
        if one.status == psutil.CONN_ESTABLISHED and one.laddr.port == int(port)
    ]


def test_two_people_have_an_app_each_and_share_an_engine(browser, tmp_path):
    (tmp_path / "engine").mkdir()
    with (
        shared_engine(tmp_path / "engine") as (engine, port, token),
        AppProcess(tmp_path / "first") as first,
        AppProcess(tmp_path / "second") as second,
    ):
        assert first.address != second.address
        for one, other in ((first, second), (second, first)):
            where = urlsplit(other.address)
            assert ask(one, f"{where.path}?{where.query}")[0] == 403
            host = urlsplit(one.address).netloc
            assert ask(one, "/ws", headers=UPGRADE | cookie(other) | {"Origin": f"http://{host}"})[0] == 403
        with Visit(browser, first) as left, Visit(browser, second) as right:
            for visit in (left, right):
                visit.wait_ready()
                use_server(visit, port, token)
            left.take("x", "box")
            left.drag((0.4, 0.4), (0.55, 0.55))
            left.wait_object("ml > 0")
            left.wait_quiet()
            assert right.page.locator("[data-object]").count() == 0
            right.take("x", "box")
            right.drag((0.3, 0.45), (0.5, 0.6))
            right.wait_object("ml > 0")
            right.wait_quiet()
            assert len(clients_of(engine, port)) == 2
            assert left.object()["ml"] != right.object()["ml"]
            before = left.object()["ml"]
            right.key("Control+z")
            right.page.wait_for_function("document.querySelectorAll('[data-object]').length === 0")
            assert left.object()["ml"] == before
            assert not left.errors + right.errors


def test_the_ssh_configuration_starts_an_app_on_the_port_that_it_forwards():
    lines = (DEPLOY / "ssh_config").read_text(encoding="utf-8").splitlines()
    settings = dict(line.split(maxsplit=1) for line in lines if line.startswith("    "))
    program, *words = shlex.split(settings["RemoteCommand"])
    given = argument_parser().parse_args(words)
    assert (program, given.command, given.no_browser) == ("neurosam2", "app", True)
    assert settings["LocalForward"] == f"127.0.0.1:{given.port} 127.0.0.1:{given.port}"
