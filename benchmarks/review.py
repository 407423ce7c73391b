"""The review of a cohort: how long the next doubtful case takes to open with its prompts and masks, in the app and in Slicer's panel.

Heads of 256 x 256 x 180 voxels with 16 objects each, as packed NIfTI. An engine that answers at once stands in for the real one; everything
else is the app's and the panel's own: files, scene, prompts, masks, and the pictures of three slice views. Accepting a case writes it
and opens the next one. CPU time of all threads stands beside the time by the clock, because it does not grow when the machine has other
work.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[1] / "NeuroSAM2Slicer"))
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from benchmarks.report import as_table
from NeuroSAM2Core.cohort import CaseRecord, CohortFolder, CohortPlan, ObjectResult, find_images, write_review
from NeuroSAM2Core.labels import LabelEntry, LabelTable, write_table
from NeuroSAM2Core.registration import prompts_of
from NeuroSAM2Core.volume import Axis, Volume

SHAPE, OBJECTS, CASES = (180, 256, 256), 16, 4
HEAD = ("what", "by the clock, median", "longest", "CPU, median", "must")
MUST = "3 s"
LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Spent:
    """On one case."""

    clock_s: float
    cpu_s: float


def measure() -> str:
    """The table of this file."""
    with tempfile.TemporaryDirectory() as folder:
        cohort = write_study(Path(folder) / "study")
        names = [row.case.name for row in write_review(cohort.path)]
        rows = in_the_app(Path(folder), cohort, names)
        for name in names:
            (cohort.path / name / "anat" / f"{name}_desc-reviewed_dseg.nii.gz").unlink(missing_ok=True)
        return as_table(HEAD, rows + in_slicer(Path(folder) / "slicer", cohort, names))


def head(seed: int) -> tuple[Volume, Volume]:
    """A noisy ball of tissues with `OBJECTS` ellipsoids in it, and their labels."""
    rng = np.random.default_rng(seed)
    grids = np.meshgrid(*[np.linspace(-1.1, 1.1, n, dtype=np.float32) for n in SHAPE], indexing="ij", sparse=True)
    tissue = ndimage.zoom(rng.normal(0, 1, [n // 12 + 1 for n in SHAPE]), 12, order=1)
    voxels = 400 + 60 * tissue[tuple(slice(n) for n in SHAPE)] + rng.normal(0, 12, SHAPE)
    voxels *= sum(one**2 for one in grids) < 1
    labels = np.zeros(SHAPE, np.uint8)
    for value in range(1, OBJECTS + 1):
        angle, height = 2 * np.pi * value / OBJECTS, 0.4 * (value % 3 - 1)
        middle = height, 0.55 * np.sin(angle), 0.55 * np.cos(angle)
        radii = rng.uniform(0.09, 0.2, 3)
        labels[sum(((x - m) / r) ** 2 for x, m, r in zip(grids, middle, radii, strict=True)) < 1] = value
    voxels[labels > 0] += 150
    matrix = np.diag([-1.0, -1.0, 1.0, 1.0])
    return Volume(voxels.astype(np.int16), matrix), Volume(labels, matrix)


def write_study(folder: Path) -> CohortFolder:
    """A cohort as a run leaves it."""
    (folder / "new").mkdir(parents=True)
    out, truths = CohortFolder(folder / "out"), []
    for number in range(CASES):
        image, labels = head(number)
        image.write(folder / "new" / f"scan{number}.nii.gz")
        truths.append(labels)
    plan, cases = (
        CohortPlan(templates=(), template_hashes=(), model="nano", model_hash=""),
        find_images([folder / "new"]),
    )
    out.path.mkdir()
    out.claim(plan, cases)
    names = {value: f"structure {value}" for value in range(1, OBJECTS + 1)}
    table = LabelTable(
        tuple(LabelEntry(value, name, (255 - 12 * value, 12 * value, 90)) for value, name in names.items())
    )
    for case, labels in zip(cases, truths, strict=True):
        record = CaseRecord(case=case.name, image=out.source(case.image), fingerprint=plan.fingerprint)
        out.write(case, replace(record, objects=tuple(_result(labels.voxels, *one) for one in names.items())))
        labels.write(out.labels_path(case))
        write_table(out.labels_path(case).with_name(f"{case.name}_desc-neurosam2_dseg.tsv"), table)
    return out


def _result(labels: NDArray[np.uint8], value: int, name: str) -> ObjectResult:
    return ObjectResult(
        label=value,
        name=name,
        prompts=prompts_of(labels == value, Axis.K).prompts,
        expected_iou=0.8,
        agreement=0.8,
        carried_dice=0.9,
        volume_ml=5.0,
        compactness=0.8,
    )


def in_the_app(folder: Path, cohort: CohortFolder, names: list[str]) -> list[tuple[str, ...]]:
    """The app's rows."""
    from NeuroSAM2Web.server.allowed_folders import AllowedFolders
    from NeuroSAM2Web.ui.cohort_panel import CohortPanel
    from NeuroSAM2Web.ui.train_panel import TrainPanel

    from Testing.Web.app_user import HEIGHT, WIDTH, AppUser

    user = AppUser(folder / "home")
    folders = AllowedFolders([cohort.path.parent])
    panel = CohortPanel(user.app_state, folders, TrainPanel(user.app_state, folders))
    user.state.cohort_folder = str(cohort.path)
    panel.open_folder()

    def press(button: Callable[[], None], name: str) -> Spent:
        async def pressed() -> None:
            button()
            while panel.poll():
                await asyncio.sleep(0.005)

        started, before = time.perf_counter(), time.process_time()
        asyncio.run(pressed())
        user.wake()
        for view in user.app_state.views.views:
            user.app_state.views.picture(view, WIDTH, HEIGHT)
        spent = Spent(time.perf_counter() - started, time.process_time() - before)
        assert user.state.cohort_current == name, user.state.cohort_sentence
        assert len(user.state.objects) == OBJECTS
        return spent

    opened = [press(panel.open_next, name) for name in (names[0], names[1], names[0], names[1])]
    accepted = [press(panel.accept, name) for name in (names[0], *names[2:4])]
    return [row("app: open the next doubtful case", opened, MUST), row("app: accept, and open the next one", accepted)]


def in_slicer(folder: Path, cohort: CohortFolder, names: list[str]) -> list[tuple[str, ...]]:
    """The rows of Slicer's panel."""
    from Testing.Qt.host.application import start

    folder.mkdir()
    application = start(folder)
    from NeuroSAM2Lib.engine.choice import EngineChoice

    from Testing.Qt.host.spin import Loop
    from Testing.Qt.panel_user import PanelUser
    from Testing.Support.fake_engine import FakeEngine

    EngineChoice.connect = lambda choice, slicer_python: FakeEngine()  # type: ignore[method-assign, assignment, return-value]
    loop = Loop(application)
    user = PanelUser(application, loop)
    ui, box = user.ui, user.panel.cohort
    box.ask_folder = lambda title: str(cohort.path)
    ui.openCohortButton.click()
    loop.until(lambda: ui.cohortTable.rowCount == len(names))

    def press(button: object, name: str) -> Spent:
        started, before = time.perf_counter(), time.process_time()
        button.click()  # type: ignore[attr-defined]
        loop.until(
            lambda: box.cohort.view.current == name and ui.objectTable.rowCount == OBJECTS,
            limit_s=LIMIT_S,
        )
        for view in ("Red", "Green", "Yellow"):
            user.view(view).draw()
        return Spent(time.perf_counter() - started, time.process_time() - before)

    opened = [press(ui.nextCaseButton, name) for name in (names[0], names[1], names[0], names[1])]
    accepted = [press(ui.acceptCaseButton, name) for name in (names[0], *names[2:4])]
    user.close()
    return [
        row("Slicer's panel: open the next doubtful case", opened, MUST),
        row("Slicer's panel: accept, and open the next one", accepted),
    ]


def row(what: str, spent: list[Spent], must: str = "") -> tuple[str, ...]:
    """A line of the table."""
    clock, cpu = [one.clock_s for one in spent], [one.cpu_s for one in spent]
    return what, f"{statistics.median(clock):.1f} s", f"{max(clock):.1f} s", f"{statistics.median(cpu):.1f} s", must


if __name__ == "__main__":
    print(measure())
