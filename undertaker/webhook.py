"""A webhook of one's own: each message as JSON, for whatever brings it to people."""

from datetime import timedelta

import httpx

from undertaker.channel import NobodyKnows, NotTaken
from undertaker.message import Message


class Webhook:
    """`url` gets a POST with id, kind, owner (null: the operators), called, title, text and vessel,
    where it is about one. A message may come twice; its id tells.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def send(self, message: Message) -> None:
        said = {
            "id": message.id,
            "kind": message.kind,
            "owner": message.owner or None,
            "called": message.called,
            "title": message.title,
            "text": message.text,
            **message.body,
        }
        try:
            answer = httpx.post(self.url, json=said, timeout=15, trust_env=False)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as failed:
            raise NotTaken(f"The webhook does not answer: {failed}") from None
        except httpx.HTTPError as failed:
            raise NobodyKnows(f"The webhook broke off: {type(failed).__name__}") from None
        if answer.is_success:
            return
        if answer.status_code >= 500 and answer.status_code != 503:
            raise NobodyKnows(f"The webhook answered {answer.status_code}.")
        refused = NotTaken(f"The webhook answered {answer.status_code}.")
        refused.is_channel = answer.status_code in (401, 403, 404, 429, 503)
        after = answer.headers.get("retry-after", "")
        if after.isdigit():
            refused.delay = timedelta(seconds=int(after))
        raise refused

    def recipient(self, message: Message) -> str:
        """It has no buttons."""
        return ""

    def has(self, message: Message) -> bool:
        """It cannot be asked."""
        return False
