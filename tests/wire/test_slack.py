"""The Slack that the tests have answers the real client as the real one does."""

import http.client
import urllib.error
from collections.abc import Iterator
from typing import Any

import pytest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from tests.wire.slack import Slack, broken, cut, ratelimited, refuse, silent


@pytest.fixture
def slack() -> Iterator[Slack]:
    with Slack("xoxb-7", people={"ada@example.org": "U1"}, channels={"C1"}) as slack:
        yield slack


@pytest.fixture
def client(slack: Slack) -> WebClient:
    return WebClient(token=slack.token, base_url=slack.url, retry_handlers=[], timeout=5)


def section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def refusal(client: WebClient, **changes: Any) -> Any:
    """The answer to a message that is not taken."""
    with pytest.raises(SlackApiError) as failed:
        client.chat_postMessage(**{"channel": "C1", "text": "hello", **changes})
    return failed.value.response


def test_a_person_is_found_by_the_address(slack: Slack, client: WebClient) -> None:
    assert client.users_lookupByEmail(email="ada@example.org")["user"]["id"] == "U1"
    with pytest.raises(SlackApiError, match="users_not_found"):
        client.users_lookupByEmail(email="bob@example.org")
    assert slack.requests[-1] == ("users.lookupByEmail", {"email": "bob@example.org"})


def test_a_message_to_a_person_lands_in_the_direct_messages(
    slack: Slack, client: WebClient
) -> None:
    assert refusal(client, channel="DU1")["error"] == "channel_not_found"
    assert client.chat_postMessage(channel="U1", text="hello")["channel"] == "DU1"
    opened = client.conversations_open(users=["U1"])
    assert opened["channel"]["id"] == slack.messages[0].channel == "DU1"


def test_a_message_to_a_channel_can_be_changed(slack: Slack, client: WebClient) -> None:
    posted = client.chat_postMessage(channel="C1", text="hello", blocks=[section("*hello*")])
    assert slack.messages[0].blocks == [section("*hello*")]
    client.chat_update(channel="C1", ts=posted["ts"], text="bye")
    assert (slack.messages[0].text, slack.messages[0].blocks) == ("bye", [])
    with pytest.raises(SlackApiError, match="message_not_found"):
        client.chat_update(channel="C1", ts="1.000000", text="bye")


def test_what_is_not_known_is_refused(slack: Slack, client: WebClient) -> None:
    assert refusal(client, channel="C2")["error"] == "channel_not_found"
    assert refusal(client, channel="U2")["error"] == "channel_not_found"
    with pytest.raises(SlackApiError, match="no_text"):
        client.api_call("chat.postMessage", json={"channel": "C1", "blocks": [section("x")]})
    assert refusal(client, metadata={"event_type": "x"})["error"] == "invalid_metadata_format"
    with pytest.raises(SlackApiError, match="unknown_method"):
        client.users_list()
    assert client.auth_test()["ok"]
    with pytest.raises(SlackApiError, match="invalid_auth"):
        WebClient(token="xoxb-8", base_url=slack.url, retry_handlers=[]).auth_test()
    assert slack.messages == []


BUTTON = {"type": "button", "text": {"type": "plain_text", "text": "Keep"}, "value": "v-7"}


@pytest.mark.parametrize(
    ("blocks", "fault"),
    [
        ([section("x" * 3001)],
         "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"),
        ([section("")], "must be more than 0 characters [json-pointer:/blocks/0/text/text]"),
        ([section("x")] * 51, "no more than 50 items allowed [json-pointer:/blocks]"),
        ([{"type": "section"}], "missing required field: text [json-pointer:/blocks/0]"),
        (["x"], "unsupported type: None [json-pointer:/blocks/0/type]"),
        ([{"type": "table"}], "unsupported type: table [json-pointer:/blocks/0/type]"),
        ([{"type": "actions", "elements": [BUTTON] * 26}],
         "no more than 25 items allowed [json-pointer:/blocks/0/elements]"),
        ([{"type": "actions", "elements": [{**BUTTON, "value": "v" * 2001}]}],
         "must be less than 2001 characters [json-pointer:/blocks/0/elements/0/value]"),
        ([{**section("x"), "block_id": "b" * 256}],
         "must be less than 256 characters [json-pointer:/blocks/0/block_id]"),
    ],
)  # fmt: skip
def test_blocks_beyond_the_limits_are_refused_with_where(
    slack: Slack, client: WebClient, blocks: list[Any], fault: str
) -> None:
    answer = refusal(client, blocks=blocks)
    assert answer["error"] == "invalid_blocks"
    assert answer["response_metadata"]["messages"] == [f"[ERROR] {fault}"]
    assert slack.messages == []


def test_blocks_within_the_limits_are_taken(slack: Slack, client: WebClient) -> None:
    words = {"title": "Stop?", "confirm": "Stop", "deny": "Cancel", "text": "Sure?"}
    confirm = {name: {"type": "plain_text", "text": said} for name, said in words.items()}
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": "x" * 150}},
        {"type": "context", "elements": [section("x" * 3000)["text"]] * 10},
        {"type": "actions", "block_id": "a", "elements": [{**BUTTON, "confirm": confirm}]},
        {**section("x"), "fields": [section("x" * 2000)["text"]] * 10, "accessory": BUTTON},
        *[{"type": "divider"}] * 46,
    ]
    client.chat_postMessage(channel="C1", text="hello", blocks=blocks)
    client.api_call("chat.postMessage", params={"channel": "C1", "text": "x", "blocks": "[]"})
    assert [len(message.blocks) for message in slack.messages] == [50, 0]


def test_the_errors_are_played_one_for_each_message(slack: Slack, client: WebClient) -> None:
    slack.play(ratelimited(30), broken(500), None, refuse("is_archived"))
    limited = refusal(client)
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "30")
    assert limited["error"] == "ratelimited"
    assert refusal(client).status_code == 500
    client.chat_postMessage(channel="C1", text="hello")
    assert refusal(client)["error"] == "is_archived"
    client.chat_postMessage(channel="C1", text="again")
    assert [message.text for message in slack.messages] == ["hello", "again"]


def test_a_cut_connection_does_not_say_whether_the_message_was_taken(
    slack: Slack, client: WebClient
) -> None:
    slack.play(cut(), silent())
    for text in ("taken", "lost"):
        with pytest.raises(http.client.RemoteDisconnected):
            client.chat_postMessage(channel="C1", text=text)
    assert [message.text for message in slack.messages] == ["taken"]


def test_the_history_is_newest_first_with_the_metadata_if_asked(
    slack: Slack, client: WebClient
) -> None:
    for number in range(3):
        metadata = {"event_type": "told", "event_payload": {"id": number}}
        client.chat_postMessage(channel="C1", text=f"{number}", metadata=metadata)
    first = slack.messages[0].ts
    client.chat_postMessage(channel="C1", text="a reply", thread_ts=first)
    told: Any = client.conversations_history(channel="C1", oldest=first, include_all_metadata=True)
    assert [each["metadata"]["event_payload"]["id"] for each in told["messages"]] == [2, 1]
    told = client.conversations_history(channel="C1", limit=1)
    assert (told["messages"][0]["text"], told["has_more"]) == ("2", True)
    assert "metadata" not in told["messages"][0]


def test_a_slack_that_is_down_comes_up_at_the_same_address(slack: Slack, client: WebClient) -> None:
    slack.down()
    with pytest.raises(urllib.error.URLError, match="refused"):
        client.auth_test()
    slack.up()
    slack.down(503)
    assert refusal(client).status_code == 503
    slack.up()
    assert client.auth_test()["ok"]
