"""No tailnet: SSH is a port of the host."""

from threading import Event
from typing import TYPE_CHECKING

from conductor.reach import Address
from conductor.wanted import Names
from conductor.work import Work
from drc.db import Database

if TYPE_CHECKING:
    from conductor.host import Host


class Local:
    publishes = True

    def door(self, host: "Host", names: Names, number: int) -> tuple[str, int]:
        return host.door.address, host.door.port(number)

    def prepare(self, host: "Host", names: Names, number: int) -> str | None:
        return None

    def forget(self, device: str) -> None:
        pass

    def join(
        self, host: "Host", db: Database, names: Names, number: int, work: Work, ended: Event
    ) -> Address | None:
        return None

    def christen(
        self, host: "Host", names: Names, number: int, work: Work, address: Address
    ) -> None:
        pass

    def leave(self, host: "Host", names: Names, work: Work) -> None:
        pass
