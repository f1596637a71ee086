"""`python -m rackrate` is the command line."""

from rackrate.cli import run

run()
