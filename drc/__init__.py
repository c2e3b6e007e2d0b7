"""drc: the command-line vessel manager for researchers."""

__version__ = "0.1.0"
