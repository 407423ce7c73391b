"""`python -m NeuroSAM2Core` is `neurosam2`."""

import sys

try:
    from NeuroSAM2Core.cli.main import main
except KeyboardInterrupt:
    print("neurosam2: interrupted", file=sys.stderr)  # noqa: T201
    sys.exit(130)

sys.exit(main())
