"""`neurosam2 serve`: a worker for clients on other machines, or for several on this one."""

import argparse
from pathlib import Path

from NeuroSAM2Core.errors import WorkerError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declares the command."""
    from NeuroSAM2Core.remote.server.options import add_limit_options

    parser = subparsers.add_parser(
        "serve",
        help="compute for clients on other machines",
        description="Runs a worker that clients reach over the network, several at a time, each by itself. The connection is not "
        "encrypted: leave --host as it is and let clients come through a tunnel, such as `ssh -L 7424:127.0.0.1:7424 this-machine`.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=7424, help="port to listen on; 0 for any (default: %(default)s)")
    parser.add_argument(
        "--token-file", type=Path, required=True, metavar="FILE", help="what clients must show; made if it is not there"
    )
    add_limit_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serves until it is told to stop; see `add_parser`."""
    from NeuroSAM2Core.remote.server.options import limits_of
    from NeuroSAM2Core.remote.server.process import WorkerProcess, end_on_signals, leave, listen, token_in

    limits, token = limits_of(args), token_in(args.token_file)
    try:
        listener = listen(args.host, args.port)
    except (OSError, OverflowError) as error:
        raise WorkerError(
            f"cannot listen on {args.host}, port {args.port}: {getattr(error, 'strerror', None) or error}",
            hint="choose another --port, or an address of this machine",
        ) from error
    worker = WorkerProcess(listener, token, limits)
    end_on_signals(worker.stop)
    host, port = listener.getsockname()[:2]
    print(f"serving on {host}, port {port}; the token is in {args.token_file}", flush=True)
    if args.host not in LOOPBACK:
        print(
            "what is sent, images included, can be read on the way: use a tunnel where the network is not yours",
            flush=True,
        )
    worker.run()
    leave(worker.exit_code)
    return 0
