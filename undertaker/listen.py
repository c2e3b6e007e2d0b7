"""How clicks come to us: over a connection that we make (Socket Mode), which needs no address; or
as requests of Slack's to an address that it can reach, each with a signature that is checked.
"""

import json
import logging
import re
import threading
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import parse_qs

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import SignatureVerifier
from slack_sdk.socket_mode import SocketModeClient
from slack_sdk.socket_mode.client import BaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from drc.errors import Misconfigured
from undertaker.clicks import Payload

LARGEST = 1_000_000  # bytes of a request; a message with its blocks is a few thousand
PATH = "/slack/interactions"
LONGEST_PAUSE = 60.0  # seconds between two tries to reach Slack
WRONG = ("invalid_auth", "not_authed", "not_allowed_token_type", "account_inactive",
         "missing_scope", "token_revoked")  # fmt: skip
"""What no later try mends."""

log = logging.getLogger("undertaker.listen")

Handle = Callable[[Payload], None]


def by_socket(token: str, handle: Handle, ended: threading.Event, url: str = "") -> None:
    """Listen over Socket Mode until `ended`; a connection that breaks is made anew by the SDK.

    `token`: an app's (`xapp-…`). Raises Misconfigured where Slack refuses it.
    """
    web = WebClient(base_url=url or WebClient.BASE_URL, retry_handlers=[])
    client = SocketModeClient(app_token=token, web_client=web)

    def hear(_: BaseSocketModeClient, request: SocketModeRequest) -> None:
        payload = cast(Payload, request.payload)
        if request.type == "interactive":
            handle(payload)
        client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))

    client.socket_mode_request_listeners.append(hear)
    pause = 1.0
    try:
        while not ended.is_set():
            try:
                client.connect()
                break
            except SlackApiError as failed:
                answer: Any = failed.response
                why = str(answer.get("error"))
                if why in WRONG:
                    raise Misconfigured(
                        f"Slack refuses DRC_SLACK_APP_TOKEN: {why}", hint="See docs/idle.md."
                    ) from None
                log.warning("Slack refused: %s; again in %.0f s", why, pause)
            except Exception as failed:  # noqa: BLE001 - the SDK promises no family
                log.warning("Slack does not answer: %s; again in %.0f s", failed, pause)
            ended.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        ended.wait()
    finally:
        client.close()


def by_requests(secret: str, handle: Handle) -> Starlette:
    """A web application for Slack's “Request URL”, at PATH. `secret`: the app's signing secret."""
    verifier = SignatureVerifier(secret)

    async def take(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > LARGEST:
                return Response(status_code=413)
        stamp = request.headers.get("x-slack-request-timestamp", "")
        signature = request.headers.get("x-slack-signature", "")
        if not is_signed(verifier, body, stamp, signature):
            log.warning("a request that Slack did not sign, or not in the last minutes")
            return Response(status_code=401)
        try:
            payload: Payload = json.loads(parse_qs(body.decode())["payload"][0])
        except (KeyError, ValueError):
            return Response(status_code=400)
        await run_in_threadpool(handle, payload)
        return Response(status_code=200)

    return Starlette(routes=[Route(PATH, take, methods=["POST"])])


def is_signed(verifier: SignatureVerifier, body: bytes, stamp: str, signature: str) -> bool:
    """Whatever anybody sends; the verifier itself takes text only, and a number."""
    if not re.fullmatch(r"[0-9]{1,12}", stamp) or not signature.isascii():
        return False
    try:
        return verifier.is_valid(body.decode(), stamp, signature)
    except UnicodeDecodeError:
        return False
