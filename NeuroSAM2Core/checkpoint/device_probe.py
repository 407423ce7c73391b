"""Probes a device: runs a small model forward and backward in a separate process.

Not every version of PyTorch has every operation on every device; some crash, hang or give other numbers. So the CPU's answer is compared,
there is a time limit, and what was found is kept for this machine and this version of PyTorch.
"""

import json
import logging
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from NeuroSAM2Core.decoding import DecodingError, decoded, parse_json
from NeuroSAM2Core.machine import cached_fact
from NeuroSAM2Core.model import SAM2, HieraConfig, Points, SAM2Config, SpatialMemory
from NeuroSAM2Core.model.results import PointerMemory
from NeuroSAM2Core.version import __version__

logger = logging.getLogger(__name__)

LIMIT_S = 180.0
TOLERANCE = 0.05
"""Of the largest value, between a device and the CPU."""
PACKAGE = Path(__file__).resolve().parents[1]
CHILD = (
    "import sys; sys.path.insert(0, sys.argv[1]); import launch;"
    "from NeuroSAM2Core.checkpoint.device_probe import main; main(sys.argv[2])"
)
SMALL = SAM2Config(
    trunk=HieraConfig(
        width=8, num_heads=1, stages=(1, 1, 1, 1), global_blocks=(2, 3), windows=(8, 8, 7, 4), background_grid=(4, 4)
    ),
    image_size=64,
    width=32,
    memory_width=8,
    memory_layers=1,
    memory_mlp_width=32,
    decoder_mlp_width=32,
    num_mask_memories=3,
    max_object_pointers=4,
    rasterize_prompts=True,
    sample_point_features=True,
)


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """The errors of a device; empty if there are none."""

    forward: str = ""
    """When a model is used."""
    backward: str = ""
    """When it is trained; `forward` holds there, too."""

    def problem(self, *, trains: bool) -> str:
        """What stands in the way of using a model, or of training one."""
        return self.forward or (self.backward if trains else "")


def probed(device: str, *, run: Callable[[Sequence[str]], DeviceReport] | None = None) -> DeviceReport:
    """What a device can do, as an earlier start found out or as is found out now.

    Args:
        device: Of PyTorch.
        run: Runs a program that prints a report; in a process with a time limit if None.
    """
    question = f"{device} with torch {torch.__version__}, NeuroSAM2 {__version__}, {platform.platform()}"

    def measure() -> str:
        logger.info("trying what the %s device can do; this is done once", device)
        report = (run or _run)([sys.executable, "-c", CHILD, str(PACKAGE), device])
        return json.dumps({"forward": report.forward, "backward": report.backward})

    try:
        return decoded(DeviceReport, parse_json(cached_fact(question, measure)), "report")
    except DecodingError:  # somebody has edited the cache
        return decoded(DeviceReport, parse_json(measure()), "report")


def _run(command: Sequence[str]) -> DeviceReport:
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=LIMIT_S, check=False, encoding="utf-8"
        )
    except subprocess.TimeoutExpired:
        return DeviceReport(forward=f"it gave no answer in {LIMIT_S:.0f} s")
    except (OSError, UnicodeDecodeError) as error:
        return DeviceReport(forward=f"it could not be tried: {error}")
    lines = done.stdout.strip().splitlines()
    try:
        payload = json.loads(lines[-1])
        return DeviceReport(payload["forward"], payload["backward"])
    except (IndexError, ValueError, KeyError, TypeError):
        return DeviceReport(forward=f"the process that tried it ended with code {done.returncode}")


def main(device: str) -> None:
    """The child: prints the report as one line."""
    report = examine(torch.device(device))
    print(json.dumps({"forward": report.forward, "backward": report.backward}), flush=True)  # noqa: T201


def examine(device: torch.device) -> DeviceReport:
    """Runs a small model on a device, in this process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SAM2(SMALL).eval()
        images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = torch.cat([values.flatten().float() for values in all_stages(model, images)])
    try:
        model = model.to(device)
        with torch.inference_mode():
            found = torch.cat([values.flatten().float().cpu() for values in all_stages(model, images.to(device))])
    except Exception as error:  # whatever it is, the device will not do
        return DeviceReport(forward=_sentence(error))
    if not torch.isfinite(found).all() or (found - expected).abs().max() > TOLERANCE * expected.abs().max():
        return DeviceReport(forward="it gives other numbers than the CPU")
    try:
        sum(values.square().mean() for values in all_stages(model.train(), images.to(device))).backward()  # type: ignore[union-attr]
        gradients = [parameter.grad.cpu() for parameter in model.parameters() if parameter.grad is not None]
    except Exception as error:
        return DeviceReport(backward=_sentence(error))
    if not all(torch.isfinite(one).all() for one in gradients):
        return DeviceReport(backward="its gradients are not finite")
    return DeviceReport()


def all_stages(model: SAM2, images: Tensor) -> list[Tensor]:
    """What every stage of a model gives for an image: encoded, adopted, remembered, read back, decoded from prompts and from a mask."""
    device, side = images.device, images.shape[-1]
    features = model.encode_image(images)
    mask = torch.zeros(1, 1, side, side, dtype=torch.bool, device=device)
    mask[..., side // 4 : side // 2, side // 4 : side // 2] = True
    given = model.use_mask_as_output(features, mask)
    memory = model.write_memory(features, given.logits, given.object_score_logits)
    conditioned = model.read_memory(features.coarse, [SpatialMemory(memory, 0)], [PointerMemory(given.pointer, 0.5)])
    points = Points(
        torch.tensor([[[20.0, 20.0], [40.0, 44.0], [30.0, 30.0]]], device=device),
        torch.tensor([[2.0, 3.0, 1.0]], device=device),
    )
    first = model.decode(conditioned, features, points=points, multimask=True)
    again = model.decode(conditioned, features, points=points, mask_logits=first.logits, multimask=False)
    return [features.stride4, features.stride8, memory, conditioned, given.pointer, again.all_logits, again.all_ious]


def _sentence(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].partition(" If you want this op")[0][:200]
