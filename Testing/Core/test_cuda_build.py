"""The kernels compile for the architectures asked for, on a machine without a GPU; and what the build says where something is missing."""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch

from Testing.Support.emulated import ROOT, SOURCES
from Testing.Support.files import load_by_path

ARCHITECTURES = "7.5;9.0+PTX"
PLACES = ["/usr/local/cuda/bin", *map(str, Path(sysconfig.get_path("purelib")).glob("nvidia/cu*/bin"))]
NVCC = shutil.which("nvcc") or shutil.which("nvcc", path=os.pathsep.join(PLACES))

needs_nvcc = pytest.mark.skipif(NVCC is None, reason="no CUDA compiler (nvcc): the kernels cannot be compiled")


@pytest.fixture(scope="module")
def architectures():
    return load_by_path(ROOT / "cuda_ext" / "architectures.py")


@pytest.fixture(scope="module")
def compiled(architectures):
    """A folder with what nvcc makes of launch.cu; kept for as long as the sources stay as they are."""
    sources = [path.read_bytes() for path in sorted(SOURCES.glob("*")) if path.suffix in (".h", ".cu")]
    known = hashlib.sha256(b"".join([*sources, ARCHITECTURES.encode(), str(NVCC).encode()])).hexdigest()[:16]
    folder = ROOT / "cuda_ext" / "build" / f"nvcc-{known}"
    if not (folder / "launch.o").exists():
        folder.mkdir(parents=True, exist_ok=True)
        options = ["-std=c++17", "-Werror=all-warnings", "--keep", f"--keep-dir={folder}"]
        command = [NVCC, *options, *architectures.nvcc_flags(ARCHITECTURES), "-c", str(SOURCES / "launch.cu")]
        subprocess.run([*command, "-o", str(folder / "launch.o.part")], check=True)
        (folder / "launch.o.part").replace(folder / "launch.o")
    return folder


@needs_nvcc
@pytest.mark.parametrize("number", ["75", "90"])
def test_every_kernel_has_machine_code_for_the_architectures_asked_for(compiled, number):
    (cubin,) = compiled.glob(f"*_{number}.cubin")
    code = cubin.read_bytes()
    assert code[:4] == b"\x7fELF"
    for kernel in (b"LabelTiles", b"MergeTiles", b"Measure", b"FindLargest", b"WriteKept", b"WriteLabels", b"Tabulate"):
        assert b".text._ZN3ccl" in code
        assert kernel in code


@needs_nvcc
def test_the_newest_architecture_comes_as_ptx_for_those_to_come(compiled):
    texts = [path.read_text(encoding="utf-8") for path in compiled.glob("*.ptx")]
    newest = [text for text in texts if ".target sm_90" in text]
    assert newest
    assert newest[0].count(".entry") == 2 * (4 * 7 + 2)  # index types x (shapes x kernels, and those without a shape)


@needs_nvcc
def test_the_bindings_fit_the_headers_of_the_installed_pytorch():
    from torch.utils.cpp_extension import include_paths

    compiler = shutil.which("g++")
    toolkit = Path(NVCC).resolve().parents[1] / "include"
    if not (toolkit / "cuda_runtime_api.h").exists():
        toolkit = Path("/usr/local/cuda/include")
    includes = [f"-I{path}" for path in [*include_paths(), sysconfig.get_path("include")]] + ["-isystem", str(toolkit)]
    # This PyTorch may be without CUDA: then it has c10's CUDA headers, but not the one that CMake writes for them.
    command = [compiler, "-std=c++20", "-fsyntax-only", "-DC10_USING_CUSTOM_GENERATED_MACROS", *includes]
    subprocess.run([*command, str(SOURCES / "bindings.cpp")], check=True)


def test_architectures_are_those_that_the_toolkit_knows(architectures):
    assert architectures.arch_list("11.7") == "7.5;8.0;8.6+PTX"
    assert architectures.arch_list("12.4") == "7.5;8.0;8.6;8.9;9.0+PTX"
    assert architectures.arch_list("13.0") == "7.5;8.0;8.6;8.9;9.0;10.0;12.0+PTX"
    assert architectures.nvcc_flags("8.6;9.0+PTX") == [
        "-gencode=arch=compute_86,code=sm_86",
        "-gencode=arch=compute_90,code=sm_90",
        "-gencode=arch=compute_90,code=compute_90",
    ]


@pytest.fixture(scope="module")
def toolkit():
    return load_by_path(ROOT / "cuda_ext" / "toolkit.py")


def make_toolkit(home, *, headers=True):
    (home / "bin").mkdir(parents=True)
    program = home / "bin" / "nvcc"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    if headers:
        (home / "include").mkdir()
        (home / "include" / "cuda_runtime.h").touch()
    return home


def test_the_toolkit_is_the_one_that_is_named_or_the_first_whole_one(toolkit, tmp_path, monkeypatch):
    packages = tmp_path / "site-packages"
    script, whole = make_toolkit(tmp_path / "script", headers=False), make_toolkit(tmp_path / "whole")
    older, newer = (make_toolkit(packages / "nvidia" / name) for name in ("cu9", "cu13"))
    monkeypatch.setattr(toolkit, "SYSTEM", tmp_path / "none")
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.delenv("CUDA_PATH", raising=False)
    monkeypatch.setenv("PATH", str(script / "bin"))
    assert toolkit.find_toolkit(packages) == newer, "a script that calls another nvcc is no toolkit"
    monkeypatch.setenv("PATH", str(whole / "bin"))
    assert toolkit.find_toolkit(packages) == whole
    monkeypatch.setenv("CUDA_HOME", str(older))
    assert toolkit.find_toolkit(packages) == older
    monkeypatch.delenv("CUDA_HOME")
    monkeypatch.setenv("PATH", "")
    assert toolkit.find_toolkit(tmp_path / "nothing here") is None


def test_a_toolkit_of_pip_gets_the_name_that_the_linker_looks_for(toolkit, tmp_path):
    home, folder = tmp_path / "cu13", tmp_path / "links"
    (home / "lib").mkdir(parents=True)
    assert toolkit.runtime_links(home, folder) == []
    (home / "lib" / "libcudart.so.13").write_text("the library", encoding="utf-8")
    for _ in range(2):
        assert toolkit.runtime_links(home, folder) == [str(folder)]
        assert (folder / "libcudart.so").read_text(encoding="utf-8") == "the library"
    (home / "lib" / "libcudart.so").touch()
    assert toolkit.runtime_links(home, folder) == []


def test_pip_is_named_only_where_it_has_a_compiler(toolkit):
    assert '"cuda-toolkit[nvcc,nvvm,crt,cccl]==13.0.*"' in toolkit.by_pip("13.0")
    assert toolkit.by_pip("12.8") == ""


@pytest.mark.skipif(torch.version.cuda is not None, reason="this PyTorch was built with CUDA")
def test_a_pytorch_without_cuda_is_notified_in_a_sentence():
    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=ROOT / "cuda_ext", capture_output=True, text=True, check=False, encoding="utf-8")
    assert done.returncode == 1
    assert "was built without CUDA; install a CUDA build of it first" in done.stderr
    assert "NeuroSAM2 works without it" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(shutil.which("cmake") is None, reason="no CMake")
def test_cmake_goes_on_without_slicer_and_leaves_the_kernels_alone(tmp_path):
    command = ["cmake", "-S", str(ROOT), "-B", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "pip install ." in done.stdout
    assert "CUDA kernels" not in done.stdout
    assert not list(tmp_path.rglob("*cuda_ext*"))


@pytest.mark.skipif(shutil.which("cmake") is None, reason="no CMake")
def test_cmake_goes_on_without_a_pytorch_for_cuda(tmp_path):
    command = ["cmake", "-S", str(ROOT / "cuda_ext"), "-B", str(tmp_path), "-DNEUROSAM2_PYTHON=there-is-no-such-python"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert "the CUDA kernels are not built: there-is-no-such-python has no PyTorch with CUDA" in done.stdout
