"""A vessel on real parts: what Docker was asked for, and what its owner finds inside."""

import json
import subprocess

import pytest

from conductor import wanted
from drc.config import DEFAULT_IMAGE
from tests.host.machine import run, until
from tests.host.world import Person, Vessel, World

CAPABILITIES = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6,
                "SETUID": 7, "NET_BIND_SERVICE": 10, "SYS_CHROOT": 18, "AUDIT_WRITE": 29,
                "SETFCAP": 31}  # fmt: skip  # numbers: linux/capability.h


def uuids(vessel: Vessel) -> list[str]:
    return [gpu["uuid"] for gpu in vessel.shown["gpus"]]


def environment_of_pid_1(vessel: Vessel) -> dict[str, str]:
    _, said = vessel.exec("cat", "/proc/1/environ")
    return dict(line.split("=", 1) for line in said.split("\0") if line)


def test_docker_is_asked_for_exactly_the_reserved_gpus(bert: Vessel):
    assert len(uuids(bert)) == 2
    (request,) = bert.inspect()["HostConfig"]["DeviceRequests"]
    assert request["DeviceIDs"] == uuids(bert)
    assert request["Capabilities"] == [["gpu"]]


def test_the_container_and_its_sessions_see_exactly_the_reserved_gpus(bert: Vessel):
    assert environment_of_pid_1(bert)["NVIDIA_VISIBLE_DEVICES"] == ",".join(uuids(bert))
    assert bert.ssh("printenv", "NVIDIA_VISIBLE_DEVICES").strip() == ",".join(uuids(bert))


def test_the_books_hold_exactly_those_gpus(bert: Vessel, world: World):
    assert world.held() == set(uuids(bert))
    assert {gpu["model"] for gpu in bert.shown["gpus"]} == {"a100"}


def test_a_vessel_without_gpu_sees_none_on_a_host_that_has_some(ada: Person):
    dora = ada.create("dora")
    assert environment_of_pid_1(dora)["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert dora.ssh("printenv", "NVIDIA_VISIBLE_DEVICES").strip() == "void"
    assert not dora.inspect()["HostConfig"]["DeviceRequests"]


def test_its_capabilities_are_exactly_those_that_sudo_and_apt_need(bert: Vessel):
    asked = bert.inspect()["HostConfig"]
    assert asked["CapDrop"] == ["ALL"]
    assert sorted(name.removeprefix("CAP_") for name in asked["CapAdd"]) == sorted(CAPABILITIES)
    assert not asked["Privileged"]
    _, said = bert.exec("sed", "-n", "s/^CapBnd:[[:space:]]*//p", "/proc/1/status")
    assert int(said, 16) == sum(1 << number for number in CAPABILITIES.values())


def test_its_limits_are_what_was_asked_for(bert: Vessel):
    asked = bert.inspect()["HostConfig"]
    assert asked["Memory"] == asked["MemorySwap"] == 2**30
    assert asked["NanoCpus"] == 600_000_000
    assert asked["ShmSize"] == 100 * 2**20
    assert asked["PidsLimit"] == wanted.PIDS


def test_its_labels_say_whose_it_is(bert: Vessel, world: World):
    labels = bert.inspect()["Config"]["Labels"]
    (row,) = world.sql("SELECT id::text FROM installation")
    assert labels["drc.installation"] == row["id"]
    assert labels["drc.vessel"] == bert.shown["id"]
    assert labels["drc.attempt"] == "1"


def test_no_secret_is_in_anything_that_docker_shows(bert: Vessel, world: World):
    secrets = [bert.owner.call("GET", "/v1/vessels/bert/jupyter")["token"]]
    _, key = bert.exec("cat", "/run/drc/ssh_host_ed25519_key")
    secrets += key.split("\n")[1:3]
    assert all(len(secret) > 30 for secret in secrets)
    shown = json.dumps([bert.inspect(), bert.berth()]) + bert.engine.logs(bert.container).decode()
    _, commands = bert.exec("sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ")
    for secret in secrets:
        assert secret not in shown
        assert secret not in commands
    token = world.settings().secret.read_bytes().hex()
    assert token not in shown


def test_plain_ssh_enters_and_never_asks(bert: Vessel):
    assert bert.ssh("whoami").strip() == "ada"
    command = bert.owner.ssh(bert.shown, "true")
    shown = run(*[command[0], "-G", *command[1:]])
    assert "stricthostkeychecking true" in shown


def test_plain_ssh_refuses_a_host_key_that_is_not_the_one_drc_wrote(bert: Vessel):
    wrong = json.loads(json.dumps(bert.shown))
    wrong["ssh"]["host_key"] = bert.owner.world.machine.host_key
    done = subprocess.run(bert.owner.ssh(wrong, "true"), capture_output=True, text=True)
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr


def test_it_shows_the_host_key_that_the_api_tells(bert: Vessel):
    ssh = bert.shown["ssh"]
    shown = run("ssh-keyscan", "-t", "ed25519", "-p", str(ssh["port"]), ssh["address"])
    assert shown.split()[1:3] == ssh["host_key"].split()[:2]


def test_sessions_have_the_environment_that_docker_exec_has(bert: Vessel):
    _, said = bert.exec("env", user="ada")
    docker = dict(line.split("=", 1) for line in said.splitlines())
    ssh = dict(line.split("=", 1) for line in bert.ssh("env").splitlines())
    assert docker["GREETING"] == "hello, you"
    own = {"HOSTNAME", "HOME", "TERM"}
    assert {name: ssh.get(name) for name in docker if name not in own} == {
        name: value for name, value in docker.items() if name not in own
    }
    assert {"PATH", "LANG", "DRC_VESSEL", "GREETING"} <= set(docker)


def test_sudo_needs_no_password_and_no_privilege(bert: Vessel):
    assert bert.ssh("sudo", "-n", "id", "-u").strip() == "0"


def test_the_owner_has_a_uid_of_their_own_and_a_private_home(bert: Vessel):
    assert int(bert.ssh("id", "-u")) >= 20000
    assert bert.ssh("stat", "-c", "%a:%U", "/home/ada").strip() == "700:ada"


def jupyter_status(bert: Vessel, token: str | None) -> str:
    """Asked in the vessel's network, by the network container."""
    header = f"Authorization: token {token}\\r\\n" if token else ""
    script = (
        "exec 3<>/dev/tcp/127.0.0.1/8888;"
        f"printf 'GET /api/status HTTP/1.1\\r\\nHost: localhost\\r\\n{header}"
        "Connection: close\\r\\n\\r\\n' >&3; head -1 <&3"
    )
    return bert.exec("bash", "-c", script, container=bert.berth()["Id"])[1].split()[1]


def test_jupyter_answers_to_its_token_only(bert: Vessel):
    token = bert.owner.call("GET", "/v1/vessels/bert/jupyter")["token"]
    assert jupyter_status(bert, token) == "200"
    assert jupyter_status(bert, None) == "403"
    assert jupyter_status(bert, "0" * 64) == "403"


def test_only_ssh_is_published(bert: Vessel):
    published = bert.berth()["NetworkSettings"]["Ports"]
    assert set(published) == {"22/tcp"}
    assert published["22/tcp"] == [
        {"HostIp": bert.shown["ssh"]["address"], "HostPort": str(bert.shown["ssh"]["port"])}
    ]


def test_its_hostname_says_the_machine_and_its_prompt_the_vessel(bert: Vessel):
    assert bert.ssh("hostname").startswith("gpu1-")
    assert bert.ssh("printenv", "DRC_VESSEL").strip() == "bert"


def test_the_start_is_told_step_by_step(bert: Vessel):
    told = bert.owner.client.events(after="0-0", follow=False, vessel="bert")
    events = [event["kind"] for event in told]
    assert events == ["reserved", "starting", "image_ready", "ssh_ready", "jupyter_ready",
                          "running"]  # fmt: skip
    assert bert.shown["image_digest"] == bert.engine.inspect_image(DEFAULT_IMAGE)["Id"]


def test_waiting_berths_are_made_again(bert: Vessel, world: World):
    def running() -> int:
        return sum(berth["State"] == "running" for berth in world.ours("drc.berth"))

    until("two wait beside bert's", lambda: (world.waiting_berths(), running()) == (2, 3))


@pytest.mark.parametrize("program", ["scp", "sftp"])
def test_files_are_copied_by_plain_openssh(bert: Vessel, program: str, tmp_path):
    (tmp_path / "notes").write_text("seaworthy")
    options = bert.owner.ssh(bert.shown)[1:-1]
    if program == "scp":
        run("scp", *options, tmp_path / "notes", "bert:by-scp")
    else:
        batch = tmp_path / "batch"
        batch.write_text(f"put {tmp_path}/notes by-sftp\n")
        run("sftp", "-b", batch, *options, "bert")
    assert bert.ssh("cat", f"by-{program}") == "seaworthy"
