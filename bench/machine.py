"""The machine that the figures were taken on, in a line."""

import os
import platform
import subprocess
from pathlib import Path


def describe() -> str:
    """CPU, cores, memory, kernel, engine, Python, and how busy it is before we begin."""
    memory = int(field("/proc/meminfo", "MemTotal").split()[0]) / 2**20
    return ", ".join(
        (
            field("/proc/cpuinfo", "model name") or platform.machine(),
            f"{os.cpu_count()} cores",
            f"{memory:.0f} GiB",
            f"Linux {platform.release()}",
            engine(),
            f"Python {platform.python_version()}",
            f"load {os.getloadavg()[0]:.1f}",
        )
    )


def field(file: str, name: str) -> str:
    """The first value of that name in a file of `name : value` lines; empty when there is none."""
    for line in Path(file).read_text().splitlines():
        found, _, value = line.partition(":")
        if found.strip() == name:
            return value.strip()
    return ""


def engine() -> str:
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "no Docker"
    return f"Docker {said.stdout.strip()}" if said.returncode == 0 else "no Docker"
