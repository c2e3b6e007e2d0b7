"""Headscale's API v1, as 0.29 and 0.30 have it. Source: its hscontrol/grpcv1.go (0.29) and
hscontrol/api/v1 (0.30).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from conductor.reach.plane import Device
from conductor.reach.web import PATIENCE, Web, instant, ips
from drc.errors import TailnetRefused

KEY_LIFE = timedelta(minutes=5)


class Headscale:
    """`token`: an API key (`hskey-api-…`)."""

    name = "Headscale"
    can_move = False

    def __init__(self, tag: str, *, token: str, url: str, patience: float = PATIENCE) -> None:
        self.tag = tag
        self.login_server = url
        headers = {"Authorization": f"Bearer {token}"}
        self.web = Web(self.name, f"{url}/api/v1", lambda: headers, patience=patience)

    def mint(self, what: str, also: Sequence[str] = ()) -> str:
        """Its keys have no description. Not ephemeral: a node that is away keeps its address.

        Keys are made for tags that its policy does not know too; `mark` is refused.
        """
        until = (datetime.now(UTC) + KEY_LIFE).strftime("%Y-%m-%dT%H:%M:%SZ")
        # a key without an expiration has expired when it is made; one with tags needs no user
        wish = {"reusable": False, "ephemeral": False, "expiration": until, "aclTags": [self.tag]}
        made: dict[str, Any] = self.web.ask("POST", "/preauthkey", "preAuthKey", wish)
        return str(made["key"])

    def devices(self) -> list[Device]:
        found: list[dict[str, Any]] = self.web.ask("GET", "/node", "nodes") or []
        return [device_of(one) for one in found if self.tag in (one.get("tags") or [])]

    def move(self, device: str, ipv4: str) -> None:
        raise TailnetRefused("Headscale has no call that gives a device another address.")

    def mark(self, device: str, also: Sequence[str]) -> None:
        tags = {"tags": [self.tag, *also]}
        self.web.checked(self.web.call("POST", f"/node/{device}/tags", tags))

    def delete(self, device: str) -> None:
        if not device.isdecimal():
            return  # of another control plane, before this one
        self.web.delete(f"/node/{device}")


def device_of(told: Mapping[str, Any]) -> Device:
    ipv4, ipv6 = ips(told["ipAddresses"])
    return Device(
        id=str(told["id"]),
        hostname=str(told.get("name") or told.get("givenName") or ""),
        ipv4=ipv4,
        ipv6=ipv6,
        name="",  # what its network appends to givenName, this API does not say
        made_at=instant(told.get("createdAt")),
        tags=frozenset(told.get("tags") or []),
    )
