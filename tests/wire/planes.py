"""Control planes of this machine, for the clients that drc has of them: they keep keys and devices,
check what they are sent, and fail as they are told to.

What they know of the real ones: Tailscale's public API documentation; Headscale's
hscontrol/grpcv1.go (0.29) and hscontrol/api/v1 (0.30).
"""

import base64
import contextlib
import http.server
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from email.message import Message
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import parse_qsl

TAG = re.compile("tag:[A-Za-z][A-Za-z0-9-]*")
KEY = {
    "capabilities": {"devices": {"create": {
        "reusable": bool, "ephemeral": bool, "preauthorized": bool, "tags?": [TAG],
    }}},
    "expirySeconds?": int,
    "description?": re.compile("[A-Za-z0-9 -]{,50}"),
}  # fmt: skip
PREAUTHKEY = {
    "user?": re.compile("[0-9]+"), "reusable?": bool, "ephemeral?": bool, "aclTags?": [str],
    "expiration?": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"),
}  # fmt: skip
JSON = "application/json"


def faults(value: Any, form: Any, at: str = "body") -> Iterator[str]:
    """`form`: a type, a pattern, a list of a form, or forms by name; those with ? may be absent."""
    if isinstance(form, dict) and isinstance(value, dict):
        forms = {name.strip("?"): each for name, each in form.items()}
        for name in value.keys() - forms.keys():
            yield f"{at}.{name} is unknown"
        for name in forms.keys() - value.keys():
            if name in form:
                yield f"{at}.{name} is missing"
        for name in forms.keys() & value.keys():
            yield from faults(value[name], forms[name], f"{at}.{name}")
    elif isinstance(form, list) and isinstance(value, list):
        for index, each in enumerate(value):
            yield from faults(each, form[0], f"{at}[{index}]")
    elif isinstance(form, re.Pattern):
        if not isinstance(value, str) or not form.fullmatch(value):
            yield f"{at} does not match {form.pattern}"
    elif type(value) is not form:
        yield f"{at} is of another type than expected"


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    headers: Message
    text: str
    at: float
    """By the clock that does not go back; in seconds."""

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.text, keep_blank_values=True, strict_parsing=True))


@dataclass(frozen=True, slots=True)
class Answer:
    status: int = 0
    """0: the connection ends without an answer."""
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    takes: bool = False
    """Whether what was asked for is done all the same."""
    hangs: bool = False
    """It comes when nobody waits for it anymore."""
    whole: bool = True
    """Else the connection ends in the midst of it."""
    drips: bool = False
    """It comes a byte at a time, each long before anybody's patience with one ends."""


def said(status: int, body: Any, kind: str = JSON) -> Answer:
    return Answer(status, "" if body is None else json.dumps(body), {"Content-Type": kind})


def limited(seconds: object = None) -> Answer:
    more = {} if seconds is None else {"Retry-After": str(seconds)}
    answer = said(429, {"message": "rate limit exceeded"})
    return replace(answer, headers={**answer.headers, **more})


def broken(status: int) -> Answer:
    """With a page of the proxy in front of it: no JSON."""
    return Answer(status, "<html>upstream <b>failed</b></html>", {"Content-Type": "text/html"})


def cut(*, takes: bool = False) -> Answer:
    return Answer(takes=takes)


def torn() -> Answer:
    return Answer(200, '{"devices": [', {"Content-Type": JSON}, whole=False)


def drip(head: str) -> Answer:
    """`head`: what comes at once; after it as many letters as anybody waits for."""
    return Answer(200, head, drips=True)


def hang(*, takes: bool = False) -> Answer:
    return Answer(takes=takes, hangs=True)


class Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message


class Handler(http.server.BaseHTTPRequestHandler):
    plane: "Plane"
    protocol_version = "HTTP/1.1"  # connections stay, as those to the real ones do
    wbufsize = -1
    timeout = 5  # of a client that does not end its request

    def answer(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        asked = Request(self.command, self.path, self.headers, text, time.monotonic())
        answer = self.plane.handle(asked)
        if answer.hangs:
            self.plane.ended.wait(60)
        self.close_connection = not answer.status or not answer.whole or answer.drips
        if not answer.status:
            return
        if answer.drips:
            self.drip(answer.text)
            return
        self.send_response(answer.status)
        length = len(answer.text.encode()) + (0 if answer.whole else 100)
        for name, value in {**answer.headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.text.encode())

    def drip(self, head: str) -> None:
        with contextlib.suppress(OSError):  # whoever asked has gone
            self.wfile.write(head.encode())
            self.wfile.flush()
            while not self.plane.ended.wait(0.05):
                self.wfile.write(b"x")
                self.wfile.flush()

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, format: str, *args: object) -> None:
        pass


class Plane:
    """`routes`: method, path and what answers; it is called with the request and what the path's
    groups hold, and returns JSON or raises Refusal.
    """

    malformed = 400
    """The status of an answer to a body that is not of the form."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.keys: list[dict[str, Any]] = []
        self.devices: dict[str, dict[str, Any]] = {}
        self.played: list[tuple[str, Answer | None]] = []
        self.fallen: tuple[str, Answer] | None = None
        self.routes: list[tuple[str, str, Callable[..., Any]]] = []
        self.lock, self.ended = threading.Lock(), threading.Event()
        handler = type("PlaneHandler", (Handler,), {"plane": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = False  # closing it waits for what it is answering
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def down(self) -> None:
        """For good."""
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def play(self, *answers: Answer | None, at: str = "/") -> None:
        """One for each request to come whose path has `at` in it; None lets that one through."""
        self.played.extend((at, answer) for answer in answers)

    def always(self, answer: Answer, at: str = "/") -> None:
        """To every request from now on, beside those for which something else is played."""
        self.fallen = (at, answer)

    def asked(self, at: str) -> list[Request]:
        return [request for request in self.requests if at in request.path]

    def handle(self, request: Request) -> Answer:
        with self.lock:
            self.requests.append(request)
            found = next((each for each in self.played if each[0] in request.path), None)
            if found:
                self.played.remove(found)
            elif self.fallen and self.fallen[0] in request.path:
                found = self.fallen
            fault = found[1] if found else None
            if fault and not fault.takes:
                return fault
            try:
                answer = said(200, self.serve(request))
            except Refusal as refusal:
                answer = self.refuse(refusal.status, refusal.message)
            return fault or answer

    def serve(self, request: Request) -> Any:
        for method, path, function in self.routes:
            if method == request.method and (match := re.fullmatch(path, request.path)):
                return function(request, *match.groups())
        raise Refusal(404, "page not found")

    def check(self, request: Request, form: Any) -> Any:
        """The request's body, which is of that form."""
        if request.headers.get_content_type() != JSON:
            raise Refusal(415, "unknown content type")
        try:
            body = request.json
        except ValueError as failed:
            raise Refusal(400, f"invalid JSON: {failed}") from None
        if wrong := [*faults(body, form)]:
            raise Refusal(self.malformed, "; ".join(wrong))
        return body

    def refuse(self, status: int, message: str) -> Answer:
        raise NotImplementedError


def permitted(tags: list[str], known: set[str], *, at_least: int = 0) -> None:
    """Raises Refusal, in the words that both have."""
    if set(tags) - known or len(tags) < at_least:
        names = " ".join(tags)
        raise Refusal(400, f"requested tags [{names}] are invalid or not permitted")


class Tailscale(Plane):
    def __init__(self, token: str = "tskey-api-1") -> None:
        super().__init__()
        self.token = token
        self.client = ("k1", "tskey-client-k1-2")
        self.tags = {"tag:vessel", "tag:vessel-ada"}
        """What keys may be made for, and devices be given."""
        self.access: list[str] = []
        """The OAuth access tokens that are good."""
        self.lasts = 3600
        self.routes = [
            ("POST", "/api/v2/oauth/token", self.sign_in),
            ("POST", "/api/v2/tailnet/-/keys", self.make_key),
            ("GET", "/api/v2/tailnet/-/devices", self.list_devices),
            ("POST", "/api/v2/device/([^/]+)/ip", self.move),
            ("POST", "/api/v2/device/([^/]+)/tags", self.tag),
            ("DELETE", "/api/v2/device/([^/]+)", self.delete),
        ]

    def refuse(self, status: int, message: str) -> Answer:
        return said(status, {"message": message})

    def join(self, id: str, ipv4: str, tags: list[str] | None = None, **more: Any) -> None:
        """A device joins. `tags`: as in the real answers, nothing where there is none."""
        device = {
            "addresses": [ipv4, f"fd7a:115c:a1e0::{id.strip('n')}"], "id": f"10{id.strip('n')}",
            "nodeId": id, "hostname": f"host-{id}", "name": f"host-{id}.tail1.ts.net",
            "user": "tagged-devices", "authorized": True, "isEphemeral": True, "isExternal": False,
            "created": "2026-11-24T12:33:52Z", "connectedToControl": True, "lastSeen": None,
        }  # fmt: skip
        self.devices[id] = {**device, **({"tags": tags} if tags else {}), **more}

    def run_out(self) -> None:
        """The access tokens are good no more."""
        self.access.clear()

    def serve(self, request: Request) -> Any:
        kind, _, proof = request.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            proof, _, password = base64.b64decode(proof).decode().partition(":")
            proof = "" if password else proof
        if not request.path.endswith("/oauth/token") and proof not in {self.token, *self.access}:
            raise Refusal(401, "API token invalid")
        return super().serve(request)

    def sign_in(self, request: Request) -> Any:
        if request.headers.get_content_type() != "application/x-www-form-urlencoded":
            raise Refusal(400, "not a form")
        form = request.form
        if form.keys() - {"client_id", "client_secret", "scope", "tags"}:
            raise Refusal(400, "unknown field")
        if (form.get("client_id"), form.get("client_secret")) != self.client:
            raise Refusal(401, "API token invalid")
        self.access.append(f"tskey-access-{len(self.requests)}")
        return {
            "access_token": self.access[-1],
            "token_type": "Bearer",
            "expires_in": self.lasts,
            "scope": form["scope"],
        }

    def make_key(self, request: Request) -> Any:
        wish = self.check(request, KEY)
        tags = wish["capabilities"]["devices"]["create"].get("tags", [])
        by_client = request.headers.get("Authorization", "").startswith("Bearer tskey-access")
        permitted(tags, self.tags, at_least=1 if by_client else 0)
        id = f"k{len(self.keys) + 10}"
        self.keys.append({
            **wish, "id": id, "key": f"tskey-auth-{id}CNTRL-9", "created": "2026-11-24T12:33:52Z",
            "expires": "2026-11-24T12:38:52Z", "revoked": "0001-01-01T00:00:00Z",
        })  # fmt: skip
        return self.keys[-1]

    def list_devices(self, request: Request) -> Any:
        return {"devices": [*self.devices.values()]}

    def known(self, id: str) -> dict[str, Any]:
        if id not in self.devices:
            raise Refusal(404, f'no device with ID "{id}"')
        return self.devices[id]

    def move(self, request: Request, id: str) -> Any:
        device, ipv4 = self.known(id), self.check(request, {"ipv4": str})["ipv4"]
        if not ipv4.startswith("100."):
            raise Refusal(400, f'invalid IPv4 address "{ipv4}"')
        if any(ipv4 in other["addresses"] for other in self.devices.values() if other != device):
            raise Refusal(500, "address already in use")
        device["addresses"][0] = ipv4
        return {}

    def tag(self, request: Request, id: str) -> Any:
        device, tags = self.known(id), self.check(request, {"tags": [TAG]})["tags"]
        permitted(tags, self.tags)
        device["tags"] = tags
        return {}

    def delete(self, request: Request, id: str) -> Any:
        if self.known(id)["isExternal"]:
            raise Refusal(501, "cannot delete devices outside of your tailnet")
        del self.devices[id]


class Headscale(Plane):
    """`version`: 0.29 (grpc-gateway) or 0.30 (Huma), which differ in how they say no."""

    def __init__(self, version: str, token: str = "hskey-api-1") -> None:
        super().__init__()
        self.version, self.token = version, token
        self.tags = {"tag:vessel", "tag:vessel-ada"}
        """What its policy knows: devices can be given others no more than keys can be refused."""
        self.malformed = 400 if version == "0.29" else 422
        self.routes = [
            ("POST", "/api/v1/preauthkey", self.make_key),
            ("GET", "/api/v1/node", lambda _: {"nodes": [*self.devices.values()]}),
            ("POST", "/api/v1/node/([^/]+)/tags", self.tag),
            ("DELETE", "/api/v1/node/([^/]+)", self.delete),
        ]

    def refuse(self, status: int, message: str) -> Answer:
        """`message`: what 0.29 says, after what 0.30 was doing."""
        head, _, detail = message.rpartition(": ")
        if self.version == "0.30":
            problem = {"title": HTTPStatus(status).phrase, "status": status}
            more = {"detail": head, "errors": [{"message": detail}]} if head else {"detail": detail}
            return said(status, {**problem, **more}, "application/problem+json")
        if status == 401:
            return Answer(401, "Unauthorized", {"Content-Type": "text/plain; charset=utf-8"})
        code = {400: 3, 404: 5}.get(status, 13)
        return said(status, {"code": code, "message": detail, "details": []})

    def join(self, id: str, ipv4: str, tags: list[str], **more: Any) -> None:
        self.devices[id] = {
            "id": id, "machineKey": "mkey:1", "nodeKey": "nodekey:1", "discoKey": "discokey:1",
            "ipAddresses": [ipv4, f"fd7a:115c:a1e0::{id}"], "name": f"host-{id}",
            "user": {"id": "2147455555", "name": "tagged-devices"}, "lastSeen": None,
            "expiry": None, "preAuthKey": None, "createdAt": "2026-11-24T12:33:52.123456789Z",
            "registerMethod": "REGISTER_METHOD_AUTH_KEY", "givenName": f"host-{id}-x",
            "online": True, "approvedRoutes": [], "availableRoutes": [], "subnetRoutes": [],
            "tags": tags, **more,
        }  # fmt: skip

    def serve(self, request: Request) -> Any:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            raise Refusal(401, "Unauthorized")
        return super().serve(request)

    def make_key(self, request: Request) -> Any:
        wish = self.check(request, PREAUTHKEY)
        tags = wish.get("aclTags", [])
        if any(tag != tag.lower() for tag in tags):
            raise Refusal(400, "invalid tag: tag should be lowercase")
        if not tags and "user" not in wish:
            raise Refusal(400, "creating pre-auth key: neither tagged nor owned")
        id = str(len(self.keys) + 1)
        self.keys.append({
            "user": None, "id": id, "key": f"hskey-auth-{id}-9", "used": False,
            "reusable": wish.get("reusable", False), "ephemeral": wish.get("ephemeral", False),
            # as both do: such a key has expired when it is made
            "expiration": wish.get("expiration", "0001-01-01T00:00:00Z"),
            "createdAt": "2026-11-24T12:33:52Z", "aclTags": tags,
        })  # fmt: skip
        return {"preAuthKey": self.keys[-1]}

    def known(self, id: str) -> dict[str, Any]:
        if not id.isdecimal():
            raise Refusal(400, "type mismatch, parameter: node_id")
        if id not in self.devices:
            raise Refusal(404, "node not found")
        return self.devices[id]

    def tag(self, request: Request, id: str) -> Any:
        node, tags = self.known(id), self.check(request, {"tags": [TAG]})["tags"]
        try:
            permitted(tags, self.tags)
        except Refusal as refusal:
            raise Refusal(400, f"setting tags: {refusal.message}") from None
        node["tags"] = tags
        return {"node": node}

    def delete(self, request: Request, id: str) -> Any:
        self.known(id)
        del self.devices[id]
        return {}
