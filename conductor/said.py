"""What programs of others said may hold anything, what commands a terminal included."""

import re


def clean(said: str) -> str:
    """A line of at most 2,000 letters that can be printed."""
    printable = "".join(letter if letter.isprintable() else " " for letter in said)
    return " ".join(printable.split())[:2000]


def last_of_line(said: str) -> str:
    """Of a line that was written over, as progress bars are, the last; at most 300 letters."""
    line = said.rstrip("\r").rpartition("\r")[2]
    return clean(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line))[:300]
