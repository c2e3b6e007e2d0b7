"""Screens that are drawn again and again."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

PAUSE = 2.0  # seconds


def live(frame: Callable[[], Sequence[str]], *, once: bool = False) -> None:
    """Draw every 2 s until Ctrl-C, which leaves the last of it; once where there is no terminal.

    What does not answer for a while is said below what was seen last.
    """
    shown = frame()
    if once or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        print("\n".join(shown))
        return
    from rich.console import Console
    from rich.live import Live

    from drc.errors import Unreachable

    try:
        with Live(
            drawn(shown), console=Console(highlight=False), screen=True, auto_refresh=False
        ) as screen:
            screen.refresh()
            while True:
                time.sleep(PAUSE)
                try:
                    shown, trouble = frame(), list[str]()
                except Unreachable as failed:
                    trouble = ["", failed.message]
                screen.update(drawn([*shown, *trouble]), refresh=True)
    finally:
        print("\n".join(shown))


def drawn(lines: Sequence[str]) -> Any:
    from rich.text import Text

    return Text.from_ansi("\n".join(lines), no_wrap=True, overflow="ellipsis")
