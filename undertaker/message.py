"""What owners and operators are told, in words and as Slack shows it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from drc.spark import spark

LONGEST = 2900  # letters of a section; Slack takes 3000


@dataclass(frozen=True, slots=True)
class Message:
    id: int
    kind: str
    """warned, called or buried; trouble or well; draining."""
    owner: str
    """Empty: it is for the operators."""
    called: str
    """What people call the owner: an e-mail address, where one was verified."""
    body: dict[str, Any]
    made_at: datetime
    reached: str = ""
    """Whom messages to this owner went to of late, as the channel calls people."""

    @property
    def is_certain(self) -> bool:
        """Whether it is sent again where nobody knows what became of it: a burial hangs on it."""
        return self.kind == "warned"

    @property
    def is_about_idleness(self) -> bool:
        return self.kind in ("warned", "called", "buried")

    @property
    def title(self) -> str:
        if self.kind == "draining" and self.body.get("refused"):
            return f"{self.body['vessels'][0]} ended and is nowhere else"
        if self.kind == "draining" and self.body.get("stays"):
            return f"{self.body['vessels'][0]} began without your home"
        if self.kind == "draining":
            return f"{self.body['host']} is drained {when(self.body['at'], 'UTC')}"
        if not self.is_about_idleness:
            return self.body["title"]
        vessel = self.body["vessel"]
        return {
            "warned": f"{vessel} is idle",
            "called": f"{vessel} is buried soon",
            "buried": f"{vessel} was buried",
        }[self.kind]

    @property
    def lines(self) -> list[str]:
        if self.kind == "draining":
            return draining(self.body)
        if not self.is_about_idleness:
            return self.body["lines"]
        vessel, reason = self.body["vessel"], self.body["reason"]
        if self.kind == "buried":
            host = f" on {self.body['host']}" if self.body.get("host") else ""
            how = "--from" if self.body.get("save") else "--like"
            return [
                f"Because {reason}.",
                f"Your home{host} is untouched. To come back: drc create {vessel} {how} {vessel}",
            ]
        at = when(self.body["bury_at"], self.body["zone"])
        by = f"If it stays idle it is buried {at}, and its GPUs go to others."
        keep = "It can be kept no more: use its GPUs, or save your work."
        if self.body["keeps_left"]:
            until = when(self.body["keep_to"], self.body["zone"])
            keep = f"To keep it until {until}: drc keep {vessel}"
        return [f"Because {reason}.", by, keep, f"Why: drc why {vessel}"]

    @property
    def spark(self) -> str:
        """The last day, hour by hour, of the busiest GPU; a dot where nobody knows."""
        return spark(self.body.get("last_24h") or [])

    @property
    def text(self) -> str:
        return "\n".join([f"{self.title}.", *self.lines])

    def blocks(self, mention: str = "", *, buttons: bool = False) -> list[dict[str, Any]]:
        """As Block Kit. `mention`: before the title, where it is not a message to one person."""
        said = f"{mention}*{escaped(self.title)}*\n" + "\n".join(map(escaped, self.lines))
        blocks: list[dict[str, Any]] = [
            {"type": "section", "text": {"type": "mrkdwn", "text": said[:LONGEST]}}
        ]
        if self.spark:
            day = f"`{self.spark}` its busiest GPU in the last 24 hours"
            blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": day}]})
        if buttons and self.kind in ("warned", "called"):
            blocks.append({"type": "actions", "elements": self.buttons()})
        return blocks

    def buttons(self) -> list[dict[str, Any]]:
        """What its owner can answer; `undertaker.clicks` hears it."""
        hours = self.body.get("keep_h")
        keep = f"Keep for {hours:g} work hours" if hours and hours >= 1 else "Keep it"
        home = "Its home stays, and what else is in it is kept for a month."
        if not self.body.get("save"):
            home = "Its home stays; what else is in it is gone."
        confirm = {
            "title": {"type": "plain_text", "text": "Stop it now?"},
            "text": {"type": "plain_text", "text": home},
            "confirm": {"type": "plain_text", "text": "Stop it"},
            "deny": {"type": "plain_text", "text": "No"},
        }
        return [
            *([self.button("keep", keep, style="primary")] if self.body["keeps_left"] else []),
            self.button("stop", "Stop now", style="danger", confirm=confirm),
            self.button("why", "Why?"),
        ]

    def button(self, action: str, text: str, **more: Any) -> dict[str, Any]:
        label = {"type": "plain_text", "text": text}
        return {"type": "button", "action_id": action, "value": str(self.id), "text": label, **more}


def draining(body: dict[str, Any]) -> list[str]:
    """To the owner of vessels on a host that is to be emptied."""
    names, first = ", ".join(body["vessels"]), body["vessels"][0]
    if body.get("refused"):
        again = f"{'--from' if body['saved'] else '--like'} {first} --home-from {body['host']}"
        return [
            f"{body['host']} is drained, and it could not be created again: {body['refused']}",
            f"Your home there is untouched. When there is room:  drc create {first} {again}",
        ]
    if body.get("stays"):
        return [
            f"{body['host']} is drained, and your home there could not come along: {body['stays']}",
            f"It is there, untouched. To try again:  drc create --home-from {body['host']}",
        ]
    why = f" ({body['why']})" if body.get("why") else ""
    if body["moves"]:
        then = "They are created again elsewhere then, with what is in them and with your home."
    else:
        then = (
            f"To go on elsewhere before:  drc stop --save {first}  then  "
            f"drc create {first} --from {first} --home-from {body['host']}"
        )
    return [f"Your vessels there end then{why}: {names}.", then]


def escaped(text: str) -> str:
    """What Slack would take for a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def when(at: str, zone: str) -> str:
    return f"{datetime.fromisoformat(at).astimezone(ZoneInfo(zone)):%a %d %b %H:%M %Z}"
