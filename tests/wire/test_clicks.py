"""Buttons of a message: only its owner's click counts, and a second one does nothing more.

A Slack that sends what the real one sends, over a real WebSocket and over signed requests; the API,
and the handler between them.
"""

import hmac
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from drc.api.roles import KEY_FILE
from drc.client import Client
from drc.db import Database
from drc.errors import Misconfigured
from drc.up.postgres import Postgres
from tests.fleets import run_sql
from tests.wait import wait_until
from tests.wire.served import Api, listening
from tests.wire.slack import Message
from tests.wire.slack import Slack as Server
from tests.wire.socketmode import Socket, socket_of
from tests.wire.standin import StandIn
from tests.wire.test_channel import BODY
from undertaker.channel import deliver
from undertaker.clicks import Clicks
from undertaker.listen import PATH, by_requests, by_socket
from undertaker.slack import Slack

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
WARNED = """
WITH i AS (
  INSERT INTO idle (vessel_id, rung, verdict, reason, judged_at, warned_at, keep_to, keeps_left,
                    bury_at)
  SELECT id, 'warned', 'stay', 'it is idle', now(), now(), now() + interval '12 h', 2,
         now() + interval '6 h'
  FROM vessel WHERE id = '{id}'
  RETURNING vessel_id, warned_at
)
INSERT INTO message (vessel_id, owner_id, kind, body, judged_at)
SELECT v.id, v.owner_id, 'warned', {body}::jsonb || '{{"keep_h": 12, "save": true}}', i.warned_at
FROM i JOIN vessel v ON v.id = i.vessel_id RETURNING id"""


@pytest.fixture
def slack() -> Iterator[Server]:
    people = {"ada@example.org": "UADA", "bob@example.org": "UBOB"}
    with Server("xoxb-drc", people, {"COPS"}) as server:
        yield server


@pytest.fixture
def client(api: Api) -> Iterator[Client]:
    with api.client("undertaker", "undertaker") as client:
        yield client


@pytest.fixture
def clicks(client: Client, slack: Server) -> Clicks:
    return Clicks(client, slack.url)


@pytest.fixture
def warn(
    api: Api, standin: StandIn, db: Database, postgres: Postgres, database: str, slack: Server
) -> Iterator[Callable[[], Message]]:
    """Ada's bert runs, and she is told that it is idle. Returns what she sees."""
    made = api.create("bert")
    standin.run_once()
    signed_in(db, ["researcher"])
    eyes = Database(postgres.url("drc_undertaker", database), size=2)

    def warn(fallback: str = "") -> Message:
        run_sql(db, f"DELETE FROM idle WHERE vessel_id = '{made['id']}' RETURNING 1")
        run_sql(db, WARNED.format(id=made["id"], body=BODY))
        assert deliver(eyes, Slack("xoxb-drc", fallback, slack.url, buttons=True)) == 1
        return slack.messages[-1]

    yield warn
    eyes.close()


Warn = Callable[..., Message]


def signed_in(db: Database, roles: list[str]) -> None:
    """What the API noted of Ada when she signed in last."""
    claims = json.dumps({KEY_FILE: roles})
    run_sql(
        db,
        f"UPDATE owner SET name = 'ada@example.org', claims = '{claims}'"
        " WHERE login = 'ada' RETURNING id",
    )


def why(api: Api) -> dict[str, Any]:
    return api.raw("GET", "/v1/vessels/bert/why").json()


def last(slack: Server) -> str:
    return slack.answers[-1][1]["text"]


def test_keep_keeps_it_and_the_message_says_so(
    api: Api, warn: Warn, slack: Server, clicks: Clicks, db: Database
) -> None:
    message = warn()
    clicks.handle(slack.press(message, "keep", "UADA"))
    found = why(api)
    assert found["kept_until"] == found["keep_to"]
    assert found["kept_why"] == "by a button in Slack"
    assert found["keeps_left"] == 1
    assert message.text.startswith("*bert is kept* until ")
    assert "once more" in message.text
    assert [block["type"] for block in message.blocks] == ["section"]  # no buttons any more
    (row,) = run_sql(
        db, "SELECT actor FROM audit WHERE detail ->> 'why' = 'by a button in Slack'"
    )  # fmt: skip
    said = row["actor"]
    assert (said["who"], said["signer"]) == ("ada@example.org", "click")
    assert (said["via"], said["clicked"]) == ("undertaker", "UADA")


@pytest.mark.parametrize("action", ["keep", "stop"])
def test_a_second_click_does_nothing_more(
    api: Api, warn: Warn, slack: Server, clicks: Clicks, db: Database, action: str
) -> None:
    payload = slack.press(warn(), action, "UADA")
    clicks.handle(payload)
    before, told = why(api), last(slack)
    clicks.handle(payload)
    assert why(api) == before
    assert last(slack) == told
    (row,) = run_sql(
        db, "SELECT count(*) AS n FROM event WHERE kind IN ('kept', 'stopping')"
    )  # fmt: skip
    assert row["n"] == 1


def test_stop_stops_it_and_keeps_what_is_in_it(
    api: Api, warn: Warn, slack: Server, clicks: Clicks, db: Database
) -> None:
    message = warn()
    clicks.handle(slack.press(message, "stop", "UADA"))
    assert api.show("bert")["state"] == "stopping"
    (row,) = run_sql(db, "SELECT save, reason FROM vessel")
    assert row == {"save": True, "reason": "stopped by its owner, by a button in Slack"}
    assert message.text.startswith("*bert is being stopped.*")
    assert "drc create bert --from bert" in message.text


def test_why_is_told_to_who_asks_and_leaves_the_message(
    warn: Warn, slack: Server, clicks: Clicks
) -> None:
    message = warn()
    before = message.text
    clicks.handle(slack.press(message, "why", "UADA"))
    _, answer = slack.answers[-1]
    assert answer["response_type"] == "ephemeral"
    assert "because  it is idle" in answer["text"]
    assert "if it stays idle it is buried " in answer["text"]
    assert message.text == before


@pytest.mark.parametrize("action", ["keep", "stop", "why"])
def test_nobody_elses_click_counts(
    api: Api, warn: Warn, slack: Server, clicks: Clicks, action: str
) -> None:
    message = warn()
    before = why(api)
    clicks.handle(slack.press(message, action, "UBOB"))
    assert why(api) == before
    assert api.show("bert")["state"] == "running"
    assert last(slack) == "That message was not sent to you, so its buttons are not yours."


@pytest.mark.parametrize("action", ["keep", "stop", "why"])
def test_who_may_nothing_any_more_may_nothing_by_a_button_either(
    api: Api, warn: Warn, slack: Server, clicks: Clicks, db: Database, action: str
) -> None:
    message = warn()
    before = why(api)
    signed_in(db, [])
    clicks.handle(slack.press(message, action, "UADA"))
    assert why(api) == before
    assert api.show("bert")["state"] == "running"
    assert last(slack).startswith("This needs the permission vessels:")


def test_a_button_is_its_owners_though_whoever_sent_it_died_of_that(
    api: Api, warn: Warn, slack: Server, clicks: Clicks, db: Database
) -> None:
    message = warn()
    run_sql(db, "UPDATE message SET sent_at = NULL, in_hand = true RETURNING id")
    clicks.handle(slack.press(message, "keep", "UADA"))
    assert why(api)["kept_until"] is not None


def test_a_click_that_comes_after_a_stop_says_that_it_is_stopping(
    api: Api, warn: Warn, slack: Server, clicks: Clicks
) -> None:
    payload = slack.press(warn(), "keep", "UADA")
    clicks.handle(payload)
    api.raw("POST", "/v1/vessels/bert/stop")
    clicks.handle(payload)
    assert last(slack).startswith("bert is stopping")


def test_only_the_undertaker_passes_clicks_on(api: Api, warn: Warn) -> None:
    warn()
    click = {"action": "stop", "channel": "Slack", "recipient": "UADA"}
    answer = api.raw("POST", "/v1/messages/1/click", click)
    assert answer.status_code == 403
    assert api.show("bert")["state"] == "running"


@pytest.mark.parametrize("action", ["keep", "stop"])
def test_a_message_that_is_not_so_any_more_does_nothing(
    api: Api, warn: Warn, slack: Server, clicks: Clicks, db: Database, action: str
) -> None:
    payload = slack.press(warn(), action, "UADA")
    run_sql(
        db, "UPDATE idle SET rung = 'active', warned_at = NULL, bury_at = NULL RETURNING vessel_id"
    )
    before = why(api)
    clicks.handle(payload)
    assert why(api) == before
    assert last(slack).startswith("bert is running, and not about to be buried for being idle any")


def test_no_button_is_shown_in_a_channel_where_anybody_could_click(
    warn: Warn, slack: Server
) -> None:
    slack.people.clear()
    assert {block["type"] for block in warn("COPS").blocks} == {"section", "context"}


def test_what_can_be_kept_no_more_has_no_such_button(
    warn: Warn, slack: Server, clicks: Clicks, db: Database
) -> None:
    payload = slack.press(warn(), "keep", "UADA")
    run_sql(db, "UPDATE idle SET keeps_left = 0 RETURNING vessel_id")
    clicks.handle(payload)
    assert last(slack).startswith("bert was kept as often as one may")


def test_an_api_that_is_down_is_said_to_the_person(
    warn: Warn, slack: Server, api: Api
) -> None:  # fmt: skip
    message = warn()
    nowhere = Client("http://127.0.0.1:9", lambda: "x")
    Clicks(nowhere, slack.url).handle(slack.press(message, "keep", "UADA"))
    assert last(slack).startswith("drc does not answer just now.")
    assert why(api)["kept_until"] is None


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"user": {"id": "UADA"}},
        {"user": {"id": "UADA"}, "actions": [{"action_id": "keep", "value": "x"}]},
        {"user": {"id": "UADA"}, "actions": [{"action_id": "else", "value": "1"}]},
        {"user": None, "actions": None},
    ],
)
def test_what_is_none_of_ours_is_left_alone(
    api: Api, clicks: Clicks, slack: Server, payload: dict[str, Any]
) -> None:
    before = len(api.requests)
    clicks.handle(payload)
    assert api.requests[before:] == []
    assert slack.answers == []


def test_no_answer_goes_anywhere_but_to_slack(
    api: Api, warn: Warn, slack: Server, client: Client
) -> None:
    payload = slack.press(warn(), "why", "UADA")
    Clicks(client).handle(payload)  # response_urls of the real one begin otherwise
    assert slack.answers == []


# The two ways in -------------------------------------------------------------------------------


@pytest.fixture
def socket(slack: Server, clicks: Clicks) -> Iterator[Socket]:
    """Connected by the real SDK."""
    ended = threading.Event()
    with socket_of(slack) as socket:
        listener = threading.Thread(
            target=by_socket, args=("xapp-1", clicks.handle, ended, slack.url)
        )
        listener.start()
        yield socket
        ended.set()
        listener.join(20)
        assert not listener.is_alive()


def test_a_click_over_a_socket_is_done_before_it_is_acknowledged(
    api: Api, warn: Warn, slack: Server, socket: Socket
) -> None:
    socket.click(slack.press(warn(), "keep", "UADA"))
    assert why(api)["kept_until"] is not None


def test_a_socket_that_slack_closes_is_opened_again(
    api: Api, warn: Warn, slack: Server, socket: Socket
) -> None:
    message = warn()
    wait_until(lambda: socket.connections, "it is connected")
    old = socket.connections[-1]
    socket.cut()
    wait_until(
        lambda: any(one is not old for one in socket.connections), "it is connected again", 20
    )
    socket.click(slack.press(message, "stop", "UADA"))
    assert api.show("bert")["state"] == "stopping"


def test_a_slack_that_is_down_is_asked_again(slack: Server, clicks: Clicks) -> None:
    slack.down(503)
    ended = threading.Event()
    with socket_of(slack) as socket:
        listener = threading.Thread(
            target=by_socket, args=("xapp-1", clicks.handle, ended, slack.url)
        )
        listener.start()
        wait_until(lambda: slack.requests, "it was asked")
        slack.up()
        wait_until(lambda: socket.connections, "it is connected")
        ended.set()
        listener.join(20)


def test_a_token_that_slack_refuses_is_said(slack: Server, clicks: Clicks) -> None:
    with pytest.raises(Misconfigured, match="DRC_SLACK_APP_TOKEN: invalid_auth"):
        by_socket("xapp-wrong", clicks.handle, threading.Event(), slack.url)


def signed(
    payload: Any, secret: str = SECRET, at: float | None = None, body: str = ""
) -> dict[str, Any]:
    """A request as Slack signs it (v0)."""
    body = body or urlencode({"payload": json.dumps(payload)})
    stamp = str(int(time.time() if at is None else at))
    mac = hmac.new(secret.encode(), f"v0:{stamp}:{body}".encode(), "sha256").hexdigest()
    return {
        "content": body,
        "headers": {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": f"v0={mac}",
        },
    }


@pytest.fixture
def address(clicks: Clicks) -> Iterator[str]:
    """Where Slack sends requests to."""
    with listening() as door:
        door.app = by_requests(SECRET, clicks.handle)
        yield door.url + PATH


def post(address: str, request: dict[str, Any]) -> int:
    return httpx.post(address, **request, trust_env=False).status_code


def test_a_signed_request_is_done(api: Api, warn: Warn, slack: Server, address: str) -> None:
    payload = slack.press(warn(), "keep", "UADA")
    assert post(address, signed(payload)) == 200
    assert why(api)["kept_until"] is not None


@pytest.mark.parametrize("what", ["another secret", "old", "future", "changed", "unsigned"])
def test_a_request_that_slack_did_not_sign_just_now_does_nothing(
    api: Api, warn: Warn, slack: Server, address: str, what: str
) -> None:
    payload = slack.press(warn(), "stop", "UADA")
    request = signed(payload)
    if what == "another secret":
        request = signed(payload, "x" * 32)
    elif what in ("old", "future"):
        request = signed(payload, at=time.time() + (-310 if what == "old" else 310))
    elif what == "changed":
        request["content"] += "&x=1"
    else:
        del request["headers"]["X-Slack-Signature"]
    assert post(address, request) == 401
    assert api.show("bert")["state"] == "running"


def test_a_signed_request_that_makes_no_sense_is_refused(address: str) -> None:
    request = signed({})
    for body in ("payload=not json", "nothing=here"):
        request = signed({}, body=body)
        assert post(address, request) == 400
    assert post(address, signed([1])) == 200  # signed, and none of ours
    assert httpx.get(address, trust_env=False).status_code == 405
    huge = signed({"x": "y" * 1_000_001})
    assert post(address, huge) == 413


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Slack-Signature", "v0=\xe9".encode("latin-1")),
        ("X-Slack-Request-Timestamp", b"9" * 5000),
        ("X-Slack-Request-Timestamp", b"-1"),
        ("X-Slack-Request-Timestamp", "١٢".encode()),
    ],
)
def test_what_no_slack_sends_is_turned_away(address: str, header: str, value: bytes) -> None:
    request = signed({})
    request["headers"][header] = value
    assert post(address, request) == 401


def test_a_body_that_is_no_text_is_turned_away(address: str) -> None:
    request = signed({})
    request["content"] = b"payload=\xff\xfe"
    assert post(address, request) == 401


# The program -----------------------------------------------------------------------------------


def listener(
    api: Api, postgres: Postgres, database: str, **settings: str
) -> "subprocess.Popen[str]":
    env = {
        **os.environ,
        "DRC_DATABASE_URL": postgres.url("drc_undertaker", database),
        "DRC_URL": api.url,
        "DRC_SIGNING_KEY": str(api.keys / "undertaker.pem"),
        **settings,
    }
    command = [sys.executable, "-m", "undertaker.main", "listen"]
    return subprocess.Popen(
        command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_the_program_listens_until_it_is_told_to_end(
    api: Api, warn: Warn, slack: Server, postgres: Postgres, database: str
) -> None:
    payload = slack.press(warn(), "keep", "UADA")
    with socket_of(slack) as socket:
        program = listener(
            api, postgres, database, DRC_SLACK_APP_TOKEN="xapp-1", DRC_SLACK_URL=slack.url
        )  # fmt: skip
        with program:
            socket.click(payload)
            assert why(api)["kept_until"] is not None
            program.terminate()
            _, said = program.communicate(timeout=30)
    assert program.returncode == 0, said
    assert "xapp-1" not in said


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "Neither DRC_SLACK_APP_TOKEN nor DRC_SLACK_SIGNING_SECRET is set."),
        ({"DRC_SLACK_SIGNING_SECRET": "x", "DRC_SLACK_LISTEN": "8423"}, "no address and port"),
        ({"DRC_SLACK_SIGNING_SECRET": "x", "DRC_SLACK_LISTEN": "::1:99999"}, "no address and port"),
    ],
)
def test_what_cannot_be_is_said(
    api: Api, postgres: Postgres, database: str, settings: dict[str, str], words: str
) -> None:
    with listener(api, postgres, database, **settings) as program:
        _, said = program.communicate(timeout=30)
    assert program.returncode == 5
    assert words in said
    assert "Traceback" not in said
