"""`neurosam2 download`: fetches a known model, or lists them."""

import argparse
from pathlib import Path

from NeuroSAM2Core.errors import CheckpointError


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declares the command."""
    parser = subparsers.add_parser("download", help="fetch a known model, or list them")
    parser.add_argument("name", nargs="?", help="catalog name; without one, the models are listed")
    parser.add_argument("--folder", type=Path, help="where models are kept (default: the user's cache)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Downloads or lists; see `add_parser`."""
    from tqdm import tqdm

    from NeuroSAM2Core.checkpoint import catalog, download, find

    if args.name is None:
        for entry in catalog().values():
            state = "here" if entry.installed(args.folder).exists() else "not downloaded"
            print(f"{entry.name:24} {state:15} {entry.description} [{entry.licence}]")
        return 0
    entry = find(args.name)
    if not entry.bundled:
        print(f"{entry.description}; licence: {entry.licence}; from {entry.url}")
    with tqdm(unit="B", unit_scale=True, desc=entry.name, leave=False, disable=None) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        path = download(entry, args.folder, on_progress=show)
    if not path.exists():
        raise CheckpointError(
            f"the bundled model {entry.name} is missing from this installation", hint="install neurosam2 again"
        )
    print(f"{entry.name} is at {path}")
    return 0
