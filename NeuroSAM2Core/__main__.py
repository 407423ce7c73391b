"""`python -m NeuroSAM2Core` is `neurosam2`."""

import sys

from NeuroSAM2Core.cli.main import main

sys.exit(main())
