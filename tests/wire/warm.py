"""A drc that has imported what it needs, and becomes a new process for each command.

Python and its imports take most of a second on a busy machine, and these tests run the command line
a hundred times. This file is both ends: run as a program it forks for each line that it is told.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 20.0


@dataclass
class Said:
    status: int
    out: str
    err: str


class Warm:
    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            start_new_session=True,  # killed as a group, with a command that does not end
        )

    def run(
        self, words: Sequence[str], environment: dict[str, str], stdin: str, folder: Path
    ) -> Said:
        """`drc WORDS…` with that environment and no other, in a process of its own."""
        files = [folder / name for name in ("stdin", "stdout", "stderr")]
        files[0].write_text(stdin)
        told = {"words": list(words), "env": environment, "files": [str(file) for file in files]}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(told) + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        if not ready:
            self.close()
            self.start()
            raise AssertionError(f"drc {' '.join(words)} did not end within {PATIENCE:.0f} s")
        status = int(self.process.stdout.readline())
        return Said(status, files[1].read_text(), files[2].read_text())

    def close(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


def serve() -> None:
    import drc.cli.app
    import drc.client  # noqa: F401

    for line in sys.stdin:
        child = os.fork()
        if not child:
            become(**json.loads(line))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, flush=True)


def become(words: list[str], env: dict[str, str], files: list[str]) -> None:
    from drc.cli import main

    for number, file in enumerate(files):
        how = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(file, how), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  # the old one has read ahead
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.argv = ["drc", *words]
    status = 0
    try:
        main()
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    serve()
