"""A cohort on Dask's processes: the same files however many, killed ones done again, a stopped run goes on, the command ends cleanly."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("distributed", reason="a cohort runs on what `pip install '.[cohort]'` brings")

from distributed import get_client

from NeuroSAM2Core.cli.main import main
from NeuroSAM2Core.cohort import CohortFolder, find_images, find_templates
from NeuroSAM2Core.cohort import run as cohort_run
from NeuroSAM2Core.cohort.answer import make_plan
from NeuroSAM2Core.cohort.run import Workers, run_cohort
from Testing.Support.cohorts import write_study

NEW = 4
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Dask's, where a process was killed
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study, one of its scans damaged, and its cohort as one process made it."""
    folder = tmp_path_factory.mktemp("study")
    words, images = write_study(folder, new=NEW - 1)
    (images / "scan9.nii.gz").write_bytes(b"no image")
    command = ["cohort", *words, "--images", str(images), "--out", str(folder / "one"), "--device", "cpu"]
    assert main([*command, "--workers", "1"]) == 0
    return folder, command


def results(out):
    """All files of a cohort but the time that was spent."""
    files = {}
    for path in sorted(out.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            content = path.read_bytes()
            if path.name.endswith("_dseg.json"):
                content = {**json.loads(content), "seconds": 0}
            files[path.relative_to(out).as_posix()] = content
    return files


def test_a_cohort_is_derivatives_records_and_a_list(study):
    folder, _ = study
    found = results(folder / "one")
    assert {f"sub-scan{n}/anat/sub-scan{n}_desc-neurosam2_dseg.nii.gz" for n in range(NEW - 1)} <= found.keys()
    assert {"cohort.json", "review.json", "review.csv", "dataset_description.json"} <= found.keys()
    assert found["sub-scan9/anat/sub-scan9_desc-neurosam2_dseg.json"]["problem"]
    rows = json.loads(found["review.json"])
    assert rows[0]["case"] == "sub-scan9"
    assert [one["state"] for one in rows] == ["failed"] + ["waiting"] * (NEW - 1)


@pytest.mark.skipif(sys.platform == "win32", reason="kills by a signal")
def test_killed_processes_change_nothing_in_the_result(study):
    folder, command = study
    words = command[1 : command.index("--images")]
    plan = make_plan(find_templates([Path(word) for word in words]), model="nano", device="cpu")
    cases = find_images([folder / "new"])
    out, killed = CohortFolder(folder / "two"), []

    def report(record):
        if len(killed) < 2:
            nannies = list(get_client().cluster.workers.values())
            killed.append(nannies[len(killed)].pid)
            os.kill(killed[-1], signal.SIGKILL)

    out.path.mkdir()
    out.claim(plan, cases)
    run_cohort(plan, cases, out, workers=Workers(count=2), report=report)
    assert len(killed) == 2
    expected = {name: one for name, one in results(folder / "one").items() if not name.startswith("review")}
    assert results(out.path) == expected


def test_four_processes_leave_the_same_files_as_one(study):
    folder, command = study
    out = folder / "four"
    words = [str(out) if word == str(folder / "one") else word for word in command]
    assert main([*words, "--workers", "4"]) == 0
    assert results(out) == results(folder / "one")


@pytest.mark.skipif(sys.platform == "win32", reason="kills by a signal")
def test_a_run_that_is_killed_at_random_goes_on_to_the_same_files(study):
    folder, command = study
    out, rng = folder / "killed", np.random.default_rng(3)
    words = [str(out) if word == str(folder / "one") else word for word in command]
    whole = [sys.executable, "-m", "NeuroSAM2Core", *words, "--workers", "2"]
    for _ in range(2):
        process = subprocess.Popen(whole, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(3, 12))
        with contextlib.suppress(ProcessLookupError):  # it was done before
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert main([*words, "--workers", "1"]) == 0
    assert results(out) == results(folder / "one")


def test_a_stopped_cohort_goes_on_and_does_only_what_is_missing(study, capsys):
    folder, command = study
    out = folder / "one"
    before = results(out)
    done, lost = (out / f"sub-scan{n}/anat/sub-scan{n}_desc-neurosam2_dseg.nii.gz" for n in (0, 1))
    written = done.stat().st_mtime_ns
    lost.unlink()
    assert main([*command, "--workers", "1"]) == 0
    assert done.stat().st_mtime_ns == written
    assert results(out) == before
    assert "3 done, 1 failed" in capsys.readouterr().out
    assert main([*command, "--axis", "coronal"]) == 2
    assert "other settings" in capsys.readouterr().err


def test_a_cluster_that_is_not_there_is_a_sentence(study, capsys, monkeypatch):
    monkeypatch.setattr(cohort_run, "CONNECT_S", 1.0)
    _, command = study
    assert main([*command, "--scheduler", "tcp://127.0.0.1:9"]) == 2
    assert "no Dask scheduler" in capsys.readouterr().err
