"""Bringing messages to people over a Slack that fails in every way, and a webhook: none is lost,
and none whose outcome is known comes twice.
"""

import email
import email.policy
import http.server
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from drc import fleet
from drc.db import Database
from drc.errors import Misconfigured
from drc.up.postgres import Postgres
from tests.fleets import run_sql
from tests.wire.served import Api
from tests.wire.slack import Slack as Server
from tests.wire.slack import broken, cut, ratelimited, refuse, silent
from tests.wire.standin import StandIn
from undertaker.channel import PATIENCE, deliver
from undertaker.mail import Mail
from undertaker.message import Message
from undertaker.slack import Slack
from undertaker.webhook import Webhook

BODY = """'{"vessel": "bert", "reason": "it is idle <!channel>", "zone": "Europe/Berlin",
  "keeps_left": 2, "bury_at": "2026-11-16T18:00:00+00:00", "keep_to": "2026-11-17T15:00:00+00:00",
  "last_24h": [null, 0, 50, 100]}'"""
JUDGED = """
INSERT INTO idle (vessel_id, rung, verdict, reason, judged_at, warned_at, called_at, keep_to,
                  keeps_left)
  VALUES ('{id}', 'called', 'call', 'x', '2026-11-16', '2026-11-16', '2026-11-16', now(), 2)
  ON CONFLICT DO NOTHING RETURNING rung"""
Queue = Callable[..., int]


@pytest.fixture
def eyes(postgres: Postgres, database: str) -> Iterator[Database]:
    eyes = Database(postgres.url("drc_undertaker", database), size=2)
    yield eyes
    eyes.close()


@pytest.fixture
def queue(api: Api, standin: StandIn, db: Database) -> Queue:
    """Queues a message for Ada. Returns its id."""
    made = api.create("bert")
    run_sql(db, "UPDATE owner SET name = 'ada@example.org' WHERE login = 'ada' RETURNING id")

    def add(kind: str = "warned") -> int:
        (row,) = run_sql(
            db,
            "INSERT INTO message (vessel_id, owner_id, kind, body, judged_at) SELECT id, owner_id,"
            f" '{kind}', {BODY}, '2026-11-16' FROM vessel WHERE id = '{made['id']}' RETURNING id",
        )
        run_sql(db, JUDGED.format(id=made["id"]))
        return row["id"]

    return add


@pytest.fixture
def slack() -> Iterator[Server]:
    with Server("xoxb-drc", {"ada@example.org": "UADA"}, {"COPS"}) as server:
        yield server


def send(eyes: Database, slack: Server, fallback: str = "", token: str = "xoxb-drc") -> int:
    return deliver(eyes, Slack(token, fallback, slack.url))


def now_due(db: Database) -> None:
    run_sql(db, "UPDATE message SET run_at = now() - interval '1 second' RETURNING id")


def states(db: Database) -> list[str]:
    rows = run_sql(
        db,
        "SELECT CASE WHEN sent_at IS NOT NULL THEN 'sent'"
        " WHEN given_up_at IS NOT NULL THEN 'given up' WHEN in_hand THEN 'unknown'"
        " ELSE 'waits' END AS state FROM message ORDER BY id",
    )
    return [row["state"] for row in rows]


def test_it_goes_to_its_owner_and_says_what_when_and_how(
    eyes: Database, queue: Queue, slack: Server
) -> None:
    id = queue()
    assert send(eyes, slack) == 1
    (message,) = slack.messages
    assert message.channel.startswith("D")
    assert message.metadata == {"event_type": "drc_message", "event_payload": {"id": str(id)}}
    said, day = (json.dumps(block, ensure_ascii=False) for block in message.blocks)
    assert "it is buried Mon 16 Nov 19:00 CET" in said
    assert "&lt;!channel&gt;" in said  # a vessel's name mentions nobody
    assert "`·▁▅█`" in day
    assert send(eyes, slack) == 0


def test_who_is_not_in_slack_is_told_in_the_channel(
    eyes: Database, queue: Queue, slack: Server, db: Database
) -> None:
    slack.people.clear()
    queue()
    assert send(eyes, slack) == 0
    (row,) = run_sql(db, "SELECT trouble FROM message")
    assert row["trouble"] == "Slack knows nobody called ada@example.org, and no channel is set."
    now_due(db)
    assert send(eyes, slack, fallback="COPS") == 1
    assert slack.messages[0].text.startswith("For ada@example.org: bert is idle.")


@pytest.mark.parametrize(("ending", "posts"), [(cut, 1), (silent, 2)])
def test_a_warning_whose_outcome_nobody_knows_is_looked_up_and_comes_once(
    eyes: Database, queue: Queue, slack: Server, db: Database, ending: Any, posts: int
) -> None:
    queue()
    slack.play(ending())
    assert send(eyes, slack) == 0
    assert states(db) == ["unknown"]
    now_due(db)
    assert send(eyes, slack) == 1
    assert states(db) == ["sent"]
    assert len(slack.messages) == 1
    assert [method for method, _ in slack.requests].count("chat.postMessage") == posts


def test_another_whose_outcome_nobody_knows_does_not_come_again(
    eyes: Database, queue: Queue, slack: Server, db: Database
) -> None:
    queue("called")
    slack.play(silent())
    assert send(eyes, slack) == 0
    now_due(db)
    assert send(eyes, slack) == 0
    assert states(db) == ["given up"]


@pytest.mark.parametrize("kind", ["warned", "buried"])
@pytest.mark.parametrize("was_taken", [False, True])
def test_one_that_its_bearer_died_over(
    eyes: Database, queue: Queue, slack: Server, db: Database, kind: str, was_taken: bool
) -> None:
    """SIGKILL between taking it out of the queue and writing down what became of it."""
    queue(kind)
    claimed = fleet.claim_message(eyes, PATIENCE)
    assert claimed
    if was_taken:
        one = Slack("xoxb-drc", url=slack.url)
        claimed.pop("is_stale"), claimed.pop("is_unknown")
        one.send(Message(**claimed))
    assert send(eyes, slack) == 0  # it may be at it yet
    now_due(db)
    send(eyes, slack)
    assert states(db) == ["sent" if kind == "warned" else "given up"]
    assert len(slack.messages) == (1 if kind == "warned" or was_taken else 0)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (lambda: ratelimited(300), "waits"),
        (lambda: refuse("token_revoked"), "waits"),
        (lambda: broken(500), "unknown"),
        (lambda: broken(503), "unknown"),
    ],
)
def test_a_slack_that_is_unwell_is_left_alone_and_asked_again(
    eyes: Database, queue: Queue, slack: Server, db: Database, error: Any, state: str
) -> None:
    queue()
    queue()
    slack.play(error())
    assert send(eyes, slack) == 0
    assert states(db) == [state, "waits"]
    assert len([1 for method, _ in slack.requests if method == "chat.postMessage"]) == 1
    now_due(db)
    assert send(eyes, slack) == 2
    assert len(slack.messages) == 2


def test_what_slack_asks_for_is_waited_for(
    eyes: Database, queue: Queue, slack: Server, db: Database
) -> None:
    queue()
    slack.play(ratelimited(0), None)
    assert send(eyes, slack) == 1


def test_a_day_without_slack_loses_nothing(
    eyes: Database, queue: Queue, slack: Server, db: Database
) -> None:
    for kind in ("warned", "called", "buried"):
        queue(kind)
    slack.down()
    for _ in range(48):
        now_due(db)
        assert send(eyes, slack) == 0
    assert states(db) == ["waits"] * 3
    slack.up()
    now_due(db)
    assert send(eyes, slack) == 3
    assert len(slack.messages) == 3


def test_a_token_that_is_not_taken_shows_nowhere(
    eyes: Database, queue: Queue, slack: Server, db: Database
) -> None:
    queue()
    assert send(eyes, slack, token="xoxb-secret") == 0
    (row,) = run_sql(db, "SELECT m::text FROM message m")
    assert "invalid_auth" in row["m"]
    assert "secret" not in row["m"]


# A webhook --------------------------------------------------------------------------------------


class Hook(http.server.BaseHTTPRequestHandler):
    told: list[dict[str, Any]]
    status = 204
    headers_out: dict[str, str]

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.told.append(json.loads(self.rfile.read(length)))
        self.send_response(self.status)
        for name, value in self.headers_out.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[tuple[type[Hook], str]]:
    kind = type("Hook", (Hook,), {"told": [], "headers_out": {}})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield kind, f"http://127.0.0.1:{server.server_address[1]}/idle"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_is_told_the_same(
    eyes: Database, queue: Queue, hook: tuple[type[Hook], str]
) -> None:
    id = queue()
    seen, url = hook
    assert deliver(eyes, Webhook(url)) == 1
    (said,) = seen.told
    assert (said["id"], said["kind"], said["owner"], said["vessel"]) == (
        id,
        "warned",
        "ada",
        "bert",
    )
    assert said["text"].startswith("bert is idle.")


def test_a_webhook_that_refuses_is_asked_again_when_it_says(
    eyes: Database, queue: Queue, hook: tuple[type[Hook], str], db: Database
) -> None:
    queue()
    seen, url = hook
    seen.status, seen.headers_out = 429, {"Retry-After": "300"}
    assert deliver(eyes, Webhook(url)) == 0
    (row,) = run_sql(db, "SELECT run_at - now() AS left, trouble FROM message")
    assert timedelta(seconds=290) < row["left"] <= timedelta(seconds=300)
    assert row["trouble"] == "The webhook answered 429."
    assert deliver(eyes, Webhook("http://127.0.0.1:9")) == 0


# Mail -------------------------------------------------------------------------------------------


class Post(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as a client of ours speaks."""

    told: list[bytes]
    refusal = b""

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines: list[bytes] = []
                while (text := self.rfile.readline()) not in (b".\r\n", b""):
                    lines.append(text)
                if self.refusal == b"cut":
                    return
                self.told.append(b"".join(lines))
                self.wfile.write(b"250 taken\r\n")
            elif verb == b"RCPT" and self.refusal not in (b"", b"cut"):
                self.wfile.write(self.refusal + b"\r\n")
            elif verb == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 yes\r\n")


@pytest.fixture
def post() -> Iterator[tuple[type[Post], str]]:
    kind = type("Post", (Post,), {"told": []})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield kind, f"smtp://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_mail_goes_to_the_address_that_they_signed_in_with(
    eyes: Database, queue: Queue, post: tuple[type[Post], str]
) -> None:
    queue()
    seen, url = post
    assert deliver(eyes, Mail(url, "drc@example.org")) == 1
    (told,) = seen.told
    mail = email.message_from_bytes(told, policy=email.policy.default)
    assert (mail["To"], mail["Subject"]) == ("ada@example.org", "drc: bert is idle")
    said = mail.get_content()
    assert "it is buried Mon 16 Nov 19:00 CET" in said
    assert "·▁▅█  its busiest GPU" in said


@pytest.mark.parametrize(
    ("refusal", "state"), [(b"550 nobody of that name", "waits"), (b"cut", "unknown")]
)
def test_a_mail_server_that_does_not_take_it(
    eyes: Database, queue: Queue, post: tuple[type[Post], str], db: Database, refusal: bytes,
    state: str,
) -> None:  # fmt: skip
    queue()
    seen, url = post
    seen.refusal = refusal
    assert deliver(eyes, Mail(url, "drc@example.org")) == 0
    assert states(db) == [state]
    assert deliver(eyes, Mail("smtp://127.0.0.1:9", "drc@example.org")) == 0


@pytest.mark.parametrize("url", ["mail.example.org", "http://x", "smtp://"])
def test_what_is_no_way_to_send_mail_is_a_sentence(url: str) -> None:
    with pytest.raises(Misconfigured, match="no way to send mail"):
        Mail(url, "drc@example.org")


# What is not so any more, and whom no channel reaches ---------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE idle SET rung = 'active', warned_at = NULL RETURNING rung",
        "UPDATE idle SET warned_at = '2026-11-17' RETURNING rung",
        "UPDATE vessel SET state = 'stopping' RETURNING id",
    ],
)
def test_a_warning_that_is_not_so_any_more_is_not_sent(
    eyes: Database, queue: Queue, slack: Server, db: Database, change: str
) -> None:
    """The vessel was used again, warned anew, or has ended while Slack was away."""
    queue()
    run_sql(db, change)
    assert send(eyes, slack) == 0
    assert states(db) == ["given up"]
    assert slack.messages == []


def test_times_are_those_of_now(eyes: Database, queue: Queue, slack: Server, db: Database) -> None:
    queue()
    run_sql(db, "UPDATE idle SET bury_at = '2026-11-17 09:00+00' RETURNING rung")
    assert send(eyes, slack) == 1
    assert "it is buried Tue 17 Nov 10:00 CET" in slack.messages[0].text


def test_one_whom_nobody_knows_does_not_keep_others_from_being_told(
    eyes: Database, queue: Queue, slack: Server, db: Database, api: Api, standin: StandIn
) -> None:
    slack.people["bob@example.org"] = "UBOB"
    del slack.people["ada@example.org"]
    queue()
    made = api.create("otter", subject="bob")
    run_sql(db, "UPDATE owner SET name = 'bob@example.org' WHERE login = 'bob' RETURNING id")
    run_sql(db, JUDGED.format(id=made["id"]))
    run_sql(
        db,
        "INSERT INTO message (vessel_id, owner_id, kind, body, judged_at) SELECT id, owner_id,"
        f" 'warned', {BODY}, '2026-11-16' FROM vessel WHERE id = '{made['id']}' RETURNING id",
    )
    for _ in range(3):
        send(eyes, slack)
        run_sql(db, "UPDATE message SET run_at = now() WHERE sent_at IS NULL RETURNING id")
    assert states(db) == ["waits", "sent"]


def test_a_slack_that_never_stops_asking_for_patience_does_not_hold_up_the_round(
    eyes: Database, queue: Queue, slack: Server, db: Database
) -> None:
    queue()
    slack.play(ratelimited(0), ratelimited(0), ratelimited(0))
    assert send(eyes, slack) == 0
    assert states(db) == ["waits"]
