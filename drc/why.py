"""What the undertaker thinks of a vessel, in lines of a screen or a message."""

from collections.abc import Callable, Mapping
from typing import Any

from drc.spark import spark

Show = Callable[[str], str]
"""An instant (ISO 8601) as the reader sees it."""


def screen(told: Mapping[str, Any], when: Show, ago: Show) -> list[tuple[str, str]]:
    """Label and line, of what there is to say of an answer of `GET /v1/vessels/{name}/why`."""
    seen = told["evidence"]
    lines = [("vessel", f"{told['name']}, {told['state']}"), ("because", told["reason"])]
    if told["judged_at"]:
        lines.append(("judged", f"{ago(told['judged_at'])} ago"))
    if seen.get("looks"):
        averages = ", ".join(f"{one:g} %" for one in seen["averages"])
        lines.append(("seen", f"{averages} of each GPU on average, in {seen['looks']} looks"))
    if seen.get("last_24h"):
        lines.append(("24 hours", spark(seen["last_24h"])))
    if told["warned_at"] and told["told_at"]:
        lines.append(("warned", f"{when(told['warned_at'])}, delivered"))
    elif told["warned_at"]:
        trouble = f": {told['trouble']}" if told["trouble"] else ""
        lines.append(("warned", f"{when(told['warned_at'])}, not delivered yet{trouble}"))
    if told["kept_until"]:
        because = f", for: {told['kept_why']}" if told["kept_why"] else ""
        lines.append(("kept", f"until {when(told['kept_until'])}{because}"))
    lines.append(("next", after(told, when)))
    return lines


def after(told: Mapping[str, Any], when: Show) -> str:
    ends = f"it ends {when(told['ends_at'])} in any case: drc extend {told['name']}"
    if told["lives_until"]:
        ends = f"it ends {when(told['lives_until'])}: the policy lets it live no longer"
    if not told["bury_at"]:
        return ends
    keep = f"drc keep {told['name']}" if told["keeps_left"] else "it can be kept no more"
    return f"if it stays idle it is buried {when(told['bury_at'])}: use its GPUs, or {keep}"


def again(keeps_left: int) -> str:
    """How often it can still be kept, after `You can do that`."""
    return (
        f"{keeps_left} more times" if keeps_left > 1 else "once more" if keeps_left else "no more"
    )
