"""Builds the CUDA kernels against the PyTorch that will load them.

`pip install ./cuda_ext`, or in place: `cd cuda_ext && MAX_JOBS=8 python setup.py build_ext --inplace`. No GPU is needed to build.
Architectures: `TORCH_CUDA_ARCH_LIST="8.6;9.0+PTX"`; without it those of `architectures.py`, with PTX for newer GPUs.
"""

import os
import shutil
import site
import sys
import sysconfig
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]
# pip builds in an environment without this interpreter's packages, but the library has to fit the PyTorch that is installed here.
for folder in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()):
    if folder not in sys.path:
        sys.path.append(folder)

from architectures import arch_list  # noqa: E402
from toolkit import by_pip, find_toolkit, runtime_links, toolkit_version  # noqa: E402


def stop(sentence: str) -> None:
    """Ends the build with one sentence instead of a traceback."""
    raise SystemExit(f"neurosam2-cuda: {sentence}\nNeuroSAM2 works without it: masks are then cleaned on the CPU.")


if home := find_toolkit(Path(sysconfig.get_path("purelib"))):
    os.environ["CUDA_HOME"] = str(home)
try:
    import torch
    from torch.utils.cpp_extension import CUDA_HOME, BuildExtension, CUDAExtension
except ImportError as error:
    stop(f"PyTorch cannot be imported ({error}); install the one you will use first")

if torch.version.cuda is None:
    stop(f"PyTorch {torch.__version__} was built without CUDA; install a CUDA build of it first (pytorch.org)")
want = torch.version.cuda
nvcc = shutil.which("nvcc", path=str(Path(CUDA_HOME or "") / "bin")) if CUDA_HOME else None
if nvcc is None:
    stop(f"nvcc was not found; install the CUDA toolkit {want} (or set CUDA_HOME to it){by_pip(want)}")
have = toolkit_version(nvcc)
if have.split(".")[0] != want.split(".")[0]:
    stop(
        f"nvcc is of CUDA {have}, but PyTorch {torch.__version__} was built for CUDA {want}; the first numbers must agree"
    )

os.environ.setdefault("TORCH_CUDA_ARCH_LIST", arch_list(have))
os.chdir(HERE)
host = ["/O2"] if os.name == "nt" else ["-O3"]
setup(
    ext_modules=[
        CUDAExtension(
            "neurosam2_cuda._C",
            ["csrc/bindings.cpp", "csrc/launch.cu"],
            library_dirs=runtime_links(Path(CUDA_HOME), HERE / "build" / "links"),
            extra_compile_args={"cxx": host, "nvcc": ["-O3"]},
        )
    ],
    cmdclass={"build_ext": BuildExtension},
)
