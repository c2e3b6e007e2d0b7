"""A Slack of this machine, for the real slack_sdk: it keeps messages, and fails as it is told to.

What it knows of the real one: docs.slack.dev/reference/methods and /block-kit, and for the words
of its refusals what people quote of them (grafana/oncall 5121, incidentbot 328).
"""

import http.server
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Self
from urllib.parse import parse_qsl


def text(most: int, *kinds: str) -> dict[str, Any]:
    inner = {"text*": most, "emoji": None, "verbatim": None}
    return dict.fromkeys(kinds or ("plain_text", "mrkdwn"), inner)


BOT = {"team_id": "T1", "user": "drc", "user_id": "UDRC", "bot_id": "BDRC"}
BUTTON = {"button": {"text*": text(75, "plain_text"), "action_id": 255, "value": 2000,
                     "url": 3000, "style": {"primary", "danger"}, "confirm": None}}  # fmt: skip
BLOCKS = (50, {
    "section": {"text": text(3000), "fields": (10, text(2000)), "accessory": BUTTON},
    "header": {"text*": text(150, "plain_text")},
    "context": {"elements*": (10, text(3000))},
    "actions": {"elements*": (25, BUTTON)},
    "divider": {},
})  # fmt: skip
"""What this product could send; the real one knows more. A number: characters; a pair: items,
and what each is; a dictionary: by type, the properties, of which those with a * are needed."""


def faults(value: Any, rule: Any, at: str) -> Iterator[str]:
    where = f"[json-pointer:{at}]"
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(rule, int) and not 0 < len(value) <= rule:
        wanted = f"less than {rule + 1}" if value else "more than 0"
        yield f"must be {wanted} characters {where}"
    elif isinstance(rule, set) and value not in rule:
        yield f"must be one of {', '.join(sorted(rule))} {where}"
    elif isinstance(rule, tuple):
        if len(value) > rule[0]:
            yield f"no more than {rule[0]} items allowed {where}"
        for index, each in enumerate(value):
            yield from faults(each, rule[1], f"{at}/{index}")
    elif isinstance(rule, dict) and kind not in rule:
        yield f"unsupported type: {kind} [json-pointer:{at}/type]"
    elif isinstance(rule, dict):
        rules = {name.strip("*"): each for name, each in rule[kind].items()}
        rules |= {"block_id": 255} if kind in BLOCKS[1] else {}
        needed = {name for name in rules if f"{name}*" in rule[kind]}
        if kind == "section" and "fields" not in value:
            needed = {"text"}
        for name in needed - value.keys():
            yield f"missing required field: {name} {where}"
        for name in value.keys() - rules.keys() - {"type"}:
            yield f"invalid additional property: {name} {where}"
        for name in value.keys() & rules.keys():
            yield from faults(value[name], rules[name], f"{at}/{name}")


@dataclass
class Message:
    channel: str
    ts: str
    text: str
    blocks: list[dict[str, Any]]
    metadata: dict[str, Any] | None
    thread_ts: str | None = None

    def shown(self, *, metadata: bool = True) -> dict[str, Any]:
        hidden = {"channel"} if metadata else {"channel", "metadata"}
        kept = {name: value for name, value in asdict(self).items() if value and name not in hidden}
        return {"type": "message", "user": "UDRC", "bot_id": "BDRC", **kept}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int = 0
    """0: the connection ends without an answer."""
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    takes: bool = False
    """Whether the message is kept all the same, if it is in order."""


def said(**body: Any) -> Answer:
    return Answer(200, json.dumps(body), {"Content-Type": "application/json; charset=utf-8"})


def refuse(error: str, *faults: str) -> Answer:
    messages = {"response_metadata": {"messages": [f"[ERROR] {fault}" for fault in faults]}}
    return said(ok=False, error=error, **({"errors": faults, **messages} if faults else {}))


def ratelimited(seconds: int) -> Answer:
    return Answer(429, '{"ok":false,"error":"ratelimited"}', {"Retry-After": str(seconds)})


def broken(status: int = 503) -> Answer:
    """With a page of the proxy in front of it: no JSON."""
    return Answer(status, "<html>upstream failed</html>", {"Content-Type": "text/html"})


def cut() -> Answer:
    return Answer(takes=True)


def silent() -> Answer:
    """To the client it looks as `cut` does."""
    return Answer()


class Refused(Exception):
    """Bears what `refuse` is called with."""


class Handler(http.server.BaseHTTPRequestHandler):
    slack: "Slack"
    timeout = 5  # of a client that does not end its request

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        is_json = self.headers.get_content_type() == "application/json"
        params = json.loads(body) if is_json else dict(parse_qsl(body, keep_blank_values=True))
        method = self.path.removeprefix("/api/")
        if self.path.startswith("/api/answers/"):
            answer = self.slack.take(self.path, params)
        else:
            answer = self.slack.handle(method, params, self.headers.get("Authorization"))
        if not answer.status:
            return
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


class Slack:
    def __init__(self, token: str = "xoxb-1", people: Mapping[str, str] | None = None,
                 channels: Collection[str] = ("C1",)) -> None:  # fmt: skip
        self.token = token
        self.people = dict(people or {})
        """User ids (U…) by e-mail address."""
        self.channels, self.opened = {*channels}, set[str]()
        """Channels (C…), and direct messages (D…)."""
        self.messages: list[Message] = []
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.errors: deque[Answer | None] = deque()
        self.fallen: Answer | None = None
        """What it answers to everything."""
        self.app_token, self.socket_url = "xapp-1", ""
        """What opens a socket for clicks, and where that is."""
        self.answers: list[tuple[str, dict[str, Any]]] = []
        """What came to response_urls: of which message's, by its ts, and what."""
        self.last = 0
        self.lock = threading.Lock()
        self.methods = {
            "auth.test": lambda _: BOT, "users.lookupByEmail": self.lookup,
            "conversations.open": self.open, "conversations.history": self.history,
            "chat.postMessage": self.post, "chat.update": self.update,
            "apps.connections.open": lambda _: {"url": self.socket_url},
        }  # fmt: skip
        # bound and never listening: the port stays ours while the server is down
        self.seat = socket.socket()
        self.seat.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.seat.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.seat.getsockname()[1]}/api/"
        self.server: http.server.ThreadingHTTPServer | None = None

    def up(self) -> Self:
        self.fallen = None
        if self.server is None:
            handler = type("SlackHandler", (Handler,), {"slack": self})
            self.server = http.server.ThreadingHTTPServer(self.seat.getsockname(), handler)
            self.server.daemon_threads = False  # closing it waits for what it is answering
            self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
            self.thread.start()
        return self

    start = __enter__ = up

    def down(self, status: int | None = None) -> None:
        """Connections are refused; with a status, all is answered with that instead."""
        self.fallen = broken(status) if status else None
        if status is None and self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.thread.join()
            self.server = None

    def close(self, *_: object) -> None:
        self.down()
        self.seat.close()

    __exit__ = close

    def play(self, *errors: Answer | None) -> None:
        """One for each chat.postMessage to come; None lets that one through."""
        self.errors.extend(errors)

    def handle(self, method: str, params: dict[str, Any], asker: str | None) -> Answer:
        with self.lock:
            self.requests.append((method, params))
            posts = method == "chat.postMessage" and not self.fallen
            error = self.errors.popleft() if posts and self.errors else self.fallen
            if error and not error.takes:
                return error
            try:
                opens = method == "apps.connections.open"
                if asker != f"Bearer {self.app_token if opens else self.token}":
                    raise Refused("invalid_auth")
                if method not in self.methods:
                    raise Refused("unknown_method")
                answer = said(ok=True, **self.methods[method](params))
            except Refused as refused:
                answer = refuse(*refused.args)
            except (ValueError, TypeError, AttributeError, ArithmeticError) as failed:
                answer = refuse("invalid_arguments", str(failed))
            return error or answer

    def lookup(self, params: dict[str, Any]) -> dict[str, Any]:
        address = params.get("email", "")
        if address not in self.people:
            raise Refused("users_not_found")
        return {"user": {"id": self.people[address], "profile": {"email": address}}}

    def open(self, params: dict[str, Any]) -> dict[str, Any]:
        user = params.get("users")
        if user not in self.people.values():
            raise Refused("user_not_found")
        self.opened.add(f"D{user}")
        return {"channel": {"id": f"D{user}"}}

    def known(self, params: dict[str, Any]) -> str:
        channel = str(params.get("channel"))
        if channel not in self.channels | self.opened:
            raise Refused("channel_not_found")
        return channel

    def content(self, params: dict[str, Any]) -> tuple[str, list[Any], dict[str, Any] | None]:
        """The real one takes blocks without a text; a notification then says nothing."""
        if not params.get("text"):
            raise Refused("no_text")
        blocks, metadata = (
            json.loads(value) if isinstance(value, str) else value
            for value in (params.get("blocks") or [], params.get("metadata"))
        )
        if wrong := [*faults(blocks, BLOCKS, "/blocks")]:
            raise Refused("invalid_blocks", *wrong)
        if metadata and metadata.keys() != {"event_type", "event_payload"}:
            raise Refused("invalid_metadata_format")
        return params["text"][:40_000], blocks, metadata or None

    def post(self, params: dict[str, Any]) -> dict[str, Any]:
        if params.get("channel") in self.people.values():
            params = {**params, "channel": self.open({"users": params["channel"]})["channel"]["id"]}
        channel, content = self.known(params), self.content(params)
        self.last = max(self.last + 1, time.time_ns() // 1000)
        ts = f"{self.last / 10**6:.6f}"
        message = Message(channel, ts, *content, thread_ts=params.get("thread_ts"))
        self.messages.append(message)
        return {"channel": channel, "ts": ts, "message": message.shown()}

    def update(self, params: dict[str, Any]) -> dict[str, Any]:
        """A text without blocks takes the blocks away; the metadata stay unless they are sent."""
        where = (self.known(params), params.get("ts"))
        message = next((m for m in self.messages if (m.channel, m.ts) == where), None)
        if message is None:
            raise Refused("message_not_found")
        message.text, message.blocks, metadata = self.content(params)
        message.metadata = metadata if "metadata" in params else message.metadata
        return {"channel": where[0], "ts": message.ts, "text": message.text}

    def press(self, message: Message, action: str, user: str) -> dict[str, Any]:
        """What Slack sends when somebody clicks on one of a message's buttons."""
        (button,) = (
            each for block in message.blocks if block["type"] == "actions"
            for each in block["elements"] if each["action_id"] == action
        )  # fmt: skip
        return {
            "type": "block_actions",
            "user": {"id": user, "username": user.lower(), "team_id": "T1"},
            "api_app_id": "A1",
            "container": {"type": "message", "message_ts": message.ts,
                          "channel_id": message.channel, "is_ephemeral": False},
            "channel": {"id": message.channel, "name": "directmessage"},
            "message": message.shown(),
            "response_url": f"{self.url}answers/{message.ts}",
            "actions": [{**button, "block_id": "b1", "action_ts": "1.0"}],
        }  # fmt: skip

    def take(self, path: str, params: dict[str, Any]) -> Answer:
        """What a response_url is told. The real one takes five in half an hour."""
        ts = path.rpartition("/")[2]
        message = next((m for m in self.messages if m.ts == ts), None)
        if message is None or len([1 for used, _ in self.answers if used == ts]) >= 5:
            return Answer(404, "used_url" if message else "no_service")
        if [*faults(params.get("blocks") or [], BLOCKS, "/blocks")]:
            return Answer(400, "invalid_blocks")
        self.answers.append((ts, params))
        if params.get("replace_original"):
            message.text, message.blocks = params["text"], params.get("blocks") or []
        return Answer(200, "ok")

    def history(self, params: dict[str, Any]) -> dict[str, Any]:
        """Newest first, and no replies in threads: as the real one, of which this is a part."""
        channel, limit = self.known(params), int(params.get("limit", 100))
        unknown = params.keys() - {"channel", "limit", "oldest", "include_all_metadata", "cursor"}
        if unknown or not 0 < limit < 1000:
            raise Refused("invalid_arguments", *unknown)
        oldest = Decimal(params.get("oldest", 0))
        found = [
            message.shown(metadata=params.get("include_all_metadata") in ("1", "true"))
            for message in reversed(self.messages)
            if message.channel == channel and Decimal(message.ts) > oldest
            and message.thread_ts in (None, message.ts)
        ]  # fmt: skip
        begin = int(params.get("cursor") or 0)
        more = str(begin + limit) if len(found) > begin + limit else ""
        return {
            "messages": found[begin : begin + limit],
            "has_more": bool(more),
            "response_metadata": {"next_cursor": more},
        }
