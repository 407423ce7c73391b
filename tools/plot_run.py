"""The curves of a run as a picture.

Usage: python tools/plot_run.py RUN_FOLDER OUT.png
"""

import sys
from pathlib import Path

from NeuroSAM2Core.train.curves import plot_curves

if __name__ == "__main__":
    plot_curves(Path(sys.argv[1]), Path(sys.argv[2]))
