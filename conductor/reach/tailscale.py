"""Tailscale's API v2. Sources: its public API documentation; tailscale-client-go-v2 2.9."""

import base64
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from conductor.reach.plane import AddressTaken, Device
from conductor.reach.web import PATIENCE, Busy, Web, instant, ips, said
from drc.errors import TailnetRefused

API = "https://api.tailscale.com"
KEY_LIFE = 300  # seconds
SCOPES = "auth_keys devices:core"
EARLY = 60.0  # seconds by which an access token is renewed before it runs out


class Tailscale:
    """`token`: an API access token (`tskey-api-…`); or `client`, an OAuth client's id and secret,
    whose scopes are SCOPES and whose tag owns `tag` and owners' tags.
    """

    name = "Tailscale"
    can_move = True

    def __init__(
        self, tag: str, *, token: str = "", client: tuple[str, str] | None = None, url: str = API,
        login_server: str = "", patience: float = PATIENCE,
    ) -> None:  # fmt: skip
        self.tag = tag
        self.login_server = login_server
        self._api_token, self._client = token, client
        self._access, self._renew_at = "", 0.0
        self._lock = threading.Lock()
        self.web = Web(self.name, f"{url}/api/v2", self._authorize, self._forget, patience)

    def _authorize(self) -> Mapping[str, str]:
        if self._client is None:
            basic = base64.b64encode(f"{self._api_token}:".encode()).decode()
            return {"Authorization": f"Basic {basic}"}
        with self._lock:
            if not self._access or time.monotonic() > self._renew_at:
                self._sign_in(*self._client)
            return {"Authorization": f"Bearer {self._access}"}

    def _forget(self) -> bool:
        with self._lock:
            self._access = ""
        return self._client is not None

    def _sign_in(self, id: str, secret: str) -> None:
        """Raises Busy, TailnetRefused."""
        # no `tags`: a token that has only some of the client's may not give what the others own
        form = {"client_id": id, "client_secret": secret, "scope": SCOPES}
        answer = self.web.once("POST", "/oauth/token", {}, form=form)
        if answer.status_code != 200:
            raise TailnetRefused(
                f"{self.name} does not know our OAuth client: {said(answer)}",
                hint="DRC_TAILNET_CLIENT_ID, DRC_TAILNET_CLIENT_SECRET: docs/tailscale.md",
            )
        try:
            told = answer.json()
            access, lasts = str(told["access_token"]), float(told.get("expires_in", 3600))
        except (ValueError, LookupError, TypeError, AttributeError):
            raise Busy("gave no access token") from None
        self._access, self._renew_at = access, time.monotonic() + lasts - EARLY

    def mint(self, what: str, also: Sequence[str] = ()) -> str:
        tags = [self.tag, *also]
        create = {"reusable": False, "ephemeral": True, "preauthorized": True, "tags": tags}
        wish = {
            "capabilities": {"devices": {"create": create}},
            "expirySeconds": KEY_LIFE,
            "description": what[:50],
        }
        return str(self.web.ask("POST", "/tailnet/-/keys", "key", wish))

    def devices(self) -> list[Device]:
        found: list[dict[str, Any]] = self.web.ask("GET", "/tailnet/-/devices", "devices") or []
        return [device_of(one) for one in found if self.tag in (one.get("tags") or [])]

    def move(self, device: str, ipv4: str) -> None:
        answer = self.web.call("POST", f"/device/{device}/ip", {"ipv4": ipv4})
        if answer.status_code == 500:  # documented nowhere; the message is all that tells it
            # it may be its own already, by a try whose answer was lost
            if not any(one.id == device and one.ipv4 == ipv4 for one in self.devices()):
                raise AddressTaken(f"Another device of the tailnet has {ipv4}.")
            return
        self.web.checked(answer)

    def mark(self, device: str, also: Sequence[str]) -> None:
        tags = {"tags": [self.tag, *also]}
        self.web.checked(self.web.call("POST", f"/device/{device}/tags", tags))

    def delete(self, device: str) -> None:
        self.web.delete(f"/device/{device}")


def device_of(told: Mapping[str, Any]) -> Device:
    ipv4, ipv6 = ips(told["addresses"])
    return Device(
        id=str(told["nodeId"]),
        hostname=str(told["hostname"]),
        ipv4=ipv4,
        ipv6=ipv6,
        name=str(told.get("name") or ""),
        made_at=instant(told.get("created")),
        tags=frozenset(told.get("tags") or []),
    )
