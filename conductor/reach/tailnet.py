"""A tailnet: each vessel's network container is a node of it, with an address that stays."""

import hashlib
import json
import logging
import re
from typing import Any

import docker.errors

from conductor.execute import execute
from conductor.host import Host, translated
from conductor.reach import Address
from conductor.reach.plane import AddressTaken, Device, Plane
from conductor.said import clean
from conductor.wanted import SSH_PORT, Names
from conductor.work import Work
from drc.errors import EngineFailed, HostUnreachable, StartFailed, TailnetUnreachable

JOIN_TIMEOUT = 40.0  # seconds for the node to come up; it takes about half a second
LABEL = 63  # letters of a DNS label
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

    def join(self, host: Host, names: Names, number: int, work: Work) -> Address:
        berth = names.berth(number)
        mine = self.device_of(host, berth)
        if mine is None:
            key = self.plane.mint(f"vessel {work.vessel_id}")
            told = run(host, berth, [hostname(work), self.plane.login_server], key)
            mine = self.find(str(told["Self"]["ID"]))
        instead_of = ""
        if work.kept_ipv4 and work.kept_ipv4 != mine.ipv4 and self.plane.can_move:
            try:
                self.plane.move(mine.id, work.kept_ipv4)
            except AddressTaken as taken:
                log.warning("%s of %s: %s", work.name, work.login, taken)
                instead_of = work.kept_ipv4
            else:
                mine = self.find(mine.id)
        elif work.kept_ipv4 and work.kept_ipv4 != mine.ipv4:
            instead_of = work.kept_ipv4
        return Address(mine.ipv4, mine.ipv6, mine.name, mine.id, instead_of)

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
