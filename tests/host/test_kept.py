"""Nodes that are there before their vessels: kept, where only that keeps an address, or waiting."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from conductor import wanted
from conductor.reach import state
from conductor.reach.tailnet import Tailnet as Reach
from conductor.reach.tailscale import KEY_LIFE, Tailscale
from conductor.reach.tidy import tidy
from conductor.work import work_of
from drc.errors import EngineFailed, TailnetRefused
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
    assert {tag for d in server.devices() for tag in d.get("tags", [])} == {Tailnet.tag}
    first = eve.create("bert")
    until("it bears the vessel's name", lambda: ids(server, "bert-eve") <= waited)
    assert ids(server, "bert-eve")
    assert sorted(server.device("bert-eve")["tags"]) == [Tailnet.tag, "tag:vessel-eve"]
    assert run(*laptop.inside(*eve.ssh(first.shown, "printenv", "DRC_VESSEL"))) == "bert\n"
    eve.stop("bert")
    until("its device is gone", lambda: not ids(server, "bert-eve"))
    until("two nodes wait", lambda: waiting.waiting_berths() == 2)
    again = eve.create("bert")
    assert again.shown["ssh"]["address"] == first.shown["ssh"]["address"]
    assert run(*laptop.inside(*eve.ssh(again.shown, "printenv", "DRC_VESSEL"))) == "bert\n"


def test_a_node_that_died_while_it_waited_is_not_taken_for_the_vessels(
    waiting: World, laptop: Node, tailnet: tuple[Tailnet, Lan]
) -> None:
    """The books know which node a network container waits as, and may be wrong."""
    eve, server = waiting.person("eve"), tailnet[0]
    until("two nodes wait", lambda: waiting.waiting_berths() == 2)
    waited = ids(server, "drc-berth")
    engine = waiting.machine.client
    for berth in engine.containers(filters={"label": wanted.BERTH}):
        for command in (["rm", "-rf", state.FOLDER], state.RESTART):
            engine.exec_start(engine.exec_create(berth["Id"], command)["Id"])
    bert = eve.create("bert")
    assert run(*laptop.inside(*eve.ssh(bert.shown, "printenv", "DRC_VESSEL"))) == "bert\n"
    assert bert.shown["ssh"]["address"] == server.device("bert-eve")["addresses"][0]
    until("it is the only one of that name", lambda: len(ids(server, "bert-eve")) == 1)
    assert not ids(server, "bert-eve") & waited


def test_a_node_that_waited_goes_where_the_policy_does_not_know_its_owner(
    waiting: World, tailnet: tuple[Tailnet, Lan]
) -> None:
    ida, server = waiting.person("ida"), tailnet[0]
    until("two nodes wait", lambda: waiting.waiting_berths() == 2)
    waited, keys = ids(server, "drc-berth"), server.keys()
    ida.ask("bert")
    assert "tag:vessel-ida" in ida.reach_end("bert")["reason"]
    until("two others wait", lambda: waiting.waiting_berths() == 2)
    until("its device is gone", lambda: len(ids(server, "") & waited) == 1)
    until("two nodes are left", lambda: len(ids(server, "drc-berth")) == 2)
    assert server.keys() == keys


def test_a_name_has_its_address_again_as_the_same_node(
    kept: World, laptop: Node, tailnet: tuple[Tailnet, Lan]
) -> None:
    kit = kept.person("eve")
    first = kit.create("bert").shown["ssh"]["address"]
    node = tailnet[0].device("bert-eve")["nodeId"]
    assert sorted(tailnet[0].device("bert-eve")["tags"]) == [Tailnet.tag, "tag:vessel-eve"]
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


def test_one_whose_owner_the_policy_does_not_know_is_in_no_list_though_others_stay(
    kept: World, tailnet: tuple[Tailnet, Lan]
) -> None:
    kit = kept.person("ida")
    kit.ask("bert")
    assert "tag:vessel-ida" in kit.reach_end("bert")["reason"]
    until("all work is done", lambda: not kept.sql("SELECT id FROM outbox"))
    assert not ids(tailnet[0], "bert-ida")


def test_a_node_whose_state_is_not_there_is_said_so(kept: World) -> None:
    bert = kept.person("eve").create("bert")
    berth = str(bert.berth()["Id"])
    assert bert.exec("rm", f"{state.FOLDER}/{state.FILE}", container=berth)[0] == 0
    assert kept.conductor
    (row,) = kept.sql("SELECT id AS vessel_id, host_id, attempt, name FROM vessel WHERE living")
    work = work_of({"id": 0, "verb": "join", "generation": 0, "tries": 0, **row}, "")
    host = kept.conductor.host(work.host_id)
    with pytest.raises(EngineFailed, match="Its node on gpu1 has no state to keep"):
        state.keep(host, kept.conductor.names, work, berth)


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
