"""The command line, `nbsoftmax`."""

from nbsoftmax.cli.parser import main as main
