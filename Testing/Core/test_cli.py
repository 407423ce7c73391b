"""The command line: the main job, and one clear sentence for every mistake."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from NeuroSAM2Core.checkpoint import Checkpoint, Provenance
from NeuroSAM2Core.cli import segment
from NeuroSAM2Core.cli.main import main
from Testing.Support.cases import write_dataset
from Testing.Support.models import small_model
from Testing.Support.volumes import ball_volume

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    volume, truth = ball_volume()
    volume.write(folder / "image.nii.gz")
    volume.with_voxels(truth).write(folder / "label.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4, 3), np.float32), np.eye(4)), folder / "series.nii.gz")
    (folder / "broken.nii.gz").write_bytes((folder / "image.nii.gz").read_bytes()[:3000])
    model = small_model()
    Checkpoint(model.config, model.state_dict(), Provenance(name="small")).save(folder / "small.safetensors")
    model = small_model(rasterize_prompts=True)
    Checkpoint(model.config, model.state_dict(), Provenance(name="reader")).save(folder / "reader.safetensors")
    (folder / "foreign.pt").write_bytes(b"nothing of the kind")
    return folder


BOX = "axial:12:12,14,35,41"


def run(folder, *words):
    return main([word.format(f=folder) for word in words])


def test_a_volume_and_a_box_become_a_mask_and_a_picture(folder, capsys):
    out = folder / "mask.nii.gz"
    code = run(
        folder, "segment", "{f}/image.nii.gz", "--box", BOX, "--point", "axial:12:20,20,-", "--model", "{f}/small.safetensors",
        "--range", "8:16", "--device", "cpu", "--out", str(out), "--png", "{f}/mask.png",
    )  # fmt: skip
    assert code == 0
    output = capsys.readouterr().out
    assert "ms per slice" in output
    assert " mL" in output
    image, mask = nibabel.load(folder / "image.nii.gz"), nibabel.load(out)
    np.testing.assert_array_equal(image.affine, mask.affine)
    assert mask.shape == image.shape
    assert mask.get_data_dtype() == np.uint8
    assert (folder / "mask.png").read_bytes().startswith(b"\x89PNG")
    filled = np.flatnonzero(np.asarray(mask.dataobj).any(axis=(0, 1)))
    assert filled.min() >= 8
    assert filled.max() <= 16


def test_a_reading_of_a_single_point_is_chosen(folder, capsys):
    masks = []
    for reading in ((), ("--reading", "1"), ("--reading", "2")):
        code = run(
            folder, "segment", "{f}/image.nii.gz", "--point", "axial:12:22,26", "--model", "{f}/reader.safetensors",
            "--range", "12:12", "--device", "cpu", "--out", "{f}/read.nii.gz", "--overwrite", *reading,
        )  # fmt: skip
        assert code == 0
        assert f"reading {reading[1] if reading else 1} of " in capsys.readouterr().out
        masks.append(np.asarray(nibabel.load(folder / "read.nii.gz").dataobj))
    np.testing.assert_array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[1], masks[2])


def test_a_model_is_measured_on_a_label(folder, capsys):
    code = run(
        folder, "evaluate", "{f}/image.nii.gz", "{f}/label.nii.gz", "--model", "{f}/small.safetensors", "--clicks", "2",
        "--device", "cpu",
    )  # fmt: skip
    assert code == 0
    output = capsys.readouterr().out
    assert output.count("corrections: Dice") == 3
    assert "Dice 0.90: " in output


@pytest.fixture(scope="module")
def dataset(folder):
    (folder / "cases").mkdir()
    path = write_dataset(folder / "cases", training=0, validation=2, shape=(6, 24, 24))
    return path.relative_to(folder)


def test_a_model_is_measured_on_a_dataset_and_leaves_tables(folder, dataset, capsys):
    code = run(
        folder, "evaluate", f"{{f}}/{dataset}", "--model", "{f}/small.safetensors", "--clicks", "1", "--start", "both",
        "--device", "cpu", "--out", "{f}/tables",
    )  # fmt: skip
    assert code == 0
    assert "# small on 2 cases" in capsys.readouterr().out
    assert {path.name for path in (folder / "tables").iterdir()} == {
        "evaluation.csv",
        "evaluation.json",
        "evaluation.md",
    }


def test_two_models_are_compared_on_the_same_cases(folder, dataset, capsys):
    model = "{f}/small.safetensors"
    code = run(
        folder, "report", model, model, f"{{f}}/{dataset}", "--clicks", "0", "--no-surfaces", "--device", "cpu", "--out",
        "{f}/report",
    )  # fmt: skip
    assert code == 0
    output = capsys.readouterr().out
    assert "# small against small on 2 cases" in output
    assert "too few cases for an interval" in output
    assert "These cases also chose the checkpoint" in output
    assert (folder / "report" / "report.png").exists()
    assert (folder / "report" / "report.md").read_text(encoding="utf-8") in output


MODEL = ("--model", "{f}/small.safetensors", "--device", "cpu")
READER = ("--model", "{f}/reader.safetensors", "--device", "cpu")
POINT = "axial:12:22,26"
OUT = ("--out", "{f}/never.nii.gz")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("segment", "{f}/none.nii.gz", "--box", BOX, *OUT), "there is no file"),
        (("segment", "{f}/broken.nii.gz", "--box", BOX, *OUT), "cannot be"),
        (("segment", "{f}/series.nii.gz", "--box", BOX, *OUT), "holds 3 volumes"),
        (("segment", "{f}/image.nii.gz", *OUT), "nothing was prompted"),
        (("segment", "{f}/image.nii.gz", "--box", "axial:12", *OUT), "is not AXIS:INDEX:PLACE"),
        (("segment", "{f}/image.nii.gz", "--box", "axial:12:1,2,3", *OUT), "has 3 numbers; expected 4"),
        (("segment", "{f}/image.nii.gz", "--box", "axial:12:30,2,3,9", *OUT), "bottom < top"),
        (("segment", "{f}/image.nii.gz", "--box", "axial:99:1,2,3,9", *MODEL, *OUT), "no slice 99"),
        (("segment", "{f}/image.nii.gz", "--box", "front:12:1,2,3,9", *MODEL, *OUT), "no axis 'front'"),
        (("segment", "{f}/image.nii.gz", "--box", "axial:12:1,2,3,900", *MODEL, *OUT), "outside the slice"),
        (("segment", "{f}/image.nii.gz", "--point", "axial:12:x,2", *OUT), "not a number"),
        (("segment", "{f}/image.nii.gz", "--point", POINT, "--reading", "0", *OUT), "counted from 1"),
        (
            ("segment", "{f}/image.nii.gz", "--point", POINT, "--reading", "2", "--box", BOX, *OUT),
            "give a single --point",
        ),
        (("segment", "{f}/image.nii.gz", "--point", POINT, "--reading", "9", *READER, *OUT), "choose 1 to "),
        (("segment", "{f}/image.nii.gz", "--point", POINT, "--reading", "2", *MODEL, *OUT), "has only one reading"),
        (("segment", "{f}/image.nii.gz", "--box", BOX, "--range", "9", *MODEL, *OUT), "is not A:B"),
        (("segment", "{f}/image.nii.gz", "--box", BOX, "--range", "16:8", *MODEL, *OUT), "ends before it begins"),
        (("segment", "{f}/image.nii.gz", "--box", BOX, "--window", "9:1", *MODEL, *OUT), "low < high"),
        (("segment", "{f}/image.nii.gz", "--box", BOX, "--model", "nanoo", *OUT), "did you mean 'nano'"),
        (("segment", "{f}/image.nii.gz", "--box", BOX, "--model", "{f}/foreign.pt", *OUT), "is damaged"),
        (("segment", "{f}/image.nii.gz", "--box", BOX, "--device", "tpu", *OUT), "no device 'tpu'"),
        (("segment", "{f}/image.nii.gz", "--box", BOX, "--out", "{f}/nowhere/m.nii.gz"), "there is no folder"),
        (
            ("segment", "{f}/image.nii.gz", "--box", BOX, *MODEL, "--range", "11:12", "--out", "{f}/m.txt"),
            "expected a name",
        ),
        (("evaluate", "{f}/image.nii.gz", "{f}/image.nii.gz", "--value", "-999", *MODEL), "label is empty"),
        (("evaluate", "{f}/image.nii.gz", *MODEL), "image.nii.gz needs its label"),
        (("evaluate", "{f}/d.json", "{f}/label.nii.gz", *MODEL), "names its labels itself"),
        (("evaluate", "{f}/d.json", *MODEL), "there is no dataset file"),
        (("evaluate", "{f}/image.nii.gz", "{f}/label.nii.gz", "--clicks", "-1", *MODEL), "must not be negative"),
        (("report", "nano", "nanoo", "{f}/cases/dataset.json", "--split", "training"), "there is no training case"),
        (("report", "nano", "nanoo", "{f}/cases/dataset.json"), "did you mean 'nano'"),
        (("convert", "{f}/foreign.pt", "{f}/x.safetensors"), "is damaged"),
        (("convert", "{f}/foreign.pt", "{f}/x.pt"), "ends in .safetensors"),
        (("download", "sam3"), "there is no model 'sam3'"),
    ],
)
def test_every_mistake_is_one_sentence_and_exit_code_2(folder, dataset, capsys, words, sentence):
    assert run(folder, *words) == 2
    output = capsys.readouterr().err
    assert sentence in output
    assert output.startswith("neurosam2: ")
    assert "Traceback" not in output
    assert not (folder / "never.nii.gz").exists()


def test_known_models_are_listed(capsys):
    assert main(["download"]) == 0
    assert "sam2.1_hiera_large" in capsys.readouterr().out


def test_an_official_file_is_converted(folder, tmp_path, capsys):
    from Testing.Support.files import published_state, save_foreign

    save_foreign({"model": published_state("sam2.1_hiera_t")}, tmp_path / "sam2.1_hiera_tiny.pt")
    assert main(["convert", str(tmp_path / "sam2.1_hiera_tiny.pt"), str(tmp_path / "tiny.safetensors")]) == 0
    assert "39.0 million weights" in capsys.readouterr().out
    assert Checkpoint.load(tmp_path / "tiny.safetensors").config.image_size == 1024


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("NeuroSAM2Core", "torch"),
        ("NeuroSAM2Core.volume", "torch"),
        ("NeuroSAM2Core.prompts", "torch"),
        ("NeuroSAM2Core.components.cpu", "torch"),
        ("NeuroSAM2Core.remote", "torch"),
        ("NeuroSAM2Core.remote", "scipy"),
        ("NeuroSAM2Core.cli.main", "torch"),
        ("NeuroSAM2Core.inference", "monai"),
        ("NeuroSAM2Core.training.data", "monai"),
        ("NeuroSAM2Core.training.evaluation", "monai"),
    ],
)
def test_light_packages_import_nothing_heavy(module, absent):
    code = f"import sys, {module}; sys.exit({absent!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


PRINTS = """
from NeuroSAM2Core.cli import segment
from NeuroSAM2Core.cli.main import main
segment.run = lambda output: print("\\u8133") or 0
main(["segment", "t1.nii.gz", "--out", "mask.nii.gz"])
"""


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_whatever_the_console_cannot_show_is_no_failure(encoding):
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", PRINTS], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "\u8133".encode()


def test_a_device_without_room_is_a_sentence(monkeypatch, capsys, folder):
    def full(*_, **__):
        raise RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)")

    monkeypatch.setattr(segment, "run", full)
    assert run(folder, "segment", "{f}/image.nii.gz", "--box", BOX, "--out", "{f}/full.nii.gz") == 2
    output = capsys.readouterr().err
    assert "the device is out of memory" in output
    assert "--device cpu" in output


def test_a_constant_image_and_an_empty_mask_are_notified(folder, tmp_path, capsys, caplog, monkeypatch):
    volume, truth = ball_volume()
    volume.with_voxels(np.full(volume.shape, 7, np.int16)).write(tmp_path / "flat.nii.gz")
    monkeypatch.setattr("NeuroSAM2Core.inference.Session.mask", lambda *_: np.zeros_like(truth, dtype=bool))
    words = ("segment", str(tmp_path / "flat.nii.gz"), "--box", BOX, *MODEL, "--range", "12:12")
    assert run(folder, *words, "--out", str(tmp_path / "m.nii"), "--window", "-100:600") == 0
    assert "the mask is empty" in capsys.readouterr().err
    assert "the same everywhere" not in caplog.text
    assert run(folder, *words, "--out", str(tmp_path / "n.nii")) == 0
    assert "the same everywhere" in caplog.text
    assert "--window" in caplog.text
