"""A conductor that halts before a step, once, until it is let go on: `halting STEP FOLDER`.

It makes the file `reached` in the folder, and waits for the file `go`.
"""

import sys
import time
from pathlib import Path

from conductor import main
from conductor.work import Work

step, folder = sys.argv[1], Path(sys.argv[2])
begin = Work.begin


def begin_later(work: Work, next_step: str) -> None:
    if next_step == step and not (folder / "reached").exists():
        (folder / "reached").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
    begin(work, next_step)


Work.begin = begin_later
main.main()
