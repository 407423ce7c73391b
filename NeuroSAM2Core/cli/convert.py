"""`neurosam2 convert`: an official model file becomes one of ours."""

import argparse
from pathlib import Path

from NeuroSAM2Core.errors import CheckpointError
from NeuroSAM2Core.outputs import add_overwrite_option, check_outputs


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "convert", help="turn an official .pt, .pth or .ckpt file into a safe .safetensors one"
    )
    parser.add_argument("source", type=Path, metavar="IN")
    parser.add_argument("target", type=Path, metavar="OUT.safetensors")
    parser.add_argument("--image-size", type=int, help="side of the model's input, if not the usual one for this file")
    parser.add_argument(
        "--lora-alpha", type=float, help="scale of low-rank adapters, if the file has any (default: 16)"
    )
    parser.add_argument("--half", action="store_true", help="store the weights as float16")
    add_overwrite_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Converts; see `add_parser`."""
    from NeuroSAM2Core.checkpoint import read_official

    if args.target.suffix != ".safetensors":
        raise CheckpointError(f"cannot write {args.target.name}: expected a name that ends in .safetensors")
    check_outputs([args.target], inputs=[args.source], overwrite=args.overwrite)
    checkpoint = read_official(args.source, image_size=args.image_size, lora_alpha=args.lora_alpha, hashed=True)
    checkpoint.build_model()
    checkpoint.save(args.target, half=args.half)
    count = sum(value.numel() for value in checkpoint.state.values())
    print(f"{checkpoint.provenance.notes}: {count / 1e6:.1f} million weights, input {checkpoint.config.image_size} px")
    print(f"written to {args.target}")
    return 0
