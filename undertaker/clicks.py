"""What people do with the buttons of messages in Slack: one handler, whichever way a click comes.

A click is acted upon before Slack is told that it arrived, and acting twice does nothing twice; so
one that is lost on the way can simply be made again.
"""

import logging
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from slack_sdk.webhook import WebhookClient

from drc.client import Client
from drc.errors import DrcError, Unreachable
from drc.why import again, screen
from undertaker.message import escaped, when

ACTIONS = ("keep", "stop", "why")
ANSWERS_AT = "https://hooks.slack.com/"
"""Where every response_url of Slack's lies; nothing is sent elsewhere."""
PATIENCE = 10  # seconds for Slack to take an answer

log = logging.getLogger("undertaker.clicks")

Payload = dict[str, Any]


class Clicks:
    """`answers_at`: how the addresses begin to which answers may go."""

    def __init__(self, client: Client, answers_at: str = ANSWERS_AT) -> None:
        self.client = client
        self.answers_at = answers_at

    def handle(self, payload: Payload) -> None:
        """Of `block_actions`; whatever else Slack sends is none of ours. Raises nothing."""
        try:
            person = str(payload["user"]["id"])
            clicked = [(str(one["action_id"]), int(one["value"])) for one in payload["actions"]]
        except (KeyError, TypeError, ValueError):
            return
        for action, message in clicked:
            if action in ACTIONS:
                answer = self.act(action, message, person)
                self.answer(str(payload.get("response_url", "")), answer)

    def act(self, action: str, message: int, person: str) -> Payload:
        """What the person is told, as a body for a response_url."""
        asked = {"action": action, "channel": "Slack", "recipient": person}
        try:
            done = self.client.call("POST", f"/v1/messages/{message}/click", asked)
        except Unreachable as failed:
            log.warning("%s of message %s by %s: %s", action, message, person, failed)
            return quietly("drc does not answer just now. Click again in a moment.")
        except DrcError as failed:
            log.warning("%s of message %s by %s: %s", action, message, person, failed)
            return quietly(f"{failed.message} {failed.hint}".strip())
        log.info("%s of message %s by %s", action, message, person)
        if action == "why":
            return quietly(f"```{escaped(table(done))}```")
        said = kept(done) if action == "keep" else stopped(done)
        return {"replace_original": True, "text": said, "blocks": [section(said)]}

    def answer(self, url: str, body: Payload) -> None:
        if not url.startswith(self.answers_at):
            log.warning("no answer goes to %s", urlsplit(url).netloc or "no address")
            return
        try:
            took = WebhookClient(url, timeout=PATIENCE, retry_handlers=[]).send_dict(body)
        except (OSError, ValueError) as failed:
            log.warning("Slack did not take an answer: %s", failed)
        else:
            if took.status_code != 200:
                log.warning("Slack did not take an answer: %s", took.status_code)


def kept(done: Payload) -> str:
    name, keep = escaped(done["why"]["name"]), done["kept"]
    until = when(keep["kept_until"], done["zone"])
    return (
        f"*{name} is kept* until {until}.\n"
        f"You can do that {again(keep['keeps_left'])} until its GPUs are used: drc keep {name}"
    )


def stopped(done: Payload) -> str:
    name = escaped(done["why"]["name"])
    how = f"drc create {name} --from {name}" if done["save"] else f"drc create {name}"
    return f"*{name} is being stopped.* Its home stays. To come back: {how}"


def table(done: Payload) -> str:
    """`drc why`, on the owner's clock."""

    def show(at: str) -> str:
        return when(at, done["zone"])

    lines = screen(done["why"], show, ago)
    return "\n".join(f"{label:<9}{value}" for label, value in lines)


def ago(at: str) -> str:
    minutes = (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds() / 60
    return f"{minutes:.0f} min"


def quietly(text: str) -> Payload:
    """For the person alone; the message stays as it is."""
    return {
        "response_type": "ephemeral", "replace_original": False, "text": text,
        "blocks": [section(text)],
    }  # fmt: skip


def section(text: str) -> Payload:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}
