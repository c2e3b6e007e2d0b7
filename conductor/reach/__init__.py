"""How vessels are reached: by a published port of their host, or by an address of their own."""

from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Protocol

from conductor.wanted import Names
from conductor.work import Work
from drc.db import Database

if TYPE_CHECKING:
    from conductor.host import Host


@dataclass(frozen=True, slots=True)
class Address:
    """Where a vessel is in a tailnet."""

    ipv4: str
    ipv6: str
    name: str
    """By which its network resolves it; empty where it does not."""
    device: str
    """The node's id, as the control plane calls it."""
    instead_of: str = ""
    """The address that it had before, where somebody else has that now."""
    takes: bool = False
    """Whoever it was kept for loses it: the control plane gives addresses as it likes."""


class Reach(Protocol):
    """One way, for all vessels of an installation."""

    publishes: bool
    """Whether SSH is a port of the host; else the network container is a node of a tailnet."""

    def door(self, host: "Host", names: Names, number: int) -> tuple[str, int]:
        """Address and port of a vessel's sshd, for whoever asks on its host.

        Raises EngineFailed, HostUnreachable.
        """
        ...

    def prepare(self, host: "Host", names: Names, number: int) -> str | None:
        """What can be done beforehand for a network container that waits: the device that it waits
        as. Raises nothing of ours: one that is not prepared is joined later.
        """
        ...

    def forget(self, device: str) -> None:
        """Of a network container that waited, and is taken away; as far as one can."""
        ...

    def join(
        self, host: "Host", db: Database, names: Names, number: int, work: Work, ended: Event
    ) -> Address | None:
        """Give a vessel's network container its address; None: it has no more than its port.

        May be done again. `ended`: the start was given up meanwhile. Raises EngineFailed,
        HostUnreachable, TailnetUnreachable, TailnetRefused, StartFailed, StaleAttempt.
        """
        ...

    def christen(
        self, host: "Host", names: Names, number: int, work: Work, address: Address
    ) -> None:
        """Let what has joined bear its vessel's name, and see that it is what `join` took it for.
        Nobody waits for that. Raises as `join`.
        """
        ...

    def leave(self, host: "Host", names: Names, work: Work) -> None:
        """Take a vessel's address away, before its network container is; as far as one can."""
        ...
