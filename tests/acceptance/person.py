"""A person at a machine: commands as they type them, with a home of their own.

OpenSSH finds the home in the password file, whatever HOME says, so each command runs in a mount
namespace in which that home is a folder of the test's.
"""

import os
import pwd
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Person:
    home: Path
    folder: Path
    env: dict[str, str]

    def _line(self, command: str) -> list[str]:
        real = pwd.getpwuid(os.getuid()).pw_dir
        inside = f"cd {self.folder} && exec bash -c {shlex.quote(command)}"
        script = f"mount --bind {self.home} {real} && {inside}"
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]

    def start(self, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._line(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.env,
        )

    def run(self, command: str, *, fails: int = 0, timeout: float = 600) -> str:
        """Type a command; what it printed. It must end with the status `fails`."""
        process = self.start(command)
        said, _ = process.communicate(timeout=timeout)
        assert process.returncode == fails, f"$ {command}\n{said}"
        assert "Traceback" not in said, said
        return said
