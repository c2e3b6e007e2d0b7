"""A tailnet's control plane, as far as we need it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from drc.errors import Refused


class AddressTaken(Refused):
    """Another device has that address."""


@dataclass(frozen=True, slots=True)
class Device:
    id: str
    hostname: str
    ipv4: str
    ipv6: str
    name: str
    """Its full DNS name; empty where there is none."""
    made_at: datetime
    tags: frozenset[str] = frozenset()


class Plane(Protocol):
    """Calls raise TailnetUnreachable (again may help) and TailnetRefused (it will not)."""

    name: str
    """For people: Tailscale, Headscale."""
    tag: str
    """What all vessels' devices bear, and no others."""
    login_server: str
    """What nodes are told to join; empty: Tailscale's own."""
    can_move: bool
    """Whether it can give a device another address."""

    def mint(self, what: str, also: Sequence[str] = ()) -> str:
        """A key with which one device joins, once, in the next minutes, with our tag; ephemeral
        where it can be given its address again.

        `what`: for people who look at the list of keys. `also`: more tags, unless the control plane
        would give them unseen; then they are given afterwards.
        """
        ...

    def devices(self) -> list[Device]:
        """Those with our tag."""
        ...

    def move(self, device: str, ipv4: str) -> None:
        """Give a device that very address. Raises AddressTaken."""
        ...

    def mark(self, device: str, also: Sequence[str]) -> None:
        """Let a device bear these tags beside ours."""
        ...

    def delete(self, device: str) -> None:
        """One that is gone already is no trouble."""
        ...
