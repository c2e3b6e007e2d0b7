"""The real command line as a process, in a home of its own."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.wire.warm import PATIENCE, Said, Warm

PROGRAM = (
    # a shell's background job inherits SIGINT ignored, and Python then never hears of it
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from drc.cli import main; main()"
)


@dataclass
class Terminal:
    """One person at one machine."""

    home: Path
    url: str
    token: str
    warm: Warm
    more: dict[str, str] = field(default_factory=dict[str, str])
    """Of the environment."""

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "TMPDIR": str(self.home),
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "200",
            "DRC_URL": self.url,
            "DRC_TOKEN": self.token,
            **self.more,
        }

    def __call__(self, *words: str, stdin: str = "") -> Said:
        return self.warm.run(words, self.environment, stdin, self.home)

    @contextmanager
    def started(self, *words: str) -> Iterator["Running"]:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )
        running = Running(process)
        try:
            yield running
        finally:
            process.kill()
            running.end()


def lines(text: str) -> list[list[str]]:
    """The cells of a table."""
    return [re.split(r" {2,}", line) for line in text.splitlines()]


class Running:
    """A drc that goes on; its lines are read as they come."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: queue.Queue[str] = queue.Queue()
        self.said: list[str] = []
        self.readers = [
            threading.Thread(target=self._read, args=(stream,))
            for stream in (process.stdout, process.stderr)
        ]
        for reader in self.readers:
            reader.start()

    def _read(self, stream: Any) -> None:
        for line in stream:
            self.lines.put(line)
        stream.close()

    def wait_for(self, text: str) -> str:
        """The first line that has the text in it, on either stream."""
        while True:
            try:
                line = self.lines.get(timeout=PATIENCE)
            except queue.Empty:
                raise AssertionError(f"“{text}” was not said in: {''.join(self.said)}") from None
            self.said.append(line)
            if text in line:
                return line

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> Said:
        """Wait for it to exit by itself."""
        status = self.process.wait(timeout=PATIENCE)
        for reader in self.readers:
            reader.join(timeout=PATIENCE)
        while not self.lines.empty():
            self.said.append(self.lines.get())
        return Said(status, "", "".join(self.said))
