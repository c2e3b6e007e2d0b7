"""Measurements: `python -m bench.NAME`. The last line on stdout is JSON, the rest is for people."""
