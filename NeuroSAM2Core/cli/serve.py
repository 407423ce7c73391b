"""`neurosam2 serve`: a server for clients on other machines, or for several on this one: one worker, or one for each GPU."""

import argparse
import contextlib
import os
import sys
from pathlib import Path

from NeuroSAM2Core.errors import ConfigError, WorkerError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declares the command."""
    from NeuroSAM2Core.remote.server.options import add_limit_options

    parser = subparsers.add_parser(
        "serve",
        help="compute for clients on other machines",
        description="Runs workers that clients reach over the network, several at a time, each by itself. The connection is not "
        "encrypted: leave --host as it is and let clients come through a tunnel, such as `ssh -L 7424:127.0.0.1:7424 this-machine`.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=7424, help="port to listen on; 0 for any (default: %(default)s)")
    parser.add_argument(
        "--token-file", type=Path, required=True, metavar="FILE", help="what clients must show; made if it is not there"
    )
    parser.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="workers; each client is served by the one with least to do (default: one for each GPU, or one)",
    )
    parser.add_argument(
        "--metrics-port",
        type=int,
        metavar="PORT",
        help="also answer /metrics (for Prometheus) and /healthz there, over HTTP; 0 for any (default: no)",
    )
    parser.add_argument(
        "--metrics-host", default="127.0.0.1", metavar="HOST", help="address for these (default: %(default)s)"
    )
    add_limit_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serves until it is told to stop; see `add_parser`."""
    from NeuroSAM2Core.remote.server.counters import MetricsServer
    from NeuroSAM2Core.remote.server.dispatcher import Dispatcher, visible_devices
    from NeuroSAM2Core.remote.server.options import limits_of
    from NeuroSAM2Core.remote.server.process import WorkerProcess, end_on_signals, leave, listen, token_in

    if args.processes is not None and args.processes < 1:
        raise ConfigError(f"--processes must be at least 1; got {args.processes}")
    limits, token = limits_of(args), token_in(args.token_file)
    num_gpus = 0 if args.processes == 1 else _num_gpus()
    count = args.processes or max(1, num_gpus)
    if count > 1 and sys.platform == "win32":
        raise ConfigError("several workers share a port on POSIX systems only", hint="--processes 1")
    try:
        listener = listen(args.host, args.port)
    except (OSError, OverflowError) as error:
        raise WorkerError(
            f"cannot listen on {args.host}, port {args.port}: {getattr(error, 'strerror', None) or error}",
            hint="choose another --port, or an address of this machine",
        ) from error
    server: WorkerProcess | Dispatcher
    with contextlib.closing(listener), contextlib.ExitStack() as stack:
        if count == 1:
            server = WorkerProcess(listener, token, limits)
        else:
            devices = visible_devices(os.environ, num_gpus)
            server = Dispatcher(listener, token, limits, count=count, devices=devices)
        metrics = None
        if args.metrics_port is not None:
            metrics = MetricsServer(args.metrics_host, args.metrics_port, server.state)
            stack.callback(metrics.close)
        end_on_signals(server.stop)
        host, port = listener.getsockname()[:2]
        print(f"serving on {host}, port {port}; the token is in {args.token_file}", flush=True)
        if count > 1:
            print(f"{count} workers" + (f" on {num_gpus} GPUs" if num_gpus else ""), flush=True)
        if metrics is not None:
            print(f"counters on http://{args.metrics_host}:{metrics.port}/metrics", flush=True)
        if args.host not in LOOPBACK:
            print(
                "what is sent, images included, can be read on the way: use a tunnel where the network is not yours",
                flush=True,
            )
        server.run()
    leave(server.exit_code)
    return 0


def _num_gpus() -> int:
    """How many GPUs PyTorch can use."""
    import torch

    return torch.cuda.device_count()
