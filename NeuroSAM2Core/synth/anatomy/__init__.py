"""Heads made of the label maps of real individuals: complete, deformed anew each time, in any contrast.

The label maps are read from installed packages (`individuals`), nothing of them is part of this repository. What they leave out is derived
by geometry (`completion`), `heads` adds the rest of the head and keeps the result as files. `labels` says what a person may ask for in
them, `contrast` makes pictures of them.
"""

from NeuroSAM2Core.synth.anatomy.heads import Head, build_bank, check_bank, missing_heads
from NeuroSAM2Core.synth.anatomy.individuals import AnatomySources, find_sources

__all__ = ["AnatomySources", "Head", "build_bank", "check_bank", "find_sources", "missing_heads"]
