"""`neurosam2 follow`: what was outlined on an earlier scan, outlined on the next scan of the same person."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from NeuroSAM2Core import disk
from NeuroSAM2Core.cli.montage import check_picture, draw_montage
from NeuroSAM2Core.errors import DataError, PromptError
from NeuroSAM2Core.labels import find_table, read_table, table_for, write_table
from NeuroSAM2Core.outputs import add_overwrite_option, check_outputs, is_there
from NeuroSAM2Core.registration import Registration, carried_labels, prompts_of, register, thinned
from NeuroSAM2Core.volume import Volume, resolve_axis
from NeuroSAM2Core.volume.files import check_target

if TYPE_CHECKING:
    from collections.abc import Callable


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "follow",
        help="outline on the next scan what was outlined on an earlier one",
        description="Registers two scans of one person (rigid, then affine; SimpleITK is needed), carries the labels of the earlier "
        "one over, and lets the model outline the objects anew from boxes on few slices.",
    )
    parser.add_argument("earlier", type=Path, metavar="EARLIER", help="the scan that was outlined")
    parser.add_argument("later", type=Path, metavar="LATER", help="the next scan of the same person")
    parser.add_argument("--labels", type=Path, metavar="LABELS", help="what was outlined on EARLIER, a label map")
    parser.add_argument("--out", type=Path, metavar="MASK.nii.gz", help="the label map on the grid of LATER")
    parser.add_argument(
        "--registration-only", type=Path, metavar="FILE.json", help="write how the scans lie to each other, and no more"
    )
    parser.add_argument(
        "--carried-only", action="store_true", help="write the labels as carried over, without the model"
    )
    parser.add_argument("--axis", default="axial", help="of the slices: axial, coronal, sagittal, i, j or k (axial)")
    parser.add_argument("--model", default="nano", help="catalog name or model file (default: nano)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--png", type=Path, metavar="OVERLAY.png", help="a picture of the result")
    add_overwrite_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Follows; see `add_parser`."""
    outputs = _checked(args)
    check_outputs(
        outputs, inputs=[one for one in (args.earlier, args.later, args.labels) if one], overwrite=args.overwrite
    )
    earlier, later = Volume.read(args.earlier), Volume.read(args.later)
    labels = Volume.read(args.labels) if args.labels else None
    registration = register(thinned(earlier), thinned(later), report=_report())
    _say(registration, later)
    if args.registration_only:
        _write(args.registration_only, registration.to_text(), overwrite=args.overwrite)
        return 0
    assert labels is not None, "`_checked` sees to it"
    carried = carried_labels(labels, later, registration)
    axis = resolve_axis(later, args.axis)
    values = [value for value in np.unique(carried).tolist() if value > 0]
    result, prompts = carried, []
    if not args.carried_only:
        from NeuroSAM2Core.checkpoint import load_model  # heavy: only now that the scans are known to fit
        from NeuroSAM2Core.cohort.answer import give_prompts
        from NeuroSAM2Core.inference import Session

        session = Session(load_model(args.model, device=args.device), later)
        for value in values:
            give_prompts(session, value, prompts_of(carried == value, axis))
            print(f"label {value}: {sum(1 for _ in session.propagate(value))} slices")
        result = session.labels().voxels.astype(np.int32)
        prompts = session.prompts(values[0])
    dtype = np.uint8 if max(values) < 256 else np.int32
    later.with_voxels(result.astype(dtype)).write(args.out, overwrite=args.overwrite)
    known = find_table(args.labels)
    table = (table_for(values) if known is None else read_table(known)).restricted(values)
    write_table(_table_beside(args.out), table, overwrite=args.overwrite)
    print(f"{len(values)} object{'s' * (len(values) > 1)}, written to {args.out}")
    if args.png:
        from NeuroSAM2Core.volume import percentile_window

        window = percentile_window(later.voxels)
        draw_montage(args.png, later, window, axis, result > 0, prompts, later.name)
        print(f"picture written to {args.png}")
    return 0


def _checked(args: argparse.Namespace) -> list[Path]:
    """The files that are written, once the options fit each other."""
    if args.registration_only:
        if args.out or args.labels:
            raise PromptError("--registration-only writes one file", hint="leave out --labels and --out")
        return [args.registration_only]
    if not args.labels or not args.out:
        raise PromptError("--labels and --out are needed", hint="name what was outlined, and where the answer goes")
    check_target(args.out)
    if args.png:
        check_picture(args.png)
    return [args.out, _table_beside(args.out), *([args.png] if args.png else [])]


def _table_beside(out: Path) -> Path:
    return out.with_name(out.name.removesuffix(".gz").removesuffix(".nii") + ".tsv")


def _report() -> "Callable[[float], None]":
    """Prints how far it is, a line for each of a hundred parts."""
    last = -1

    def report(share: float) -> None:
        nonlocal last
        if (now := int(100 * share)) > last:
            last = now
            print(f"progress {share:.2f}", flush=True)

    return report


def _say(registration: Registration, later: Volume) -> None:
    centre = later.to_ras((np.array(later.shape[::-1]) - 1) / 2)
    print(
        f"turned by {registration.angle_degrees:.1f} degrees, moved by {registration.shift_mm(centre):.1f} mm; "
        f"mutual information {registration.similarity_before:.2f} before, {registration.similarity:.2f} after"
    )
    if registration.is_doubtful:
        print("the registration is doubtful: look at the result")


def _write(path: Path, text: str, *, overwrite: bool) -> None:
    try:
        disk.write_atomically(path, text + "\n", overwrite=overwrite)
    except FileExistsError as error:
        raise is_there(path) from error
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}", hint="choose another folder") from error
