"""A tailnet: each vessel's network container is a node of it, with an address that stays."""

import contextlib
import hashlib
import ipaddress
import json
import logging
import re
import secrets
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from threading import Event
from typing import Any

import docker.errors

from conductor.execute import execute
from conductor.host import Host, translated
from conductor.reach import Address, state
from conductor.reach.plane import AddressTaken, Device, Plane
from conductor.said import clean
from conductor.wanted import SSH_PORT, Names
from conductor.work import Work
from drc import fleet
from drc.db import Database
from drc.errors import (
    DrcError,
    EngineFailed,
    HostUnreachable,
    StartFailed,
    TailnetRefused,
    TailnetUnreachable,
)
from drc.tailnet import owner_tag

JOIN_TIMEOUT = 40.0  # seconds for the node to come up; it takes about half a second
LABEL = 63  # letters of a DNS label
TRIES = 10  # addresses that may be somebody's before we give up
FIRST = ipaddress.ip_address("100.64.0.0")
RESERVED = [ipaddress.ip_network(one) for one in ("100.100.0.0/24", "100.100.100.0/24",
            "100.115.92.0/23", "100.64.0.0/24")]  # fmt: skip
"""Of 100.64.0.0/10: Tailscale's own (kb/1304), and the first, which planes give by themselves."""
CHRISTEN = 'tailscale set --hostname="$1" && tailscale status --json --peers=false'
NO_PROGRAM = "There is no tailscale in the network containers' image"
NOT_PERMITTED = "are invalid or not permitted"
"""In what is said of tags (Tailscale, and Headscale in the same words)."""
HOPELESS = ("invalid key", "authkey", NO_PROGRAM)
"""In what is said where the control plane declines (Tailscale, Headscale), or nothing can join."""

log = logging.getLogger("conductor.tailnet")


class Tailnet:
    """`joined`: network containers wait as nodes already, each a device that nobody has yet; only
    where the control plane can give them their address afterwards.

    `apart`: each vessel's node bears a tag of its owner's beside the one of all.
    """

    publishes = False

    def __init__(self, plane: Plane, *, joined: bool = False, apart: bool = True) -> None:
        self.plane = plane
        self.joined = joined
        self.apart = apart
        self.seen: dict[str, float] = {}
        """Devices without a vessel, by id, and when we saw each first (time.monotonic)."""

    def door(self, host: Host, names: Names, number: int) -> tuple[str, int]:
        """On the bridge of its host, which nobody else reaches."""
        found = inspect(host, names.berth(number))
        return str(found["NetworkSettings"]["Networks"][names.network]["IPAddress"]), SSH_PORT

    def prepare(self, host: Host, names: Names, number: int) -> str | None:
        if not self.joined:
            return None
        berth = names.berth(number)
        try:
            key = self.plane.mint(f"network container {number} of {host.name}")
            words = [f"{host.name}-{berth}"[:LABEL], self.plane.login_server]
            return node_in(run(host, berth, words, key))
        except DrcError as failed:
            log.warning("%s on %s did not join: %s", berth, host.name, failed)
            return None

    def forget(self, device: str) -> None:
        try:
            self.plane.delete(device)
        except DrcError as failed:
            log.warning("the device %s of a network container: %s", device, failed)

    def join(
        self, host: Host, db: Database, names: Names, number: int, work: Work, ended: Event
    ) -> Address:
        # by its id: its name is another's once it is gone
        berth = str(inspect(host, names.berth(number))["Id"])
        return self.join_in(host, db, names, berth, work, ended)

    def join_in(
        self, host: Host, db: Database, names: Names, berth: str, work: Work, ended: Event
    ) -> Address:  # fmt: skip
        """As `join`, in a network container of which the id is known."""

        def go_on() -> None:
            work.go_on()
            if ended.is_set():
                raise EngineFailed("Its start was given up.")

        devices = self.plane.devices()
        node = node_of(host, berth) if work.node is None else work.node
        mine, is_new = next((device for device in devices if device.id == node), None), False
        if mine is None and not self.plane.can_move:
            mine = self.come_back(host, names, berth, work, devices)
        if mine is None:
            for device in devices:
                if device.id == work.device:  # it cannot be that one again
                    self.plane.delete(device.id)
            with permitted([self.plane.tag, *self.tags(work)]):
                key = self.plane.mint(f"vessel {work.vessel_id}", self.tags(work))
            go_on()
            told = run(host, berth, [hostname(work), self.plane.login_server], key)
            mine = self.find(node_in(told))
            is_new = True
        go_on()
        self.mark(work, mine, is_new=is_new)
        if self.plane.can_move:
            mine = self.settle(db, work, mine)
        else:
            state.keep(host, names, work, berth)
        if not mine.ipv4:
            raise StartFailed(f"{self.plane.name} gave it no IPv4 address.")
        lost = work.kept_ipv4 if work.kept_ipv4 != mine.ipv4 else ""
        return Address(
            mine.ipv4, mine.ipv6, mine.name, mine.id, lost, takes=not self.plane.can_move
        )

    def christen(self, host: Host, names: Names, number: int, work: Work, address: Address) -> None:
        if self.joined:  # it may have waited under a name of its own
            found = ask(host, names.berth(number), ["sh", "-c", CHRISTEN, "sh", hostname(work)])
            if node_in(found) != address.device:  # its tailscaled died while it waited
                raise EngineFailed("Its network container is not the node that it waited as.")

    def tags(self, work: Work) -> list[str]:
        """What a vessel's node bears beside the tag of all."""
        return [owner_tag(self.plane.tag, work.login, work.uid)] if self.apart else []

    def is_marked(self, work: Work, device: Device) -> bool:
        """Whether a vessel's device has its owner's tag and no other owner's."""
        owners = {tag for tag in device.tags if tag.startswith(f"{self.plane.tag}-")}
        return owners == {*self.tags(work)}

    def mark(self, work: Work, device: Device, *, is_new: bool = False) -> None:
        """See to it. Raises TailnetRefused."""
        if self.is_marked(work, device):
            return
        try:
            with permitted([self.plane.tag, *self.tags(work)]):
                self.plane.mark(device.id, self.tags(work))
        except TailnetRefused:
            if is_new:  # where devices stay for their address, this one has none to stay for
                self.plane.delete(device.id)
            raise

    def come_back(
        self, host: Host, names: Names, berth: str, work: Work, devices: list[Device]
    ) -> Device | None:
        """As the node that the owner's vessel of that name was before on this host, if it can."""
        if not state.restore(host, names, work, berth):
            return None
        deadline = time.monotonic() + state.BACK
        while time.monotonic() < deadline:
            work.go_on()
            node = node_of(host, berth)
            if node is not None:
                return next((device for device in devices if device.id == node), None)
            time.sleep(0.1)
        return None  # the control plane has forgotten it

    def settle(self, db: Database, work: Work, mine: Device) -> Device:
        """At the address that it had before; else at one that is kept for no other vessel."""
        if work.kept_ipv4 and work.kept_ipv4 != mine.ipv4:
            try:
                return self.claim(work, mine)
            except (AddressTaken, TailnetRefused) as taken:
                log.warning("%s of %s: %s", work.name, work.login, taken)
        for _ in range(TRIES):
            if mine.ipv4 and not fleet.is_kept_for_another(db, mine.ipv4, work.vessel_id):
                return mine
            with contextlib.suppress(AddressTaken):
                mine = self.move(mine, any_address())
        raise EngineFailed("No address of the tailnet is free for it.")

    def claim(self, work: Work, mine: Device) -> Device:
        """The address that it had, also from a device of its own that was not deleted yet.

        Raises AddressTaken, TailnetRefused.
        """
        try:
            return self.move(mine, work.kept_ipv4)
        except AddressTaken:
            holder = next((d for d in self.plane.devices() if d.ipv4 == work.kept_ipv4), None)
            if holder is None or holder.hostname != hostname(work):
                raise
            self.plane.delete(holder.id)
            return self.move(mine, work.kept_ipv4)

    def move(self, device: Device, ipv4: str) -> Device:
        """Raises AddressTaken, TailnetRefused."""
        self.plane.move(device.id, ipv4)
        return replace(device, ipv4=ipv4)

    def find(self, id: str) -> Device:
        for device in self.plane.devices():
            if device.id == id:
                return device
        raise TailnetUnreachable(
            f"{self.plane.name} does not list the node that has just joined, or not with our tag."
        )

    def leave(self, host: Host, names: Names, work: Work) -> None:
        """What cannot be deleted now is found without its vessel later (conductor.reach.tidy)."""
        if not self.plane.can_move:
            return  # its node keeps its address as long as it is listed: conductor.reach.tidy
        known = {work.device} if work.device else set[str]()
        try:
            if work.berth is not None:
                known.add(node_of(host, names.berth(work.berth)) or "")
            for device in filter(None, known):
                self.plane.delete(device)
        except (EngineFailed, HostUnreachable, TailnetUnreachable, TailnetRefused) as failed:
            log.warning("the device of %s of %s: %s", work.name, work.login, failed)


@contextmanager
def permitted(tags: Sequence[str]) -> Generator[None]:
    """Says what to do where the policy does not know an owner yet."""
    try:
        yield
    except TailnetRefused as refused:
        if NOT_PERMITTED not in refused.message:
            raise
        log.warning("%s", refused.message)
        raise TailnetRefused(
            f"The tailnet's policy does not let drc give a vessel {' and '.join(tags)}; "
            "whoever runs drc here brings it up to date: drc tailnet policy --apply",
            hint="drc tailnet policy --apply",
        ) from refused


def inspect(host: Host, container: str) -> dict[str, Any]:
    with translated(host.name):
        try:
            return host.docker().inspect_container(container)
        except docker.errors.NotFound as failed:
            raise EngineFailed(f"The network container on {host.name} is gone.") from failed


def any_address() -> str:
    """One of those that Tailscale gives to nodes."""
    while True:
        address = ipaddress.ip_address(int(FIRST) + secrets.randbelow(2**22))
        if not any(address in network for network in RESERVED):
            return str(address)


def hostname(work: Work) -> str:
    return hostname_of(work.name, work.login)


def hostname_of(name: str, login: str) -> str:
    """`bert-ada`: what people see in the tailnet, and by which its DNS may know the vessel."""
    plain = re.sub(r"[^a-z0-9-]+", "-", f"{name}-{login}".lower()).strip("-")
    if len(plain) <= LABEL:
        return plain
    return f"{plain[: LABEL - 9]}-{hashlib.sha256(plain.encode()).hexdigest()[:8]}"


def node_of(host: Host, berth: str) -> str | None:
    """The id of the node that a network container believes to be; None: it has not joined."""
    try:
        told = ask(host, berth, ["tailscale", "status", "--json", "--peers=false"])
    except StartFailed:
        return None
    return node_in(told) if told.get("BackendState") == "Running" else None


def node_in(told: dict[str, Any]) -> str:
    """Of what `tailscale status` says of itself. Raises EngineFailed."""
    try:
        return str(told["Self"]["ID"])
    except (KeyError, TypeError):
        raise EngineFailed("Its tailscaled does not say which node it is.") from None


def run(host: Host, berth: str, words: list[str], key: str) -> dict[str, Any]:
    """`join` in a network container. Raises StartFailed where the tailnet declines the node."""
    try:
        return ask(host, berth, ["/usr/lib/drc/join", *filter(None, words)], key + "\n")
    except StartFailed as failed:
        if any(words in failed.message for words in HOPELESS):
            raise
        raise EngineFailed(failed.message) from failed


def ask(host: Host, berth: str, command: list[str], stdin: str = "") -> dict[str, Any]:
    """What a program in a network container answers, as JSON. Raises as `tell`."""
    out = tell(host, berth, command, stdin)
    try:
        return json.loads(out)
    except ValueError:
        raise EngineFailed("Its tailscale answered with something that is no JSON.") from None


def tell(host: Host, berth: str, command: list[str], stdin: str = "") -> str:
    """What a program in a network container says. Raises StartFailed where it fails, EngineFailed
    where it does not end in time.
    """
    status, out, err = execute(host, berth, command, stdin, JOIN_TIMEOUT)
    if status in (126, 127):
        raise StartFailed(f"{NO_PROGRAM} on {host.name}: docs/tailscale.md says how it gets there.")
    if status == -1:
        raise EngineFailed(f"It did not join the tailnet within {JOIN_TIMEOUT:.0f} s.")
    if status != 0:
        raise StartFailed(f"It could not join the tailnet: {clean(err)[-500:]}")
    return out
