"""A home stays with its owner: over stop and create, between vessels, and away from others."""

from pathlib import Path

from tests.host.world import Person


def test_home_address_host_key_and_uid_are_there_again_after_stop_and_create(ada: Person):
    first = ada.create("again")
    first.ssh("echo kept > notes")
    uid = first.ssh("id", "-u")
    ada.stop("again")
    second = ada.create("again")
    assert second.shown["id"] != first.shown["id"]
    assert second.ssh("cat", "notes") == "kept\n"
    assert second.ssh("id", "-u") == uid
    assert second.shown["ssh"]["host_key"] == first.shown["ssh"]["host_key"]
    assert second.shown["ssh"]["host_key_alias"] == first.shown["ssh"]["host_key_alias"]


def test_one_owners_vessels_share_the_home_and_not_the_runtime_state(ada: Person):
    one, other = ada.create("one"), ada.create("other")
    one.ssh("echo shared > ~/between")
    assert other.ssh("cat", "between") == "shared\n"
    one.ssh("touch $XDG_RUNTIME_DIR/mine")
    assert "mine" not in other.ssh("ls $XDG_RUNTIME_DIR").split()
    assert one.shown["ssh"]["host_key"] != other.shown["ssh"]["host_key"]


def test_another_owners_home_is_not_there(ada: Person, bob: Person):
    hers, his = ada.create("hers"), bob.create("his")
    hers.ssh("echo confidential > diary")
    assert his.ssh("ls", "/home").split() == ["bob"]
    assert hers.ssh("id", "-u") != his.ssh("id", "-u")
    found = his.ssh("sudo find / -xdev -name diary; sudo grep -rs confidential /home; true")
    assert found == ""
    volumes = {mount["Name"] for mount in his.inspect()["Mounts"]}
    assert volumes.isdisjoint(mount["Name"] for mount in hers.inspect()["Mounts"])


def test_nobody_elses_key_enters(ada: Person, bob: Person):
    hers = ada.create("locked")
    assert hers.lets_in(ada.key)
    assert not hers.lets_in(bob.key)


def test_a_home_from_another_installation_is_not_given_to_somebody_else(
    ada: Person, tmp_path: Path
):
    # one that is made anew counts uids from the beginning, and meets the homes of the one before
    carl, client = ada.world.person("carl"), ada.world.machine.client
    (row,) = ada.world.sql("SELECT uid FROM owner WHERE subject = 'carl'")
    before = f"drc-home-{row['uid']}"
    folder = Path(client.create_volume(before, labels={"drc.home": "dan"})["Mountpoint"])
    (folder / "diary").write_text("dan's")
    vessel = carl.create("stranger")
    homes = [m["Name"] for m in vessel.inspect()["Mounts"] if m["Destination"] == "/home/carl"]
    assert homes == [f"{before}-carl"]
    assert "diary" not in vessel.ssh("ls", "-A").split()
    vessel.ssh("echo mine > notes")
    carl.stop("stranger")
    assert carl.create("stranger").ssh("cat", "notes") == "mine\n"
    assert [file.name for file in folder.iterdir()] == ["diary"]
