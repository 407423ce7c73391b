"""`python -m NeuroSAM2Web`: what `neurosam2 app` does, with the same arguments."""

import argparse
import sys

from NeuroSAM2Web import command

parser = argparse.ArgumentParser(prog="python -m NeuroSAM2Web")
command.add_parser(parser.add_subparsers())
args = parser.parse_args(["app", *sys.argv[1:]])
sys.exit(args.run(args))
