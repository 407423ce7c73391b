"""Training clips from heads made of real label maps: what is drawn (`config`), how (`clips`), and the batch of every step (`batches`)."""

from NeuroSAM2Core.training.anatomy.config import AnatomyConfig, ClipConfig

__all__ = ["AnatomyConfig", "ClipConfig"]
