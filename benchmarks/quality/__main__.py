"""`python -m benchmarks.quality [options]`: measures what is missing and prints the tables; the README stays as it is."""

import sys

from benchmarks.quality.command import measure

print(measure(sys.argv[1:]))
