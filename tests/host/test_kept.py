"""Nodes that are there before their vessels: kept, where only that keeps an address, or waiting."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from conductor.reach.tailnet import Tailnet as Reach
from conductor.reach.tailscale import KEY_LIFE, Tailscale
from conductor.reach.tidy import tidy
from drc.errors import TailnetRefused
from drc.up.postgres import Postgres
from tests.host.conftest import plane_at, world_in_tailnet
from tests.host.machine import Machine, run, until
from tests.host.world import World
from tests.tailnet.lan import Lan
from tests.tailnet.tailnet import Node, Tailnet


class Fixed(Tailscale):
    """A control plane that gives addresses as it likes, as Headscale does, and real nodes."""

    can_move = False

    def mint(self, what: str, also: Sequence[str] = ()) -> str:
        create = {"reusable": False, "ephemeral": False, "preauthorized": True, "tags": [self.tag]}
        wish = {"capabilities": {"devices": {"create": create}}, "expirySeconds": KEY_LIFE}
        return str(self.web.ask("POST", "/tailnet/-/keys", "key", wish))

    def move(self, device: str, ipv4: str) -> None:
        raise TailnetRefused("It has no such call.")


@pytest.fixture
def kept(
    machine: Machine, postgres: Postgres, tailnet: tuple[Tailnet, Lan], tmp_path: Path
) -> Iterator[World]:
    server = tailnet[0]
    plane = Fixed(Tailnet.tag, token=server.token, url=server.url, login_server=server.url)
    with world_in_tailnet(
        machine, postgres, tmp_path, Reach(plane), name="kept", number=1
    ) as kept:  # fmt: skip
        yield kept
    for device in server.devices():
        if Tailnet.tag in device.get("tags", []):
            server.call("DELETE", f"/device/{device['nodeId']}")
    plane.web.http.close()


@pytest.fixture
def waiting(
    machine: Machine, postgres: Postgres, tailnet: tuple[Tailnet, Lan], tmp_path: Path
) -> Iterator[World]:
    """Whose network containers wait as nodes."""
    plane = plane_at(tailnet[0])
    with world_in_tailnet(
        machine, postgres, tmp_path, Reach(plane, joined=True), name="waiting", number=2
    ) as waiting:  # fmt: skip
        yield waiting
    for device in tailnet[0].devices():
        if Tailnet.tag in device.get("tags", []):
            tailnet[0].call("DELETE", f"/device/{device['nodeId']}")
    plane.web.http.close()


def ids(tailnet: Tailnet, word: str) -> set[str]:
    """Of the devices with that in their names."""
    return {d["nodeId"] for d in tailnet.devices() if word in d["hostname"]}


def test_a_node_that_waits_becomes_the_vessels_at_the_vessels_address(
    waiting: World, laptop: Node, tailnet: tuple[Tailnet, Lan]
) -> None:
    eve, server = waiting.person("eve"), tailnet[0]
    until("two nodes wait", lambda: waiting.waiting_berths() == 2)
    waited = ids(server, "drc-berth")
    assert len(waited) == 2
    first = eve.create("bert")
    until("it bears the vessel's name", lambda: ids(server, "bert-eve") <= waited)
    assert ids(server, "bert-eve")
    assert run(*laptop.inside(*eve.ssh(first.shown, "printenv", "DRC_VESSEL"))) == "bert\n"
    eve.stop("bert")
    until("its device is gone", lambda: not ids(server, "bert-eve"))
    until("two nodes wait", lambda: waiting.waiting_berths() == 2)
    again = eve.create("bert")
    assert again.shown["ssh"]["address"] == first.shown["ssh"]["address"]
    assert run(*laptop.inside(*eve.ssh(again.shown, "printenv", "DRC_VESSEL"))) == "bert\n"


def test_a_name_has_its_address_again_as_the_same_node(
    kept: World, laptop: Node, tailnet: tuple[Tailnet, Lan]
) -> None:
    kit = kept.person("eve")
    first = kit.create("bert").shown["ssh"]["address"]
    node = tailnet[0].device("bert-eve")["nodeId"]
    kit.stop("bert")
    until("all work is done", lambda: not kept.sql("SELECT id FROM outbox"))
    other = kit.create("other")
    assert other.shown["ssh"]["address"] != first
    again = kit.create("bert")
    assert again.shown["ssh"]["address"] == first
    assert tailnet[0].device("bert-eve")["nodeId"] == node
    assert run(*laptop.inside(*kit.ssh(again.shown, "printenv", "DRC_VESSEL"))) == "bert\n"
    status, said = again.exec("find", "/", "-xdev", "-name", "tailscaled.state")
    assert (status, said) == (0, "")  # the vessel has no part in it


def test_one_that_the_control_plane_forgot_is_a_new_node_and_says_so(
    kept: World, laptop: Node, tailnet: tuple[Tailnet, Lan]
) -> None:
    kit = kept.person("eve")
    kit.create("bert")
    kit.stop("bert")
    until("all work is done", lambda: not kept.sql("SELECT id FROM outbox"))
    device = tailnet[0].device("bert-eve")
    tailnet[0].call("DELETE", f"/device/{device['nodeId']}")
    with Node(*tailnet, kept.folder, "squatter") as squatter:  # takes the address that was free
        squatter.up(tailnet[0].mint())
        again = kit.create("bert")
        assert run(*laptop.inside(*kit.ssh(again.shown, "printenv", "DRC_VESSEL"))) == "bert\n"
        tailnet[0].dismiss("squatter")


def test_the_device_of_a_name_that_nobody_uses_goes_in_the_end(
    kept: World, tailnet: tuple[Tailnet, Lan]
) -> None:
    kit = kept.person("eve")
    kit.create("bert")
    kit.stop("bert")
    until("all work is done", lambda: not kept.sql("SELECT id FROM outbox"))
    assert kept.conductor
    assert isinstance(kept.conductor.reach, Reach)
    assert tidy(kept.conductor, kept.conductor.reach, grace=0) == {}
    assert tailnet[0].device("bert-eve")
    kept.sql("UPDATE vessel SET state_since = now() - interval '31 days'")
    assert tidy(kept.conductor, kept.conductor.reach, grace=0) == {"device": 1}
