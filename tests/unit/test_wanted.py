"""What is asked of Docker: exactly these capabilities, these GPUs, and no secret anywhere."""

import io
import json
import tarfile
from typing import Any

import pytest

from conductor import wanted
from conductor.wanted import Limits, Names
from conductor.work import Work

NAMES = Names("0f8fad5b-d9cb-469f-a165-70867728950e")
ID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
SECRETS = {
    "token": "SECRET-bespoke",
    "host_key": "SECRET-host-key",
    "host_key_public": "ssh-ed25519 PUBLIC",
    "jupyter_token": "SECRET-jupyter",
    "authorized_keys": ["ssh-ed25519 ONE", "ssh-rsa TWO"],
    "host_certificate": "ssh-ed25519-cert-v01@openssh.com PUBLIC",
    "user_authorities": ["ssh-ed25519 AUTHORITY"],
    "revoked_keys": "U1NIS1JMCgA=",
}


def work(**changes: Any) -> Work:
    plain: dict[str, Any] = {
        "id": 1,
        "verb": "start",
        "host_id": 1,
        "generation": 1,
        "tries": 1,
        "vessel_id": ID,
        "attempt": 3,
        "name": "bert",
        "image": "drc/vessel:1",
        "millicpus": 16_000,
        "memory_mib": 65_536,
        "gpu_uuids": ["GPU-a", "GPU-b"],
        "n_gpus": 2,
        "login": "ada",
        "uid": 20_000,
    }
    return Work(**{**plain, **changes})


def body(work: Work, limits: Limits = Limits(64, None)) -> dict[str, Any]:
    return wanted.vessel_container(
        NAMES,
        work,
        "sha256:abc",
        berth="drc-berth-1",
        home="drc-home-20000",
        host="gpu1",
        limits=limits,
    )


def env_of(container: dict[str, Any]) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in container["Env"] if "=" in pair)


def test_the_capabilities_are_exactly_the_settled_ones() -> None:
    """DESIGN.md, “The container”."""
    settled = (
        "CHOWN DAC_OVERRIDE FOWNER FSETID SETUID SETGID KILL SYS_CHROOT NET_BIND_SERVICE"
        " AUDIT_WRITE SETFCAP"
    )
    config = body(work())["HostConfig"]
    assert (config["CapDrop"], config["CapAdd"]) == (["ALL"], settled.split())
    for loophole in ("Privileged", "SecurityOpt", "PidMode", "IpcMode", "UsernsMode", "Devices"):
        assert loophole not in config


def test_the_reserved_gpus_are_asked_for_by_their_uuid() -> None:
    container = body(work())
    assert container["HostConfig"]["DeviceRequests"] == [
        {"Driver": "", "DeviceIDs": ["GPU-a", "GPU-b"], "Capabilities": [["gpu"]]}
    ]
    assert env_of(container)["NVIDIA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"  # no image's own `all`


@pytest.mark.parametrize("n_gpus", [0, 2])
def test_a_vessel_without_real_gpus_sees_none_on_any_host(n_gpus: int) -> None:
    """None asked for, or simulated ones: an image's own `all` must not show every GPU."""
    container = body(work(gpu_uuids=[], n_gpus=n_gpus))
    assert container["HostConfig"]["DeviceRequests"] == []
    assert env_of(container)["NVIDIA_VISIBLE_DEVICES"] == "void"


def test_limits_are_the_share_and_swap_adds_nothing() -> None:
    config = body(work())["HostConfig"]
    assert config["NanoCpus"] == 16 * 10**9
    assert config["Memory"] == config["MemorySwap"] == 65_536 * 2**20
    assert config["PidsLimit"] == wanted.PIDS
    assert "RestartPolicy" not in config


@pytest.mark.parametrize(
    ("shm_mib", "expected_mib"), [(None, 32_768), (1_024, 1_024), (99_999_999, 65_536)]
)
def test_shared_memory_is_as_asked_or_half_and_never_more_than_the_memory(
    shm_mib: int | None, expected_mib: int
) -> None:
    assert body(work(shm_mib=shm_mib))["HostConfig"]["ShmSize"] == expected_mib * 2**20


@pytest.mark.parametrize(("disk_mib", "asked"), [(None, {}), (2048, {"size": str(2 * 2**30)})])
def test_its_disk_is_limited_where_the_engine_can(
    disk_mib: int | None, asked: dict[str, str]
) -> None:
    assert body(work(), Limits(64, disk_mib))["HostConfig"]["StorageOpt"] == asked


def test_no_more_cpus_are_asked_of_docker_than_it_has() -> None:
    assert body(work(), limits=Limits(2, None))["HostConfig"]["NanoCpus"] == 2 * 10**9


def test_the_environment_is_the_owners_and_ours_wins() -> None:
    env = env_of(body(work(env={"K": "V=W", "DRC_VESSEL": "other"})))
    gpus = {"NVIDIA_VISIBLE_DEVICES": "GPU-a,GPU-b"}
    assert env == {"K": "V=W", "DRC_VESSEL": "bert", "DRC_HOST": "gpu1", **gpus}


def test_what_an_image_says_of_how_it_is_run_does_not_count() -> None:
    container = body(work())
    assert (container["User"], container["Cmd"]) == ("0:0", [])
    assert container["Entrypoint"] == wanted.BOOT
    assert container["Healthcheck"] == {"Test": ["NONE"]}
    assert container["StopSignal"] == "SIGTERM"
    taken_away = {name for name in container["Env"] if "=" not in name}
    assert {"NVIDIA_MOFED", "NVIDIA_NVSWITCH"} < taken_away
    assert all(mount["VolumeOptions"]["NoCopy"] for mount in container["HostConfig"]["Mounts"])


def test_what_carries_the_files_has_the_run_volume_and_nothing_else() -> None:
    carrier = wanted.carrier_container(NAMES, work(), "sha256:net")
    (mount,) = carrier["HostConfig"]["Mounts"]
    assert mount == body(work())["HostConfig"]["Mounts"][1]
    assert carrier["HostConfig"]["NetworkMode"] == "none"
    assert carrier["Labels"] == NAMES.labels(work())  # it goes with the vessel
    assert NAMES.carrier(ID, 3) != NAMES.vessel(ID, 3)


def test_names_and_labels_carry_vessel_and_attempt() -> None:
    assert NAMES.vessel(ID, 3) == f"drc-{ID}-3"
    assert body(work())["Labels"] == {
        "drc.installation": NAMES.installation,
        "drc.vessel": ID,
        "drc.attempt": "3",
    }
    assert NAMES.vessel(ID, 3) != NAMES.vessel(ID, 4)
    assert NAMES.run_volume(ID, 3) != NAMES.run_volume(ID, 4)


def test_the_home_is_the_owners_and_run_drc_the_attempts() -> None:
    mounts = {m["Target"]: m["Source"] for m in body(work())["HostConfig"]["Mounts"]}
    assert mounts == {"/home/ada": "drc-home-20000", "/run/drc": f"drc-run-{ID}-3"}


def test_it_joins_its_berths_network_and_publishes_nothing_itself() -> None:
    container = body(work())
    assert container["HostConfig"]["NetworkMode"] == "container:drc-berth-1"
    assert "PortBindings" not in container["HostConfig"]
    assert "Hostname" not in container


def test_no_secret_stands_anywhere_but_in_the_files() -> None:
    """Env, labels and arguments are shown by `docker inspect` and kept in snapshots."""
    assert "SECRET" not in json.dumps(body(work()))
    files = {file.name: file for file in wanted.identity_files(work(), SECRETS)}
    assert [name for name, file in files.items() if "SECRET" in str(file.text)] == [
        "ssh_host_ed25519_key",
        "jupyter_token",
    ]
    assert not any(SECRETS["token"] in str(file.text) for file in files.values())


def test_the_files_can_be_read_by_whom_they_are_for() -> None:
    files = {file.name: file for file in wanted.identity_files(work(), SECRETS)}
    key, token, keys = (
        files[name] for name in ("ssh_host_ed25519_key", "jupyter_token", "authorized_keys")
    )
    assert (key.mode, key.uid) == (0o600, 0)
    assert (token.mode, token.uid) == (0o400, 20_000)
    assert (keys.mode, keys.uid) == (0o644, 0)  # the owner must not write what sshd trusts
    assert keys.text == "ssh-ed25519 ONE\nssh-rsa TWO\n"
    assert files["owner"].text == "ada 20000\n"
    assert files["principals"].text == "ada\n"
    assert files["revoked_keys"].text == b"SSHKRL\n\0"


def test_the_archive_holds_the_files_with_their_modes() -> None:
    files = wanted.identity_files(work(), SECRETS)
    with tarfile.open(fileobj=io.BytesIO(wanted.archive(files))) as tar:
        held = {entry.name: (entry.mode, entry.uid, entry.size) for entry in tar}
    assert held == {f.name: (f.mode, f.uid, len(f.text)) for f in files}


def berth(**more: Any) -> dict[str, Any]:
    return wanted.berth_container(
        NAMES,
        "drc/net:1",
        7,
        host="gpu1",
        address="127.0.0.1",
        port=22007,
        addresses="10.0.0.1 fd00::1",
        resolv_conf="/etc/resolv.conf",
        **more,
    )


def test_a_node_of_a_tailnet_has_its_device_and_publishes_nothing() -> None:
    """And nothing else that others have not."""
    node, other = berth(tailnet=True), berth()
    config = node["HostConfig"]
    assert (node["ExposedPorts"], config["PortBindings"]) == ({}, {})
    assert [device["PathOnHost"] for device in config["Devices"]] == ["/dev/net/tun"]
    assert (config["CapDrop"], config["CapAdd"]) == (["ALL"], ["NET_ADMIN"])
    same = other["HostConfig"].keys() - {"PortBindings", "Memory", "PidsLimit", "Sysctls"}
    assert {key: config[key] for key in same} == {key: other["HostConfig"][key] for key in same}
    assert set(node["Env"]) - set(other["Env"]) == {"DRC_TAILNET=1"}


def test_a_network_container_may_only_arrange_its_own_network() -> None:
    container = berth()
    config = container["HostConfig"]
    assert (config["CapDrop"], config["CapAdd"]) == (["ALL"], ["NET_ADMIN"])
    assert config["PortBindings"] == {"22/tcp": [{"HostIp": "127.0.0.1", "HostPort": "22007"}]}
    assert config["NetworkMode"] == NAMES.network
    assert container["Hostname"] == "gpu1-7"
    assert "RestartPolicy" not in config
    assert all(bind.endswith(":ro") for bind in config["Binds"])
    assert wanted.NETWORK_OPTIONS == {"com.docker.network.bridge.enable_icc": "false"}


@pytest.mark.parametrize("reads", [True, False])
def test_what_a_home_goes_through_has_it_and_nothing_else(reads: bool) -> None:
    body = wanted.home_container(NAMES, "drc/net:1", "drc-home-7", work(), ["true"], reads=reads)
    settings = body["HostConfig"]
    (mount,) = settings["Mounts"]
    assert (mount["Source"], mount["Target"], mount["ReadOnly"]) == ("drc-home-7", "/home", reads)
    assert (settings["NetworkMode"], settings["CapDrop"]) == ("none", ["ALL"])
    assert set(settings["CapAdd"]) <= {"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP"}
    assert settings["ReadonlyRootfs"]
    assert settings["AutoRemove"]
    assert not settings.keys() & {"Devices", "DeviceRequests", "Binds", "Privileged", "PidMode"}
