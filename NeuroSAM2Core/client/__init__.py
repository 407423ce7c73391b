"""How a program without torch asks a worker: NumPy and the standard library only, no thread, no waiting."""

from NeuroSAM2Core.client.client import EngineClient
from NeuroSAM2Core.client.launcher import LocalWorker
from NeuroSAM2Core.client.replay import Ledger, SliceStatement, Statement, restate

__all__ = ["EngineClient", "Ledger", "LocalWorker", "SliceStatement", "Statement", "restate"]
