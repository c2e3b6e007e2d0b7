"""A tailnet: each vessel's network container is a node of it, with an address that stays."""

import contextlib
import hashlib
import ipaddress
import json
import logging
import re
import secrets
from dataclasses import replace
from typing import Any

import docker.errors

from conductor.execute import execute
from conductor.host import Host, translated
from conductor.reach import Address
from conductor.reach.plane import AddressTaken, Device, Plane
from conductor.said import clean
from conductor.wanted import SSH_PORT, Names
from conductor.work import Work
from drc import fleet
from drc.db import Database
from drc.errors import EngineFailed, HostUnreachable, StartFailed, TailnetUnreachable

JOIN_TIMEOUT = 40.0  # seconds for the node to come up; it takes about half a second
LABEL = 63  # letters of a DNS label
TRIES = 10  # addresses that may be somebody's before we give up
FIRST = ipaddress.ip_address("100.64.0.0")
RESERVED = [ipaddress.ip_network(one) for one in ("100.100.0.0/24", "100.100.100.0/24",
            "100.115.92.0/23", "100.64.0.0/24")]  # fmt: skip
"""Of 100.64.0.0/10: Tailscale's own (kb/1304), and the first, which planes give by themselves."""
WRONG_KEY = "invalid key"  # in what tailscaled says where the control plane declines

log = logging.getLogger("conductor.tailnet")


class Tailnet:
    publishes = False

    def __init__(self, plane: Plane) -> None:
        self.plane = plane

    def door(self, host: Host, names: Names, number: int) -> tuple[str, int]:
        """On the bridge of its host, which nobody else reaches."""
        berth = names.berth(number)
        with translated(host.name):
            try:
                networks = host.docker().inspect_container(berth)["NetworkSettings"]["Networks"]
            except docker.errors.NotFound as failed:
                raise EngineFailed(f"The network container on {host.name} is gone.") from failed
        return str(networks[names.network]["IPAddress"]), SSH_PORT

    def join(self, host: Host, db: Database, names: Names, number: int, work: Work) -> Address:
        berth = names.berth(number)
        mine = self.device_of(host, berth)
        if mine is None:
            key = self.plane.mint(f"vessel {work.vessel_id}")
            told = run(host, berth, [hostname(work), self.plane.login_server], key)
            mine = self.find(str(told["Self"]["ID"]))
        if self.plane.can_move:
            mine = self.settle(db, work, mine)
        lost = work.kept_ipv4 if work.kept_ipv4 != mine.ipv4 else ""
        return Address(
            mine.ipv4, mine.ipv6, mine.name, mine.id, lost, takes=not self.plane.can_move
        )

    def settle(self, db: Database, work: Work, mine: Device) -> Device:
        """At the address that it had before; else at one that is kept for no other vessel."""
        if work.kept_ipv4 and work.kept_ipv4 != mine.ipv4:
            try:
                return self.move(mine, work.kept_ipv4)
            except AddressTaken as taken:
                log.warning("%s of %s: %s", work.name, work.login, taken)
        for _ in range(TRIES):
            if not fleet.is_kept_for_another(db, mine.ipv4, work.vessel_id):
                return mine
            with contextlib.suppress(AddressTaken):
                mine = self.move(mine, any_address())
        raise EngineFailed("No address of the tailnet is free for it.")

    def move(self, device: Device, ipv4: str) -> Device:
        """Raises AddressTaken."""
        self.plane.move(device.id, ipv4)
        return replace(device, ipv4=ipv4)

    def find(self, id: str) -> Device:
        for device in self.plane.devices():
            if device.id == id:
                return device
        raise TailnetUnreachable(
            f"{self.plane.name} does not list the node that has just joined, or not with our tag."
        )

    def device_of(self, host: Host, berth: str) -> Device | None:
        """The device that a network container is already: its start was cut off after it joined."""
        id = node_of(host, berth)
        if id is None:
            return None
        return next((device for device in self.plane.devices() if device.id == id), None)

    def leave(self, host: Host, names: Names, work: Work) -> None:
        known = {work.device} if work.device else set[str]()
        if work.berth is not None:
            try:
                known.add(node_of(host, names.berth(work.berth)) or "")
            except (EngineFailed, HostUnreachable) as failed:
                log.warning("%s: %s", work.name, failed)  # what is in the books must do
        for device in filter(None, known):
            self.plane.delete(device)


def any_address() -> str:
    """One of those that Tailscale gives to nodes."""
    while True:
        address = ipaddress.ip_address(int(FIRST) + secrets.randbelow(2**22))
        if not any(address in network for network in RESERVED):
            return str(address)


def hostname(work: Work) -> str:
    """`bert-ada`: what people see in the tailnet, and by which its DNS may know the vessel."""
    plain = re.sub(r"[^a-z0-9-]+", "-", f"{work.name}-{work.login}".lower()).strip("-")
    if len(plain) <= LABEL:
        return plain
    return f"{plain[: LABEL - 9]}-{hashlib.sha256(plain.encode()).hexdigest()[:8]}"


def node_of(host: Host, berth: str) -> str | None:
    """The id of the node that a network container believes to be; None: it has not joined."""
    command = ["tailscale", "status", "--json", "--peers=false"]
    try:
        told = ask(host, berth, command)
    except StartFailed:
        return None
    node: dict[str, Any] = told.get("Self") or {}
    return str(node["ID"]) if told.get("BackendState") == "Running" and node.get("ID") else None


def run(host: Host, berth: str, words: list[str], key: str) -> dict[str, Any]:
    """`join` in a network container. Raises StartFailed where the tailnet declines the node."""
    try:
        return ask(host, berth, ["/usr/lib/drc/join", *filter(None, words)], key + "\n")
    except StartFailed as failed:
        if WRONG_KEY in failed.message:
            raise
        raise EngineFailed(failed.message) from failed


def ask(host: Host, berth: str, command: list[str], stdin: str = "") -> dict[str, Any]:
    """What a program in a network container answers, as JSON. Raises StartFailed where it fails."""
    status, out, err = execute(host, berth, command, stdin, JOIN_TIMEOUT)
    if status != 0:
        raise StartFailed(f"It could not join the tailnet: {clean(err)[-500:]}")
    return json.loads(out)
