"""The files of `deploy/`, as far as they can be tried without a cluster: shells read them, our command line takes what they say."""

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from NeuroSAM2Core.cli.main import argument_parser

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONTAINER = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in re.sub(r"\\\n", " ", CONTAINER).splitlines()
    if line.strip() and not line.startswith("#")
]

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")


def taken(words):
    """What our command line makes of some words."""
    return argument_parser().parse_args(words)


@needs_bash
@pytest.mark.parametrize("name", sorted(path.name for path in DEPLOY.glob("*.sbatch")))
def test_a_shell_reads_the_scripts(name):
    assert subprocess.run(["bash", "-n", name], cwd=DEPLOY, check=False).returncode == 0


@needs_bash
def test_the_servers_job_starts_it_on_loopback_and_says_how_to_reach_it(tmp_path):
    programs = tmp_path / "venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text(":\n", encoding="utf-8")
    (programs / "srun").write_text('#!/bin/bash\nprintf "%s\\n" "$@" > "$LOG"\n', encoding="utf-8")
    (programs / "srun").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "NEUROSAM2_VENV": str(tmp_path / "venv"),
        "LOG": str(tmp_path / "log"),
        "SLURM_JOB_ID": "41",
        "SLURM_SUBMIT_HOST": "login1",
    }
    command = ["bash", str(DEPLOY / "serve.sbatch"), "my token", "--max-clients", "60"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=60, check=True
    )
    program, *words = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    asked = taken(words)
    assert program == "neurosam2"
    assert (asked.command, asked.host, asked.port, asked.max_clients) == ("serve", "127.0.0.1", 20041, 60)
    assert (asked.metrics_host, asked.metrics_port, str(asked.token_file)) == ("127.0.0.1", 40041, "my token")
    assert "ssh -N -J login1 -L 7424:127.0.0.1:20041 " in done.stdout
    refused = subprocess.run(
        command[:2], env=environment, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert refused.returncode == 2
    assert "TOKEN_FILE" in refused.stderr


@pytest.fixture(scope="module")
def pod():
    (manifest,) = yaml.safe_load_all((DEPLOY / "serve.yaml").read_text(encoding="utf-8"))
    assert (manifest["apiVersion"], manifest["kind"]) == ("apps/v1", "Deployment")
    template = manifest["spec"]["template"]
    assert manifest["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    return template


def test_the_pod_serves_on_its_loopback_and_is_asked_for_its_health_where_it_answers(pod):
    (container,) = pod["spec"]["containers"]
    asked = taken(container["args"])
    assert (asked.command, asked.host, asked.metrics_host) == ("serve", "127.0.0.1", "0.0.0.0")
    assert f"port-forward deployment/neurosam2 {asked.port}:{asked.port}" in (DEPLOY / "serve.yaml").read_text("utf-8")
    assert container["ports"] == [{"name": "metrics", "containerPort": asked.metrics_port}]
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(asked.metrics_port)
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": "metrics"}
    limit = int(container["resources"]["limits"]["memory"].removesuffix("Gi"))
    assert asked.max_memory < limit, "models and libraries come on top"


def test_the_pod_has_no_rights_and_its_token_is_for_it_alone(pod):
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert not spec["automountServiceAccountToken"]
    (init,), (container,) = spec["initContainers"], spec["containers"]
    for one in (init, container):
        assert one["securityContext"]["readOnlyRootFilesystem"]
        assert one["securityContext"]["capabilities"]["drop"] == ["ALL"]
        assert f"-t {one['image']}" in CONTAINER
        mounts = {mount["name"] for mount in one["volumeMounts"]}
        assert mounts <= {volume["name"] for volume in spec["volumes"]}
    assert init["command"][:3] == ["install", "-m", "600"]
    assert Path(init["command"][-1]) == taken(container["args"]).token_file
    assert "secret" not in [mount["name"] for mount in container["volumeMounts"]]


def test_the_image_is_made_of_what_is_here(pod):
    ignored, *kept = (DEPLOY / "Containerfile.dockerignore").read_text(encoding="utf-8").split()
    assert ignored == "*"
    copied = [name for word, rest in INSTRUCTIONS if word == "COPY" for name in rest.split()[:-1]]
    assert {f"!{name}" for name in copied} == {name for name in kept if name.startswith("!")}
    assert [name for name in copied if not (ROOT / name).exists()] == []
    needed = {"pyproject.toml", PROJECT["readme"], *PROJECT["license-files"], "NeuroSAM2Core", "NeuroSAM2Slicer"}
    assert needed <= set(copied)
    extras = re.search(r'"\.\[([\w,]+)\]"', CONTAINER)[1].split(",")
    assert set(extras) <= PROJECT["optional-dependencies"].keys()


def test_the_image_runs_our_command_and_not_as_root(pod):
    words = dict(INSTRUCTIONS)
    assert re.fullmatch(r"\S+/python:3\.\d+-slim-\w+", words["FROM"])
    assert words["FROM"].split(":")[1][:4] in [line.split()[-1] for line in PROJECT["classifiers"]]
    user = words["USER"].partition(":")[0]
    assert int(user) == pod["spec"]["securityContext"]["runAsUser"] > 0
    assert yaml.safe_load(words["ENTRYPOINT"]) == [*PROJECT["scripts"]]
    for line in re.findall(r"^# +((?:podman|docker) build .*)$", CONTAINER, re.MULTILINE):
        given = shlex.split(line)
        assert given[given.index("-f") + 1] == "deploy/Containerfile"
        assert given[-1] == "."
