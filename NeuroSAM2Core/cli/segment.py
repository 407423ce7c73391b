"""`neurosam2 segment`: a volume and prompts in, a mask of the whole object out."""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from NeuroSAM2Core.cli.montage import check_picture, draw_montage
from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.outputs import add_overwrite_option, check_outputs
from NeuroSAM2Core.prompts.prompts import BOX_EXAMPLE, POINT_EXAMPLE, TypedBox, TypedPoint, parse_box, parse_point
from NeuroSAM2Core.volume import Axis, IntensityWindow, Volume, ct_window, resolve_axis
from NeuroSAM2Core.volume.files import check_target

if TYPE_CHECKING:
    from NeuroSAM2Core.inference import Session

OBJECT_ID = 1


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "segment",
        help="outline an object in a volume",
        description="Outlines an object in a NIfTI volume from a box and points. AXIS is axial, coronal, sagittal (the volume axis "
        "nearest to it), i, j or k; INDEX, R and C are voxel indices of the file's own grid, the in-plane axes in (k, j, i) order.",
    )
    parser.add_argument("image", type=Path, help="NIfTI file (.nii, .nii.gz), or the folder of a DICOM series")
    parser.add_argument("--box", metavar="AXIS:INDEX:R0,C0,R1,C1", help=BOX_EXAMPLE)
    parser.add_argument("--point", action="append", default=[], metavar="AXIS:INDEX:R,C[,+|-]", help=POINT_EXAMPLE)
    parser.add_argument(
        "--reading",
        type=int,
        metavar="N",
        help="which of the masks that a single point can mean, 1 for the most likely (default: 1); how many there are is printed",
    )
    parser.add_argument("--model", default="nano", help="catalog name or model file (default: nano)")
    parser.add_argument("--range", metavar="A:B", help="first and last slice to do (default: all)")
    parser.add_argument(
        "--window", metavar="LOW:HIGH|NAME", help="intensities for black and white, or a CT window: brain, bone, ..."
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="MASK.nii.gz", help="the mask, on the image's own grid"
    )
    parser.add_argument("--png", type=Path, metavar="OVERLAY.png", help="a picture of the result")
    parser.add_argument("--series", metavar="N|UID", help="which DICOM series, where the folder holds several")
    add_overwrite_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Segments and writes; see `add_parser`."""
    boxes = [parse_box(args.box)] if args.box else []
    points = [parse_point(text) for text in args.point]
    if not boxes and not points:
        raise PromptError("nothing was prompted", hint=f"give --box, {BOX_EXAMPLE}")
    _check_reading(args, len(boxes), len(points))
    _check_files(args)
    volume = Volume.read(args.image, series=args.series)
    first, last = _parse_range(args.range)
    window = _parse_window(args.window)

    from NeuroSAM2Core.checkpoint import load_model  # heavy: only now that the input is known to be sound
    from NeuroSAM2Core.inference import Session

    session = Session(load_model(args.model, device=args.device), volume, window=window)
    axis = resolve_axis(volume, (boxes or points)[0].axis)
    _prompt(session, boxes, points)
    _choose_reading(session, boxes, points, args.reading)
    count, seconds = _propagate(session, first, last)

    mask = session.mask(OBJECT_ID)
    session.labels().write(args.out, overwrite=args.overwrite)
    print(f"{count} slices in {seconds:.1f} s ({1000 * seconds / max(count, 1):.0f} ms per slice)")
    if not mask.any():
        print("the mask is empty: other prompts or another --window may help", file=sys.stderr)
    print(f"volume {mask.sum() * volume.voxel_volume_ml:.1f} mL, written to {args.out}")
    if args.png:
        _draw(args.png, session, axis)
        print(f"picture written to {args.png}")
    return 0


def _check_files(args: argparse.Namespace) -> None:
    """Checks that the results can be written, before anything is read."""
    check_target(args.out)
    if args.png:
        check_picture(args.png)
    read, written = [args.image, Path(args.model)], [args.out, *([args.png] if args.png else [])]
    check_outputs(written, inputs=read, overwrite=args.overwrite)


def _prompt(session: "Session", boxes: list[TypedBox], points: list[TypedPoint]) -> None:
    for typed in boxes:
        b = typed.box
        session.add_box(OBJECT_ID, typed.axis, typed.index, (b.row0, b.col0, b.row1, b.col1))
    for args in points:
        p = args.point
        session.add_point(OBJECT_ID, args.axis, args.index, (p.row, p.col), positive=p.positive)


def _check_reading(args: argparse.Namespace, num_boxes: int, num_points: int) -> None:
    """Checks `--reading` before the model is loaded."""
    if args.reading is None:
        return
    if num_boxes or num_points != 1:
        raise PromptError(
            "a reading was chosen, and the prompts are more than one point: they have one meaning",
            hint="leave out --reading, or give a single --point and no --box",
        )
    if args.reading < 1:
        raise PromptError(f"reading {args.reading} was chosen; they are counted from 1", hint="1 is the most likely")


def _choose_reading(session: "Session", boxes: list[TypedBox], points: list[TypedPoint], reading: int | None) -> None:
    """Takes the reading that was asked for, and says how many there are where a single point was given."""
    if boxes or len(points) != 1:
        return
    (typed,) = points
    count = max(1, len(session.readings(OBJECT_ID, typed.axis, typed.index)))
    chosen = reading or 1
    if chosen > count:
        known = "the point has only one reading" if count == 1 else f"the point has {count} readings"
        hint = "leave out --reading, or give a box" if count == 1 else f"choose 1 to {count}"
        raise PromptError(f"there is no reading {chosen}: {known}", hint=hint)
    if chosen > 1:
        session.choose_reading(OBJECT_ID, typed.axis, typed.index, chosen - 1)
    if count > 1:
        print(f"reading {chosen} of {count}; --reading chooses another")


def _propagate(session: "Session", first: int | None, last: int | None) -> tuple[int, float]:
    """Slices done and seconds taken, with a progress bar while it runs."""
    from tqdm import tqdm

    started = time.perf_counter()
    total = session.num_slices_to_do(OBJECT_ID, first=first, last=last)
    count = 0
    with tqdm(total=total, unit="slice", desc="propagating", leave=False, disable=None) as bar:
        for _ in session.propagate(OBJECT_ID, first=first, last=last):
            count += 1
            bar.update()
    return count, time.perf_counter() - started


def _draw(path: Path, session: "Session", axis: Axis) -> None:
    draw_montage(
        path,
        session.volume,
        session.window,
        axis,
        session.mask(OBJECT_ID),
        session.prompts(OBJECT_ID),
        session.volume.name,
    )


def _parse_range(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    try:
        first, last = (int(word) for word in text.split(":"))
    except ValueError:
        raise PromptError(f"range {text!r} is not A:B", hint="for example --range 60:120") from None
    return first, last


def _parse_window(text: str | None) -> IntensityWindow | None:
    if text is None:
        return None
    if ":" not in text:
        return ct_window(text)
    try:
        low, high = (float(word) for word in text.split(":"))
    except ValueError:
        raise PromptError(f"window {text!r} is not LOW:HIGH", hint="for example --window 0:80") from None
    return IntensityWindow(low, high)
