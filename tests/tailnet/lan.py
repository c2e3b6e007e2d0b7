"""A network of the tests' own, in which a control server, laptops and hosts find each other."""

import os
import subprocess
from pathlib import Path

from tests.host.machine import run

NETWORK = "10.203.113"
"""Its first three bytes. Private ones, for else Tailscale's programs ask the server over TLS as
soon as a connection to it was lost, and what they find at port 443 is nothing."""


class Lan:
    """A network namespace with a bridge in it. `address`: the one of what is served there.

    Every program of this machine reaches that address, and no other of it.
    """

    def __init__(self) -> None:
        self.namespace = f"drc-test-{os.getpid()}-lan"
        number = os.getpid() % 200 + 50
        self.address = f"{NETWORK}.{number}"
        self.outside = f"10.203.114.{number}"
        self.given = 0

    def inside(self, *command: str | Path) -> list[str | Path]:
        """The command line of a program that runs at the address."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *command]

    def __enter__(self) -> "Lan":
        run("ip", "netns", "add", self.namespace)
        try:
            self.ip("link", "set", "lo", "up")
            self.ip("link", "add", "bridge", "type", "bridge")
            self.ip("addr", "add", f"{self.address}/24", "dev", "bridge")
            self.ip("link", "set", "bridge", "up")
            # a cable to this process, with one address at each end
            mine, other = self.cable(0)
            self.ip("link", "add", mine, "type", "veth", "peer", "name", other,
                    "netns", str(os.getpid()))  # fmt: skip
            run("ip", "addr", "add", self.outside, "peer", self.address, "dev", other)
            run("ip", "link", "set", other, "up")
            self.ip("link", "set", mine, "up")
            self.ip("route", "add", self.outside, "dev", mine)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        for number in range(self.given + 1):
            # by name: else their other ends stay until the kernel has time for it
            command = ["ip", "-n", self.namespace, "link", "del", self.cable(number)[0]]
            subprocess.run(command, capture_output=True)
        subprocess.run(["ip", "netns", "del", self.namespace], capture_output=True)

    def cable(self, number: int) -> tuple[str, str]:
        """What its two ends are called: the one here and the other one."""
        return f"dl{os.getpid()}-{number}", f"dm{os.getpid()}-{number}"

    def ip(self, *words: str) -> None:
        run("ip", "-n", self.namespace, *words)

    def connect(self, namespace: str) -> str:
        """Another network, by a cable of its own. Returns the address that it has on this one."""
        self.given += 1
        assert self.given < 50
        address = f"{NETWORK}.{self.given}"
        mine, other = self.cable(self.given)
        self.ip("link", "add", mine, "type", "veth", "peer", "name", other, "netns", namespace)
        self.ip("link", "set", mine, "master", "bridge", "up")
        run("ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", other)
        run("ip", "-n", namespace, "link", "set", other, "up")
        return address
