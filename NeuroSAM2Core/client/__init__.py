"""How a program without torch asks a worker: NumPy and the standard library only, no thread, no waiting."""

from NeuroSAM2Core.client.blocking import RemoteSession
from NeuroSAM2Core.client.client import EngineClient
from NeuroSAM2Core.client.launcher import LocalWorker
from NeuroSAM2Core.client.ledger import Ledger
from NeuroSAM2Core.client.replay import SliceStatement, Statement, restate

__all__ = ["EngineClient", "Ledger", "LocalWorker", "RemoteSession", "SliceStatement", "Statement", "restate"]
