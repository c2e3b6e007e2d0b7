"""Vessels with addresses of their own: real nodes of a tailnet, in their network containers."""

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conductor import berths
from conductor.host import Host
from conductor.reach.local import Local
from conductor.reach.tailnet import Tailnet as Reach
from conductor.reach.tidy import tidy
from drc.cli.policy import apart, fill, people_of
from drc.cli.tailnet import SHIPPED
from drc.config import NET_IMAGE
from drc.errors import EngineFailed, WrongState
from tests.host.machine import Machine, run, until
from tests.host.world import Person, Vessel, World
from tests.tailnet.lan import Lan
from tests.tailnet.tailnet import ALLOW_ALL, Node, Tailnet


def over(laptop: Node, vessel: Vessel, *command: str) -> str:
    """Plain OpenSSH on the laptop, with the configuration and known_hosts that drc writes."""
    return run(*laptop.inside(*vessel.owner.ssh(vessel.shown, *command)))


def vessels(tailnet: Tailnet) -> list[str]:
    return sorted(d["hostname"] for d in tailnet.devices() if "tag:vessel" in d.get("tags", []))


def test_a_vessel_is_entered_at_its_own_address_and_only_there(
    eve: Person, laptop: Node, tailnet: tuple[Tailnet, Lan]
) -> None:
    bert = eve.create("bert")
    ssh = bert.shown["ssh"]
    assert ssh["port"] == 22
    assert ssh["address"] == tailnet[0].device("bert-eve")["addresses"][0]
    assert over(laptop, bert, "printenv", "DRC_VESSEL") == "bert\n"
    assert bert.berth()["HostConfig"]["PortBindings"] in ({}, None)
    assert "tailscale" not in over(laptop, bert, "ls", "/var/run", "/var/lib", "/usr/local/bin")
    told = [event["kind"] for event in eve.client.events(after="0-0", follow=False, vessel="bert")]
    assert "joined" in told


def test_the_same_name_has_the_same_address_again_and_nothing_is_left_between(
    eve: Person, laptop: Node, tailnet: tuple[Tailnet, Lan], net: World
) -> None:
    eve.create("other")
    first = eve.create("bert").shown["ssh"]["address"]
    eve.stop("bert")
    until("its device is gone", lambda: vessels(tailnet[0]) == ["other-eve"])
    eve.create("third")  # takes what was free, if it could
    again = eve.create("bert")
    assert again.shown["ssh"]["address"] == first
    assert over(laptop, again, "true") == ""
    for name in ("bert", "other", "third"):
        eve.stop(name)
    until("no device is left", lambda: vessels(tailnet[0]) == [])


def test_an_address_that_somebody_else_has_now_is_said_and_another_is_given(
    eve: Person, laptop: Node, tailnet: tuple[Tailnet, Lan]
) -> None:
    first = eve.create("claimed").shown["ssh"]["address"]
    eve.stop("claimed")
    until("its device is gone", lambda: vessels(tailnet[0]) == [])
    device = tailnet[0].device("laptop")
    tailnet[0].call("POST", f"/device/{device['nodeId']}/ip", {"ipv4": first})
    again = eve.create("claimed")
    assert again.shown["ssh"]["address"] != first
    told = eve.client.events(after="0-0", follow=False, vessel="claimed")
    (joined,) = [event for event in told if event.get("instead_of")]
    assert joined["instead_of"] == first
    until("the laptop has it", lambda: laptop.ip() == first)
    assert over(laptop, again, "true") == ""


def test_ssh_to_the_bare_address_is_certified_once_it_was_kept(
    eve: Person, laptop: Node, tmp_path: Path
) -> None:
    """Whoever believes the authority, and has no configuration of drc's."""
    first = eve.create("bert").shown["ssh"]
    eve.stop("bert")
    ssh = eve.create("bert").shown["ssh"]
    assert ssh["address"] == first["address"]
    (authority,) = ssh["host_authorities"]
    known = tmp_path / "known_hosts"
    bare = ["ssh", "-F", "none", "-i", str(eve.key), "-o", f"UserKnownHostsFile={known}",
            "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes",
            "-l", ssh["user"]]  # fmt: skip
    known.write_text(f"@cert-authority 100.* {authority}\n")
    assert run(*laptop.inside(*bare, ssh["address"], "whoami")) == "eve\n"
    renamed = (*bare, "-o", "HostKeyAlias=100.99.99.99", ssh["address"], "true")
    refused = subprocess.run(laptop.inside(*renamed), capture_output=True, text=True)
    assert refused.returncode == 255
    assert "Host key verification failed" in refused.stderr


def test_what_people_do_with_ssh_works_over_it(eve: Person, laptop: Node, tmp_path: Path) -> None:
    """A file is copied, a port forwarded, and a master connection kept."""
    bert = eve.create("bert")
    (tmp_path / "notes").write_text("seaworthy")
    command = eve.ssh(bert.shown)[1:-1]
    run(*laptop.inside("scp", *command, tmp_path / "notes", "bert:notes"))
    assert over(laptop, bert, "cat", "notes") == "seaworthy"
    control = ["-o", f"ControlPath={tmp_path}/master"]
    run(*laptop.inside("ssh", *command, *control, "-M", "-f", "-N", "-L", "9400:127.0.0.1:8888",
                       "bert"))  # fmt: skip
    try:
        said = laptop.exec("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}",
                           "http://127.0.0.1:9400/api/status")  # fmt: skip
        assert said == "403"
        assert run(*laptop.inside("ssh", *control, *command, "bert", "whoami")) == "eve\n"
    finally:
        run(*laptop.inside("ssh", *control, *command, "-O", "exit", "bert"))


def test_a_folder_is_copied_both_ways_by_rsync(
    eve: Person, laptop: Node, tmp_path: Path
) -> None:  # fmt: skip
    bert = eve.create("bert")
    folder = tmp_path / "there"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "notes").write_text("seaworthy")
    (folder / "link").symlink_to("deep/notes")
    command = shlex.join(eve.ssh(bert.shown)[:-1])
    rsync = ("rsync", "-a", "-e", command)
    run(*laptop.inside(*rsync, f"{folder}/", "bert:data/"))
    assert over(laptop, bert, "cat", "data/link") == "seaworthy"
    over(laptop, bert, "sh", "-c", "'echo 2 >data/deep/more; rm data/link'")
    run(*laptop.inside(*rsync, "--delete", "bert:data/", f"{folder}/"))
    assert (folder / "deep" / "more").read_text() == "2\n"
    assert not (folder / "link").is_symlink()


def test_an_agent_that_is_forwarded_shows_its_keys_in_the_vessel(
    eve: Person, laptop: Node, tmp_path: Path
) -> None:
    bert, agent = eve.create("bert"), tmp_path / "agent"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "travels", "-f", tmp_path / "key")
    ssh, *rest = eve.ssh(bert.shown, "ssh-add", "-l")
    with subprocess.Popen(["ssh-agent", "-D", "-a", agent], stdout=subprocess.DEVNULL) as process:
        try:
            until("the agent listens", agent.exists)
            at = ("env", f"SSH_AUTH_SOCK={agent}")
            run(*at, "ssh-add", "-q", tmp_path / "key")
            assert "travels (ED25519)" in run(*laptop.inside(*at, ssh, "-A", *rest))
            without = laptop.inside(*at, ssh, "-a", *rest)
            assert subprocess.run(without, capture_output=True).returncode != 0
        finally:
            process.kill()


def test_jupyter_is_at_its_address_for_whoever_has_the_token_and_nowhere_else(
    eve: Person, laptop: Node, net: World
) -> None:
    bert = eve.create("bert")
    told = eve.call("GET", "/v1/vessels/bert/jupyter")
    page = f"http://{told['address']}:{told['port']}/api/status"
    assert told["address"] == bert.shown["ssh"]["address"]
    for header, status in ((f"Authorization: token {told['token']}", "200"), ("X: y", "403")):
        said = laptop.exec("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", header,
                           page)  # fmt: skip
        assert said == status
    bridge = f"import socket; socket.create_connection(('{bert.address()}', 8888), 2)"
    on_its_host = net.machine.inside("/usr/bin/python3", "-c", bridge)
    assert subprocess.run(on_its_host, capture_output=True).returncode != 0


def test_a_vessel_reaches_nobody_in_the_tailnet(
    eve: Person, laptop: Node, net: World, tailnet: tuple[Tailnet, Lan]
) -> None:
    bert, other = eve.create("bert"), eve.create("other")
    target = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)"
    ipv6 = laptop.status()["Self"]["TailscaleIPs"][1]
    with laptop.listening(8000), laptop.listening(8001, "::"):
        for address, port in ((laptop.ip(), 8000), (ipv6, 8001),
                              (other.shown["ssh"]["address"], 22),
                              (tailnet[1].address, 8080)):  # fmt: skip
            # shown to be there first: the laptop, or the network container, reaches it
            laptop.exec("/usr/bin/python3", "-c", target, address, str(port))
            status, said = bert.exec("python3", "-c", target, address, str(port))
            assert status != 0, said


def test_a_killed_tailscaled_comes_back_as_the_same_node(
    eve: Person, laptop: Node, tailnet: tuple[Tailnet, Lan]
) -> None:
    bert = eve.create("bert")
    before = tailnet[0].device("bert-eve")["nodeId"]
    berth = bert.inspect()["HostConfig"]["NetworkMode"].removeprefix("container:")
    (pid,) = (
        int(row[1]) for row in bert.engine.top(berth)["Processes"] if "tailscaled" in row[-1]
    )  # fmt: skip
    os.kill(pid, signal.SIGKILL)
    until("it is entered again", lambda: enters(laptop, bert))
    assert tailnet[0].device("bert-eve")["nodeId"] == before


def enters(laptop: Node, vessel: Vessel) -> bool:
    ssh, *rest = vessel.owner.ssh(vessel.shown, "true")
    command = laptop.inside(ssh, "-o", "ConnectTimeout=2", *rest)
    return subprocess.run(command, capture_output=True).returncode == 0


def test_a_control_plane_that_declines_fails_the_vessel_in_words(
    eve: Person, tailnet: tuple[Tailnet, Lan]
) -> None:
    fault = {"method": "POST", "path": "/keys", "status": 403, "times": 50}
    tailnet[0].faults([fault])
    try:
        eve.ask("hopeless")
        ended: dict[str, Any] = eve.reach_end("hopeless")
    finally:
        tailnet[0].faults()
    assert ended["reason"].startswith("Tailscale does not let us in")


def test_a_control_plane_that_is_busy_for_a_moment_delays_it(
    eve: Person, tailnet: tuple[Tailnet, Lan], laptop: Node
) -> None:
    busy = {"status": 429, "retryAfter": 1, "times": 2}
    broken = {"method": "GET", "path": "/devices", "status": 500, "times": 2}
    tailnet[0].faults([{**busy, "method": "POST", "path": "/keys"}, broken])
    assert over(laptop, eve.create("patient"), "true") == ""


def test_a_vessel_whose_device_was_deleted_joins_again_at_its_address(
    eve: Person, tailnet: tuple[Tailnet, Lan], laptop: Node, net: World
) -> None:
    bert = eve.create("bert")
    device = tailnet[0].device("bert-eve")
    tailnet[0].call("DELETE", f"/device/{device['nodeId']}")
    assert net.conductor
    assert isinstance(net.conductor.reach, Reach)
    assert tidy(net.conductor, net.conductor.reach) == {"vessel": 1}
    assert eve.show("bert")["ssh"]["address"] == bert.shown["ssh"]["address"]
    until("it is entered again", lambda: enters(laptop, bert), 90)
    eve.stop("bert")
    until("no device is left", lambda: vessels(tailnet[0]) == [])


def test_a_device_without_a_vessel_goes_once_it_is_not_young(
    eve: Person, tailnet: tuple[Tailnet, Lan], net: World, tmp_path: Path
) -> None:
    """The start of a vessel was killed between joining and saying so, and then it was stopped."""
    eve.create("lost")
    eve.stop("lost")
    until("its device is gone", lambda: vessels(tailnet[0]) == [])
    with Node(*tailnet, tmp_path, "lost-eve") as lost:
        lost.up(tailnet[0].mint(tags=[Tailnet.tag]))
        assert net.conductor
        assert isinstance(net.conductor.reach, Reach)
        assert tidy(net.conductor, net.conductor.reach) == {}
        assert vessels(tailnet[0]) == ["lost-eve"]
        assert tidy(net.conductor, net.conductor.reach, grace=0) == {"device": 1}
        assert vessels(tailnet[0]) == []


def test_a_device_of_somebody_elses_with_the_same_tag_is_left_alone(
    eve: Person, tailnet: tuple[Tailnet, Lan], net: World, tmp_path: Path
) -> None:
    with Node(*tailnet, tmp_path, "theirs") as theirs:
        theirs.up(tailnet[0].mint(tags=[Tailnet.tag]))
        assert net.conductor
        assert isinstance(net.conductor.reach, Reach)
        assert tidy(net.conductor, net.conductor.reach, grace=0) == {}
        assert vessels(tailnet[0]) == ["theirs"]
        tailnet[0].dismiss("theirs")


def test_a_device_at_another_address_than_the_books_say_is_moved_back(
    eve: Person, tailnet: tuple[Tailnet, Lan], net: World
) -> None:
    address = eve.create("bert").shown["ssh"]["address"]
    device = tailnet[0].device("bert-eve")
    tailnet[0].call("POST", f"/device/{device['nodeId']}/ip", {"ipv4": "100.77.7.7"})
    assert net.conductor
    assert isinstance(net.conductor.reach, Reach)
    assert tidy(net.conductor, net.conductor.reach) == {"vessel": 1}
    assert tailnet[0].device("bert-eve")["addresses"][0] == address


def test_a_vessel_that_comes_back_at_once_takes_its_address_from_its_own_old_device(
    eve: Person, tailnet: tuple[Tailnet, Lan], laptop: Node
) -> None:
    first = eve.create("bert").shown["ssh"]["address"]
    tailnet[0].faults([{"method": "DELETE", "path": "/device", "status": 403, "times": 1}])
    try:
        eve.stop("bert")
        again = eve.create("bert")
    finally:
        tailnet[0].faults()
    assert again.shown["ssh"]["address"] == first
    until("it is entered", lambda: enters(laptop, again), 60)
    assert vessels(tailnet[0]) == ["bert-eve"]


def test_a_burial_whose_network_container_is_gone_ends_and_leaves_no_device(
    eve: Person, tailnet: tuple[Tailnet, Lan], net: World
) -> None:
    bert = eve.create("bert")
    berth = bert.inspect()["HostConfig"]["NetworkMode"].removeprefix("container:")
    bert.engine.remove_container(bert.container, force=True)
    bert.engine.remove_container(berth, force=True)
    with contextlib.suppress(WrongState):  # a look may have found its container gone by now
        eve.call("POST", "/v1/vessels/bert/stop")
    eve.reach("bert", "buried", "failed")
    until("all work is done", lambda: not net.sql("SELECT id FROM outbox"))
    until("no device is left", lambda: vessels(tailnet[0]) == [])


def test_a_control_plane_that_is_down_at_a_burial_delays_no_more_than_the_device(
    eve: Person, tailnet: tuple[Tailnet, Lan], net: World
) -> None:
    eve.create("bert")
    tailnet[0].faults([{"method": "DELETE", "status": 403, "times": 1}])
    try:
        assert eve.stop("bert")["state"] == "buried"
        until("all work is done", lambda: not net.sql("SELECT id FROM outbox"))
        assert vessels(tailnet[0]) == ["bert-eve"]
    finally:
        tailnet[0].faults()
    assert net.conductor
    assert isinstance(net.conductor.reach, Reach)
    assert tidy(net.conductor, net.conductor.reach) == {"device": 1}
    assert vessels(tailnet[0]) == []


# Who reaches what, by the policy that drc ships ----------------------------------------------


def test_by_the_policy_people_reach_their_own_vessels_and_vessels_nobody(
    eve: Person, net: World, laptop: Node, tailnet: tuple[Tailnet, Lan], tmp_path: Path
) -> None:
    """Each target is reached first, while the policy lets everybody do everything."""
    hers, his = eve.create("bert"), net.person("bob").create("bert")
    at_hers, at_his = hers.shown["ssh"]["address"], his.shown["ssh"]["address"]
    dial = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"

    def reaches(from_: Node, to: str, port: int) -> bool:
        command = from_.inside("/usr/bin/python3", "-c", dial, to, str(port))
        return subprocess.run(command, capture_output=True).returncode == 0

    with (
        Node(*tailnet, tmp_path, "server") as server,
        Node(*tailnet, tmp_path, "bobs") as bobs,
        Node(*tailnet, tmp_path, "other") as other,  # as a vessel that had got at its own node
        server.listening(22),
        laptop.listening(22),
    ):
        bobs.up(tailnet[0].mint(token=Tailnet.other_token))
        other.up(tailnet[0].mint(tags=[Tailnet.tag, "tag:vessel-bob"]))
        server.up(tailnet[0].mint(tags=["tag:host"], ephemeral=True))
        for from_, to, port in (
            (laptop, at_hers, 8888), (laptop, at_his, 22), (laptop, server.ip(), 22),
            (bobs, at_hers, 22), (bobs, at_hers, 8888), (bobs, at_his, 22), (bobs, at_his, 8888),
            (other, server.ip(), 22), (other, laptop.ip(), 22), (other, at_hers, 22),
            (other, at_his, 22), (server, at_hers, 22),
        ):  # fmt: skip
            until(f"{from_.name} reaches {to}", lambda s=from_, t=to, p=port: reaches(s, t, p))
        tailnet[0].set_policy(policy_of({"eve": Tailnet.user, "bob": Tailnet.other_user}))
        try:
            until("the server is not there any more", lambda: not reaches(laptop, server.ip(), 22))
            until("hers is reached", lambda: enters(laptop, hers))
            assert reaches(laptop, at_hers, 8888)
            until("his is reached", lambda: reaches(bobs, at_his, 22))
            assert reaches(bobs, at_his, 8888)
            assert not reaches(bobs, at_hers, 22)
            assert not reaches(bobs, at_hers, 8888)
            assert not reaches(laptop, at_his, 22)
            assert not reaches(server, at_hers, 22)
            seen = {ip for peer in bobs.status()["Peer"].values() for ip in peer["TailscaleIPs"]}
            assert at_his in seen
            assert not seen & {server.ip(), at_hers}
            for target in (server.ip(), laptop.ip(), at_hers, at_his):
                assert not reaches(other, target, 22)
        finally:
            tailnet[0].set_policy(ALLOW_ALL)
        for hostname in ("server", "bobs", "other"):
            tailnet[0].dismiss(hostname)


def policy_of(people: dict[str, str]) -> str:
    """The policy that drc would write for these owners, by login, and nobody as admin."""
    text = SHIPPED.read_text().replace("admin@example.com", "root@example.com")
    owners = [{"login": login, "uid": 0, "called": mail} for login, mail in people.items()]
    return fill(text, apart(people_of(owners, Tailnet.tag)))


def test_a_vessel_from_before_owners_had_tags_is_given_its_own(
    eve: Person, tailnet: tuple[Tailnet, Lan], net: World
) -> None:
    eve.create("bert")
    device = tailnet[0].device("bert-eve")
    assert sorted(device["tags"]) == ["tag:vessel", "tag:vessel-eve"]
    path = f"/device/{device['nodeId']}/tags"
    tailnet[0].call("POST", path, {"tags": [Tailnet.tag]})
    assert net.conductor
    assert isinstance(net.conductor.reach, Reach)
    assert tidy(net.conductor, net.conductor.reach) == {"tag": 1}
    assert sorted(tailnet[0].device("bert-eve")["tags"]) == ["tag:vessel", "tag:vessel-eve"]
    assert tidy(net.conductor, net.conductor.reach) == {}


# Bad days ------------------------------------------------------------------------------------


def test_an_owner_whom_the_policy_does_not_know_is_told_so_and_nothing_is_left(
    eve: Person, net: World, tailnet: tuple[Tailnet, Lan]
) -> None:
    ida, keys = net.person("ida"), tailnet[0].keys()
    ida.ask("bert")
    reason = ida.reach_end("bert")["reason"]
    assert "does not let drc give a vessel tag:vessel and tag:vessel-ida" in reason
    assert reason.endswith("drc tailnet policy --apply")
    assert tailnet[0].keys() == keys
    assert vessels(tailnet[0]) == []


def test_one_that_cannot_start_leaves_no_device(eve: Person, tailnet: tuple[Tailnet, Lan]) -> None:
    """It joins beside its other steps, and one of those fails."""
    eve.ask("imageless", image="nowhere.invalid/nothing:1")
    assert "nowhere.invalid" in eve.reach_end("imageless")["reason"]
    until("no device is left", lambda: vessels(tailnet[0]) == [])


def test_after_its_host_was_rebooted_it_is_at_the_same_address(
    net: World, eve: Person, laptop: Node, machine: Machine
) -> None:
    bert = eve.create("bert")
    machine.reboot()
    until("it is running", lambda: eve.show("bert")["state"] == "running", 90)
    assert eve.show("bert")["ssh"]["address"] == bert.shown["ssh"]["address"]
    until("it is entered again", lambda: enters(laptop, bert) or looked_after(net), 60)


def looked_after(net: World) -> None:
    """As by a conductor's round: a control plane may have forgotten a node that was away."""
    assert net.conductor
    assert isinstance(net.conductor.reach, Reach)
    tidy(net.conductor, net.conductor.reach)


def test_an_editors_way_in_lives_through_a_sleep(eve: Person, laptop: Node, tmp_path: Path) -> None:
    """As VS Code does it: a master with a dynamic forward, commands through it, and a vessel that
    answers nothing for a while.
    """
    bert = eve.create("bert")
    command = eve.ssh(bert.shown)[1:-1]
    control = ["-o", f"ControlPath={tmp_path}/master"]
    run(*laptop.inside("ssh", *command, *control, "-M", "-f", "-N", "-D", "9401", "bert"))
    try:
        bert.engine.pause(bert.container)
        time.sleep(3)  # which is the sleep itself
        bert.engine.unpause(bert.container)
        proxy = ("--socks5-hostname", "127.0.0.1:9401")
        said = laptop.exec("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *proxy,
                           "http://127.0.0.1:8888/api/status")  # fmt: skip
        assert said == "403"
        assert run(*laptop.inside("ssh", *control, *command, "bert", "whoami")) == "eve\n"
    finally:
        run(*laptop.inside("ssh", *control, *command, "-O", "exit", "bert"))


@contextlib.contextmanager
def ports(host: Host) -> Iterator[None]:
    """Its network containers are made as those of published ports meanwhile."""
    reach, host.reach = host.reach, Local()
    try:
        yield
    finally:
        host.reach = reach


def test_network_containers_of_the_way_before_are_made_anew(
    eve: Person, laptop: Node, net: World
) -> None:
    """As after a switch from published ports: what waits has no node in it, and is put away, or
    made anew by whoever takes it before.
    """
    waiting = [row["number"] for row in net.sql("SELECT number FROM berth WHERE vessel_id IS NULL")]
    assert waiting
    assert net.conductor
    host = net.conductor.host(net.sql("SELECT id FROM host")[0]["id"])
    for number in waiting:
        # where the conductor puts it away just now, that is what was wanted
        with contextlib.suppress(EngineFailed), ports(host):
            host.remove(net.conductor.names.berth(number))
            berths.start(host, net.conductor.names, NET_IMAGE, number)
    assert over(laptop, eve.create("bert"), "true") == ""
