"""`drc --help` and `drc list` as whole processes, beside what they import and beside peers.

The processes take turns, so that what else the machine does falls on all of them. Bytecode is
cached, as in any installation. `--peers` installs dstack once, into ~/.cache/drc-bench.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.report import finish, p50, run
from drc.cli.account import get
from drc.errors import Misconfigured

TARGETS = {"help_ratio": {"max": 0.7}, "list_ratio": {"max": 1.3}}
PEERS = Path("~/.cache/drc-bench").expanduser()


def commands(peers: bool) -> dict[str, list[str]]:
    here = Path(sys.executable)
    drc = str(here.with_name("drc"))
    found = {
        "help": [drc, "--help"],
        "list": [drc, "list"],
        "import": [str(here), "-c", "import typer, rich, httpx"],
        "docker_ps": ["docker", "ps"],
    }
    if peers:
        found["dstack_help"] = [str(dstack()), "--help"]
    return found


def dstack() -> Path:
    """Its program, in an environment of its own."""
    folder = PEERS / "dstack"
    program = folder / "bin" / "dstack"
    if not program.exists():
        print("installing dstack", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "-qq", "dstack"], check=True)
    return program


def measure(lines: Mapping[str, Sequence[str]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each process in each round; the first round fills caches and does not count."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    taken: dict[str, list[float]] = {name: [] for name in lines}
    for number in range(rounds + 1):
        for name, line in lines.items():
            begun = time.perf_counter()
            done = subprocess.run(
                line, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True
            )
            spent = time.perf_counter() - begun
            if done.returncode:
                raise Misconfigured(f"{' '.join(line)}: {done.stderr.strip()}")
            if number:
                taken[name].append(spent)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cli")
    parser.add_argument("--rounds", type=int, default=30, help="of every command (30)")
    parser.add_argument("--peers", action="store_true", help="dstack --help too, from PyPI")
    options = parser.parse_args()
    get("/v1/vessels")  # says how to start drc when it is not running
    lines = commands(options.peers)
    taken = measure(lines, options.rounds)
    print(f"\n{'':<48}{'median':>8}{'best':>8}  ms")
    for name, seconds in taken.items():
        words = " ".join([Path(lines[name][0]).name, *lines[name][1:]])
        print(f"  {words:<46}{p50(seconds) * 1000:>8.1f}{min(seconds) * 1000:>8.1f}")
    middle = {name: p50(seconds) for name, seconds in taken.items()}
    figures = {f"{name}_p50_s": seconds for name, seconds in middle.items()} | {
        "help_ratio": middle["help"] / middle["import"],
        "list_ratio": middle["list"] / middle["import"],
    }
    finish("cli", figures, TARGETS)


if __name__ == "__main__":
    run(main)
