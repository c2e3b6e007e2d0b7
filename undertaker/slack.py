"""Slack: a direct message to the owner, found by e-mail address; else a channel of everybody's.
What is for the operators goes to theirs.
"""

import urllib.error
from datetime import timedelta
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from undertaker.channel import NobodyKnows, NotTaken
from undertaker.message import Message, escaped

EVENT = "drc_message"
NOBODY = timedelta(hours=1)
SKEW = timedelta(minutes=10)  # by which Slack's clock may be behind the database's
BLIND = ("missing_scope", "not_in_channel", "channel_not_found")
OURS = ("invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive",
        "missing_scope", "ratelimited")  # fmt: skip
"""Refusals that are not about one message."""


class Slack:
    """`fallback`: the channel for those who are not found, if there is one. `buttons`: whether
    anybody hears clicks (undertaker.listen); in that channel nobody could tell whose they are.
    `operators`: their channel; the fallback, where there is none.
    """

    def __init__(
        self, token: str, fallback: str = "", url: str = WebClient.BASE_URL, *,
        buttons: bool = False, operators: str = "",
    ) -> None:  # fmt: skip
        self.buttons = buttons
        self.operators = operators or fallback
        # the SDK would try again by itself after a cut connection, and so post twice
        self.client = WebClient(token=token, base_url=url, retry_handlers=[], timeout=15)
        self.fallback = fallback
        self.people: dict[str, str] = {}

    def send(self, message: Message) -> None:
        person = self.recipient(message)
        named = message.called or message.owner
        mention = "" if person or not named else f"For {named}: "
        try:
            self.client.chat_postMessage(
                channel=self.channel(message, person),
                text=escaped(mention + message.text),
                blocks=message.blocks(escaped(mention), buttons=self.buttons and bool(person)),
                metadata={"event_type": EVENT, "event_payload": {"id": str(message.id)}},
                unfurl_links=False,
            )
        except SlackApiError as failed:
            raise refused(failed) from None
        except urllib.error.URLError as failed:
            raise unreachable(failed) from None
        except (OSError, SlackClientError, ValueError) as failed:
            raise NobodyKnows(f"Slack broke off: {type(failed).__name__}") from None

    def channel(self, message: Message, person: str) -> str:
        return person or (self.fallback if message.owner else self.operators)

    def recipient(self, message: Message) -> str:
        if not message.owner:
            if not self.operators:
                raise nobody("No channel of the operators is set (DRC_SLACK_OPERATORS).")
            return ""
        return self.person(message.called, message.reached)

    def has(self, message: Message) -> bool:
        """By our id, which it bears."""
        try:
            person = self.recipient(message)
            channel = self.channel(message, person)
            if person:
                opened: Any = self.client.conversations_open(users=[person])
                channel = str(opened["channel"]["id"])
            pages: Any = self.client.conversations_history(
                channel=channel, oldest=str((message.made_at - SKEW).timestamp()), limit=200,
                include_all_metadata=True,
            )  # fmt: skip
            return any(
                id_of(said) == str(message.id) for page in pages for said in page["messages"]
            )
        except SlackApiError as failed:
            if failed.response.get("error") in BLIND:
                return False
            raise not_taken(failed) from None
        except (OSError, SlackClientError, ValueError) as failed:
            raise NotTaken(f"Slack does not answer: {failed}") from None

    def person(self, address: str, known: str = "") -> str:
        """A user's id; empty where there is none but the fallback. Raises NotTaken.

        `known`: whom messages to that address went to of late.
        """
        if known:
            self.people.setdefault(address, known)
        if address in self.people or "@" not in address:
            return self._or_fallback(self.people.get(address, ""), address)
        try:
            found: Any = self.client.users_lookupByEmail(email=address)
            self.people[address] = str(found["user"]["id"])
        except SlackApiError as failed:
            if failed.response.get("error") != "users_not_found":
                raise not_taken(failed) from None
            self.people[address] = ""
        except (OSError, SlackClientError, ValueError) as failed:
            raise NotTaken(f"Slack does not answer: {failed}") from None
        return self._or_fallback(self.people[address], address)

    def _or_fallback(self, person: str, address: str) -> str:
        if person or self.fallback:
            return person
        raise nobody(f"Slack knows nobody called {address or 'nothing'}, and no channel is set.")


def nobody(why: str) -> NotTaken:
    """About one message: others have somebody to go to."""
    failed = NotTaken(why)
    failed.delay, failed.is_channel = NOBODY, False
    return failed


def id_of(said: dict[str, Any]) -> str:
    """Ours, of a message that Slack has; empty of somebody else's."""
    return str(said.get("metadata", {}).get("event_payload", {}).get("id", ""))


def refused(failed: SlackApiError) -> NotTaken | NobodyKnows:
    answer: Any = failed.response
    if int(answer.status_code) >= 500:
        return NobodyKnows(f"Slack answered {answer.status_code}.")
    return not_taken(failed)


def not_taken(failed: SlackApiError) -> NotTaken:
    answer: Any = failed.response
    found = NotTaken(f"Slack refused: {answer.get('error') or answer.status_code}")
    found.is_channel = answer.status_code != 200 or answer.get("error") in OURS
    if answer.status_code == 429:
        after = str(answer.headers.get("Retry-After", ""))
        found.delay = timedelta(seconds=int(after) if after.isdigit() else 60)
    return found


def unreachable(failed: urllib.error.URLError) -> NotTaken | NobodyKnows:
    """A connection that was never made took nothing; one that broke may have."""
    if isinstance(failed.reason, ConnectionRefusedError | OSError) and not isinstance(
        failed.reason, ConnectionResetError | TimeoutError
    ):
        return NotTaken(f"Slack does not answer: {failed.reason}")
    return NobodyKnows(f"Slack broke off: {failed.reason}")
