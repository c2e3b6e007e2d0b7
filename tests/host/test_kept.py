"""Addresses that stay though no control plane can be asked for one: the node itself is kept."""

from collections.abc import Iterator

import pytest

from conductor import watch
from conductor.reach.tailnet import Tailnet as Reach
from conductor.reach.tailscale import KEY_LIFE, Tailscale
from conductor.reach.tidy import tidy
from drc.errors import TailnetRefused
from drc.up.postgres import Postgres
from tests.host.conftest import with_tailscale
from tests.host.machine import Machine, run, until
from tests.host.world import World, world_on
from tests.tailnet.lan import Lan
from tests.tailnet.tailnet import Node, Tailnet


class Fixed(Tailscale):
    """A control plane that gives addresses as it likes, as Headscale does, and real nodes."""

    can_move = False

    def mint(self, what: str) -> str:
        create = {"reusable": False, "ephemeral": False, "preauthorized": True, "tags": [self.tag]}
        wish = {"capabilities": {"devices": {"create": create}}, "expirySeconds": KEY_LIFE}
        return str(self.web.ask("POST", "/tailnet/-/keys", "key", wish))

    def move(self, device: str, ipv4: str) -> None:
        raise TailnetRefused("It has no such call.")


@pytest.fixture
def kept(
    machine: Machine,
    postgres: Postgres,
    tailnet: tuple[Tailnet, Lan],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    server = tailnet[0]
    plane = Fixed(Tailnet.tag, token=server.token, url=server.url, login_server=server.url)
    monkeypatch.setattr(watch, "PAUSE", 0.5)
    with (
        world_on(machine, postgres, "kept", tmp_path_factory.mktemp("kept"), 28000) as kept,
        kept.conducting(reach=Reach(plane), net_image=with_tailscale(machine)) as _,
    ):
        kept.sql("ALTER SEQUENCE owner_uid RESTART 65000")
        kept.add_host(kept.person("kit"))
        until("the host is open", lambda: kept.person("kit").call("GET", "/v1/hosts/gpu1")["open"])
        yield kept
        kept.stop_everything()
        until("all work is done", lambda: not kept.sql("SELECT id FROM outbox"))
    for device in server.devices():
        if Tailnet.tag in device.get("tags", []):
            server.call("DELETE", f"/device/{device['nodeId']}")
    plane.web.http.close()


def test_a_name_has_its_address_again_as_the_same_node(
    kept: World, laptop: Node, tailnet: tuple[Tailnet, Lan]
) -> None:
    kit = kept.person("kit")
    first = kit.create("bert").shown["ssh"]["address"]
    node = tailnet[0].device("bert-kit")["nodeId"]
    kit.stop("bert")
    until("all work is done", lambda: not kept.sql("SELECT id FROM outbox"))
    other = kit.create("other")
    assert other.shown["ssh"]["address"] != first
    again = kit.create("bert")
    assert again.shown["ssh"]["address"] == first
    assert tailnet[0].device("bert-kit")["nodeId"] == node
    assert run(*laptop.inside(*kit.ssh(again.shown, "printenv", "DRC_VESSEL"))) == "bert\n"
    status, said = again.exec("find", "/", "-xdev", "-name", "tailscaled.state")
    assert (status, said) == (0, "")  # the vessel has no part in it


def test_one_that_the_control_plane_forgot_is_a_new_node_and_says_so(
    kept: World, laptop: Node, tailnet: tuple[Tailnet, Lan]
) -> None:
    kit = kept.person("kit")
    kit.create("bert")
    kit.stop("bert")
    until("all work is done", lambda: not kept.sql("SELECT id FROM outbox"))
    device = tailnet[0].device("bert-kit")
    tailnet[0].call("DELETE", f"/device/{device['nodeId']}")
    with Node(*tailnet, kept.folder, "squatter") as squatter:  # takes the address that was free
        squatter.up(tailnet[0].mint())
        again = kit.create("bert")
        assert run(*laptop.inside(*kit.ssh(again.shown, "printenv", "DRC_VESSEL"))) == "bert\n"
        squatter.logout()


def test_the_device_of_a_name_that_nobody_uses_goes_in_the_end(
    kept: World, tailnet: tuple[Tailnet, Lan]
) -> None:
    kit = kept.person("kit")
    kit.create("bert")
    kit.stop("bert")
    until("all work is done", lambda: not kept.sql("SELECT id FROM outbox"))
    assert kept.conductor
    assert isinstance(kept.conductor.reach, Reach)
    assert tidy(kept.conductor, kept.conductor.reach, grace=0) == {}
    assert tailnet[0].device("bert-kit")
    kept.sql("UPDATE vessel SET state_since = now() - interval '31 days'")
    assert tidy(kept.conductor, kept.conductor.reach, grace=0) == {"device": 1}
