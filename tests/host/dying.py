"""A conductor that is killed when a start comes to a step: `python -m tests.host.dying STEP`."""

import os
import signal
import sys

from conductor import main
from conductor.work import Work
from drc.errors import DrcError

step = sys.argv[1]
begin, finish = Work.begin, main.Conductor._finish


def begin_or_die(work: Work, next_step: str) -> None:
    if next_step == step:
        os.kill(os.getpid(), signal.SIGKILL)
    begin(work, next_step)


def finish_or_die(conductor: main.Conductor, work: Work, failed: DrcError | None) -> None:
    if work.verb == "start" and step == "finish":
        os.kill(os.getpid(), signal.SIGKILL)
    finish(conductor, work, failed)


Work.begin = begin_or_die
main.Conductor._finish = finish_or_die
main.main()
