"""Model files: ours, those of others, the catalog of known ones, and how they get here."""

from NeuroSAM2Core.catalog import CatalogEntry, catalog, find
from NeuroSAM2Core.checkpoint.checkpoint import Checkpoint, Provenance, TrainingRecord
from NeuroSAM2Core.checkpoint.download import download
from NeuroSAM2Core.checkpoint.load import (
    engine_file,
    load_checkpoint,
    load_model,
    ready_model,
    resolve_device,
    write_engine_file,
)
from NeuroSAM2Core.checkpoint.official import read_official

__all__ = [
    "CatalogEntry",
    "Checkpoint",
    "Provenance",
    "TrainingRecord",
    "catalog",
    "download",
    "engine_file",
    "find",
    "load_checkpoint",
    "load_model",
    "read_official",
    "ready_model",
    "resolve_device",
    "write_engine_file",
]
