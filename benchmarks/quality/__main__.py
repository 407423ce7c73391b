"""`python -m benchmarks.quality [options]`: measures what is missing and prints the tables; the README stays as it is."""

import sys

from benchmarks.quality.command import measure
from NeuroSAM2Core.errors import DataError

try:
    print(measure(sys.argv[1:]).text)
except DataError as error:
    raise SystemExit(str(error)) from error
