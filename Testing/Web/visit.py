"""A person in front of the app: the real process, a real browser, mouse and keys; waits on what the page says, never on time."""

import json
import os
import re
import select
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import psutil
from NeuroSAM2Lib.segmentation.journal import JournalHead, MaskLine, PromptsLine, Unsaved
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
START_S, LIMIT_S = 60.0, 60.0
HARMLESS = "ResizeObserver loop completed"
"""Chromium's word for a size that settles one frame later, as dialogs do while they open."""
COUNT_CHANGED = """([name, x, y, radius]) => {
  const canvas = document.querySelector(`[data-view=${name}] canvas`);
  const scale = canvas.width / canvas.clientWidth;
  const size = Math.round(2 * radius * scale);
  const now = canvas.getContext("2d").getImageData((x - radius) * scale, (y - radius) * scale, size, size).data;
  const before = window.remembered;
  window.remembered = now;
  if (!before) return 0;
  let count = 0;
  for (let n = 0; n < now.length; n += 4)
    if (Math.abs(now[n] - before[n]) + Math.abs(now[n + 1] - before[n + 1]) + Math.abs(now[n + 2] - before[n + 2]) > 60) count++;
  return count;
}"""


@contextmanager
def open_browser(path):
    with mock.patch.dict(os.environ):
        os.environ.pop("TMPDIR", None)  # a socket of Chromium's lies there, whose path may have 107 letters
        play = sync_playwright().start()
    try:
        opened = play.chromium.launch(executable_path=path, args=list(FLAGS))
        yield opened
        opened.close()
    finally:
        play.stop()


class AppProcess:
    """The app, started as a person would start it."""

    def __init__(self, home, *arguments):
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        path = os.pathsep.join((str(ROOT), str(ROOT / "NeuroSAM2Slicer")))
        environment = os.environ | {"NEUROSAM2_HOME": str(home), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        self._log = (home / "app.log").open("wb")
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "NeuroSAM2Web", "--port", "0", "--no-browser", *arguments],
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            cwd=home,
        )
        self.address = self._read_address()

    @property
    def log(self):
        return (self.home / "app.log").read_text(errors="replace", encoding="utf-8")

    @property
    def workers(self):
        """The engine's processes."""
        return [one for one in psutil.Process(self.process.pid).children(recursive=True) if one.is_running()]

    def connections(self):
        """The sockets of the app itself."""
        return psutil.Process(self.process.pid).net_connections()

    def kill_worker(self):
        """The engine dies without a word."""
        dying = self.workers
        assert dying, "there is no engine to kill"
        for one in dying:
            one.kill()
        psutil.wait_procs(dying, timeout=LIMIT_S)

    def masks(self, object_id=1):
        """What is written down of an object, by slice: the voxels as they are in the scene."""
        return {
            line.plane: line.mask
            for line in self._lines()
            if isinstance(line, MaskLine) and line.object_id == object_id
        }

    def prompts(self, object_id=1):
        """What is written down of the prompts about an object."""
        prompts = [one for one in self._lines() if isinstance(one, PromptsLine) and one.object_id == object_id]
        return prompts[-1].prompts

    def voxels(self, shape, object_id=1):
        """The object as an array (K, J, I), segmented along k."""
        whole = np.zeros(shape, bool)
        for plane, mask in self.masks(object_id).items():
            whole[plane.index] = mask
        return whole

    def __enter__(self):
        return self

    def __exit__(self, *_):
        children = self.workers
        self.process.terminate()
        self.process.wait(LIMIT_S)
        self.process.stdout.close()
        self._log.close()
        _, alive = psutil.wait_procs(children, timeout=LIMIT_S)
        assert not alive, "the engine outlives the app"

    def _lines(self):
        (path,) = self.home.rglob("*.jsonl")
        head = json.loads(path.read_text(encoding="utf-8").splitlines()[0])["head"]
        return list(Unsaved(path, JournalHead(**head)).lines())

    def _read_address(self):
        heard, deadline = b"", time.monotonic() + START_S
        while not (found := re.search(rb"http://\S+", heard)) or b"\n" not in heard[found.start() :]:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(self.process.stdout.fileno(), 4096) if ready else b""
            assert part, f"the app did not start: {self.log[-2000:]}"
            heard += part
        return found.group().decode()


class Visit:
    """A page."""

    def __init__(self, browser, app, size=(1280, 800)):
        self.app = app
        self.errors, self.asked = [], []
        self.page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        self.page.set_default_timeout(LIMIT_S * 1000)
        self.page.on("pageerror", lambda error: self._note_error(str(error)))
        self.page.on("console", self._note)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("websocket", lambda socket: self.asked.append(socket.url))
        self.page.goto(app.address)

    def wait_ready(self):
        """All three views show something."""
        for name in ("Red", "Green", "Yellow"):
            self.page.wait_for_selector(f"[data-view={name}]:not([data-shown='-1'])")
        self.wait_drawn()

    def wait_drawn(self):
        """What is shown is what there is."""
        self.page.wait_for_function(
            "[...document.querySelectorAll('[data-view]')].every(one => one.dataset.shown === one.dataset.number)"
        )

    def wait_line(self, words):
        self.page.wait_for_function(
            "words => document.querySelector('[data-test=line]')?.innerText.includes(words)", arg=words
        )

    def wait_object(self, condition, name="object 1"):
        """Until something holds of an object's numbers, any object's if no name is given: ml, done, confirmed, prompts."""
        self.page.wait_for_function(
            f"""name => {{
              const data = document.querySelector(name ? `[data-object="${{name}}"]` : "[data-object]")?.dataset;
              if (!data) return false;
              const [ml, done, confirmed, prompts] = [data.ml, data.done, data.confirmed, data.prompts].map(Number);
              return {condition};
            }}""",
            arg=name,
        )

    def wait_quiet(self):
        """Nothing is under way."""
        self.page.wait_for_function("trame.state.get('activity') === 'ready'")
        self.wait_drawn()

    def object(self, name="object 1"):
        return self.page.locator(f'[data-object="{name}"]').evaluate("one => ({...one.dataset})")

    def state(self, name):
        return self.page.evaluate("name => trame.state.get(name)", name)

    def key(self, key):
        self.page.keyboard.press(key)

    def take(self, key, tool):
        self.key(key)
        self.page.wait_for_selector(f"[data-view=Red].ns-tool-{tool}")

    def at(self, name, x, y):
        """A place in a view, as parts of its width and height, in pixels of the page; once no dialog lies over it any more."""
        self.page.locator(".v-overlay__scrim").first.wait_for(state="detached")
        box = self.page.locator(f"[data-view={name}]").bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def click(self, x, y, name="Red"):
        self.page.mouse.click(*self.at(name, x, y))

    def drag(self, start, end, name="Red", button="left"):
        self.page.mouse.move(*self.at(name, *start))
        self.page.mouse.down(button=button)
        self.page.mouse.move(*self.at(name, *end), steps=5)
        self.page.mouse.up(button=button)

    def wheel(self, steps, name="Red"):
        self.page.mouse.move(*self.at(name, 0.5, 0.5))
        for _ in range(abs(steps)):
            self.page.mouse.wheel(0, -100 if steps > 0 else 100)

    def go(self, index, name="Red"):
        """To a slice, by the keyboard."""
        self.page.locator(f"[data-bar={name}]").press("Home")
        self.page.wait_for_selector(f"[data-bar={name}][data-index='0']")
        tens, ones = divmod(index, 10)
        for key in ["PageUp"] * tens + ["ArrowRight"] * ones:
            before = self.index(name)
            self.page.locator(f"[data-bar={name}]").press(key)
            self.page.wait_for_selector(f"[data-bar={name}]:not([data-index='{before}'])")
        assert self.index(name) == index

    def index(self, name="Red"):
        return int(self.page.locator(f"[data-bar={name}]").get_attribute("data-index"))

    def num_changed(self, x, y, radius=40, name="Red"):
        """How many pixels around a place differ from what they were when this was asked last."""
        box = self.page.locator(f"[data-view={name}]").bounding_box()
        return self.page.evaluate(COUNT_CHANGED, [name, x * box["width"], y * box["height"], radius])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.page.close()

    def _note(self, message):
        if message.type == "error":
            self._note_error(message.text)

    def _note_error(self, text):
        if HARMLESS not in text:
            self.errors.append(text)
