"""The SLURM script: what it starts, and when it goes back into the queue. SLURM itself is stood in for."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "train.sbatch"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")


@pytest.fixture
def cluster(tmp_path):
    """A folder of commands that write down how they were called; two processes on one node."""
    commands = {
        "scontrol": 'if [ "$1" = show ]; then echo node7; else echo "$@" >> "$LOG/scontrol"; fi',
        "srun": 'shift; for rank in 0 1; do SLURM_PROCID=$rank SLURM_LOCALID=$rank "$@" || exit $?; done',
        "neurosam2": 'echo "$RANK/$WORLD_SIZE/$LOCAL_RANK $MASTER_ADDR:$MASTER_PORT $*" >> "$LOG/neurosam2"\neval "$ACT"',
    }
    programs = tmp_path / "venv" / "bin"
    programs.mkdir(parents=True)
    for name, body in commands.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    (programs / "activate").write_text('export PATH="$NEUROSAM2_VENV/bin:$PATH"\n', encoding="utf-8")
    return tmp_path


def submit(cluster, *words, act=":"):
    environment = {
        **os.environ,
        "PATH": f"{cluster}/venv/bin:{os.environ['PATH']}",
        "NEUROSAM2_VENV": str(cluster / "venv"),
        "LOG": str(cluster),
        "ACT": act,
        "SLURM_JOB_ID": "41",
        "SLURM_JOB_NODELIST": "node[7]",
        "SLURM_NTASKS": "2",
        "SLURM_CPUS_PER_TASK": "4",
    }
    return subprocess.run(
        ["bash", str(SCRIPT), *words], env=environment, capture_output=True, text=True, timeout=60, encoding="utf-8"
    )


def output(cluster, name):
    path = cluster / name
    return os.fsdecode(path.read_bytes()).splitlines() if path.exists() else []


def test_every_process_knows_its_place(cluster):
    done = submit(cluster, "a b.toml", f"{cluster}/run", "optim.steps=3")
    assert done.returncode == 0, done.stderr
    rest = f"node7:20041 train a b.toml run.folder={cluster}/run optim.steps=3 --resume --device cuda --workers 3"
    assert output(cluster, "neurosam2") == [f"0/2/0 {rest}", f"1/2/1 {rest}"]


def test_a_run_that_was_stopped_goes_back_into_the_queue(cluster):
    assert submit(cluster, "c.toml", f"{cluster}/run").returncode == 0
    assert output(cluster, "scontrol") == ["requeue 41"]


def test_a_run_that_is_over_does_not(cluster):
    (cluster / "run").mkdir()
    assert submit(cluster, "c.toml", f"{cluster}/run", act='touch "$LOG/run/model.safetensors"').returncode == 0
    assert output(cluster, "scontrol") == []


def test_a_run_that_failed_does_not(cluster):
    assert submit(cluster, "c.toml", f"{cluster}/run", act="exit 2").returncode == 2
    assert output(cluster, "scontrol") == []


def test_missing_words_are_named(cluster):
    done = submit(cluster, "c.toml")
    assert done.returncode == 2
    assert "RUN_FOLDER" in done.stderr
