"""What the doctor makes of what it saw: one field of a good baseline is changed at a time."""

import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from drc.cli import finding, laptop
from drc.cli.finding import MISSING, TIMED_OUT, File, Finding, Key, Mark

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
WELL, LOOK, WRONG = Mark.WELL, Mark.LOOK, Mark.WRONG


def check(found: Finding, mark: Mark, said: str, hint: str = "") -> None:
    """What is not well says what to type."""
    assert found.mark == mark
    assert said in found.said
    assert hint in found.hint
    assert bool(found.hint) == (mark != WELL)


@pytest.mark.parametrize(
    ("status", "said", "mark", "expected"),
    [
        (0, "OpenSSH_9.2p1 Debian-2+deb12u3, OpenSSL 3.0.15\n", WELL, "OpenSSH 9.2p1 Debian"),
        (0, "OpenSSH_for_Windows_8.1p1, LibreSSL 3.0.2", WELL, "OpenSSH for Windows 8.1p1"),
        (0, "OpenSSH_10.0p2, OpenSSL", WELL, "OpenSSH 10.0p2"),
        (0, "OpenSSH_7.2p2, OpenSSL 1.0.2", WRONG, "knows no Include"),
        (0, "Dropbear", LOOK, "“Dropbear”"),
        (0, "", LOOK, "“”"),
        (MISSING, "", WRONG, "There is no ssh"),
    ],
)
def test_ssh_is_there_and_new_enough(status: int, said: str, mark: Mark, expected: str) -> None:
    check(finding.ssh_client(status, said), mark, expected)


def test_its_configuration_is_read_and_includes_ours() -> None:
    check(finding.ssh_config(True, 0, ""), WELL, "includes drc's")
    check(finding.ssh_config(False, 0, ""), LOOK, "drc ssh", "Include drc/config")
    said = "/home/ada/.ssh/config: line 3: Bad configuration option: foo\r\n/x: terminating, 1 bad"
    check(finding.ssh_config(True, 255, said), WRONG, "line 3: Bad configuration option: foo")
    assert "terminating" not in finding.ssh_config(True, 255, said).said
    check(finding.ssh_config(True, 255, ""), WRONG, "ssh -G ended with 255")
    check(finding.ssh_config(True, TIMED_OUT, ""), WRONG, "Match exec")


@pytest.mark.parametrize(
    ("file", "said", "hint"),
    [
        (File("~/.ssh/id_rsa", 0o640, True, True), "Others can read ~/.ssh/id_rsa", "chmod 600"),
        (File("~/.ssh/id_rsa", 0o604, True, True), "Others can read ~/.ssh/id_rsa", "chmod 600"),
        (File("~/.ssh/config", 0o664, True, False), "Others can write ~/.ssh/config", "chmod 600"),
        (File("~/.ssh", 0o777, True, False), "Others can write ~/.ssh", "chmod 700 ~/.ssh"),
        (File("~/.ssh/config", 0o600, False, False), "is not yours", "chown"),
    ],
)
def test_what_others_can_read_or_write_is_named(file: File, said: str, hint: str) -> None:
    good = File("~/.ssh", 0o755, True, False), File("~/.ssh/id_ed25519", 0o600, True, True)
    (well,) = finding.files(good)
    check(well, WELL, "yours alone")
    (found,) = finding.files([*good, file])
    check(found, WRONG, said, hint)
    assert len(finding.files([file, file])) == 2


LAPTOP, AGENTS = Key("~/.ssh/id_ed25519", "SHA256:A"), Key("the agent's ada@laptop", "SHA256:B")


def test_a_key_is_shown_and_known() -> None:
    check(finding.own_key([LAPTOP, AGENTS]), WELL, "~/.ssh/id_ed25519 and the agent's ada@laptop")
    check(finding.own_key([]), WRONG, "no key", "ssh-keygen -t ed25519 && drc key add")
    check(finding.known_key([LAPTOP, AGENTS], ["SHA256:B"]), WELL, "the agent's ada@laptop opens")
    unknown = finding.known_key([AGENTS, LAPTOP], ["SHA256:C"])
    check(unknown, WRONG, "refuse you", "drc key add ~/.ssh/id_ed25519.pub")
    check(finding.known_key([AGENTS], []), WRONG, "refuse you", "ssh-add -L | head -1 | drc key")


def test_an_editor_has_remote_ssh() -> None:
    check(finding.editor("code", True), WELL, "code, with Remote SSH")
    hint = "code --install-extension ms-vscode-remote.remote-ssh"
    check(finding.editor("code", False), LOOK, "code has no Remote SSH", hint)
    check(finding.editor(None, True), LOOK, "on your PATH", "drc code NAME")


def test_versions_are_the_same() -> None:
    check(finding.version("1.2.3", "1.2.3"), WELL, "1.2.3")
    check(finding.version("1.2.3", "1.3.0"), LOOK, "the API's 1.3.0", "pip install drc==1.3.0")


def claims(left: timedelta, life: timedelta = timedelta(days=30), **more: Any) -> dict[str, Any]:
    end = (NOW + left).timestamp()
    told = {"sub": "ada", "roles": ["researcher"], "exp": end, "iat": end - life.total_seconds()}
    return {**told, **more}


def test_a_sign_in_says_who_as_what_and_for_how_long() -> None:
    well = finding.sign_in(claims(timedelta(days=9)), NOW)
    session = finding.sign_in(claims(timedelta(minutes=1)), NOW, renews=True)
    check(session, WELL, "ada, as researcher; renewed by itself")
    check(well, WELL, "ada, as researcher; for 9d more")
    check(finding.sign_in(claims(timedelta(days=2)), NOW), LOOK, "only for 2d more", "drc login")
    check(finding.sign_in(claims(timedelta(days=-2)), NOW), LOOK, "only for 0 s more", "drc login")
    hour = finding.sign_in(claims(timedelta(minutes=40), timedelta(hours=1)), NOW)
    check(hour, WELL, "for 40 min more")
    both = claims(timedelta(days=9), roles=["operator", "researcher"])
    check(finding.sign_in(both, NOW), WELL, "as operator and researcher")
    check(finding.sign_in(claims(timedelta(days=9), roles=None), NOW), WELL, "as nobody")
    check(finding.sign_in({}, NOW), WELL, "takes your token")
    check(finding.sign_in({"sub": "ada"}, NOW), WELL, "ada")
    check(finding.sign_in(claims(timedelta(days=9), exp="x"), NOW), WELL, "ada")


def test_a_clock_may_be_a_little_off() -> None:
    for seconds in (-30, 0, 1, 30):
        check(finding.clock(timedelta(seconds=seconds)), WELL, "as the API's")
    check(finding.clock(timedelta(seconds=31)), LOOK, "31 s fast", "timedatectl")
    check(finding.clock(timedelta(minutes=-20)), LOOK, "20 min slow", "timedatectl")


BERT: dict[str, Any] = {
    "name": "bert",
    "state": "running",
    "host": "gpu7",
    "ssh": {
        "address": "GPU7.lab",
        "port": 22001,
        "user": "ada",
        "host_key": "ssh-ed25519 AAAA",
        "host_key_alias": "bert.ada.drc",
    },
}
TOLD = {
    "hostname": "gpu7.lab",
    "port": "22001",
    "user": "ada",
    "hostkeyalias": "bert.ada.drc",
    "loglevel": "INFO",
}
KNOWN = ["# a comment", "bert.ada.drc ssh-ed25519 AAAA"]


def alias(
    vessel: dict[str, Any] = BERT,
    told: dict[str, str] | None = TOLD,
    known: list[str] = KNOWN,
    home: str | None = None,
) -> Finding:
    return finding.alias(vessel, "ssh bert", told, known, home)


def test_an_alias_leads_where_the_api_says() -> None:
    check(alias(), WELL, "ssh bert leads to ada@GPU7.lab:22001.")
    check(alias(home="/root"), WELL, "leads to")  # it works, so nobody minds why


@pytest.mark.parametrize("word", ["hostname", "port", "user", "hostkeyalias"])
def test_an_alias_that_leads_elsewhere_is_named(word: str) -> None:
    for told in ({**TOLD, word: "other"}, {k: v for k, v in TOLD.items() if k != word}):
        check(alias(told=told), WRONG, "not to ada@GPU7.lab:22001.", "drc ssh bert true")


def test_an_alias_may_fail_in_other_ways() -> None:
    unheard = {"hostname": "bert", "port": "22", "user": "ada"}
    check(alias(told=unheard, home="/root"), WRONG, "reads /root/.ssh", "export HOME=/root")
    check(alias(told={**TOLD, "port": "22"}, home="/root"), WRONG, ":22, not to", "drc ssh bert")
    check(alias(told=None), WRONG, "does not say", "ssh -v -G bert")
    check(alias(known=[]), WRONG, "host key", "drc ssh bert true")
    check(alias({**BERT, "state": "unreachable"}), LOOK, "gpu7 is silent", "drc events bert")


CARD: dict[str, Any] = {
    "index": 0,
    "model": "a100",
    "memory_mib": 81920,
    "simulated": False,
    "ill": None,
}
HOST: dict[str, Any] = {
    "name": "gpu7",
    "ill": None,
    "probed": True,
    "committed": True,
    "cordoned": False,
    "seen_at": (NOW - timedelta(seconds=12)).isoformat(),
    "docker_version": "27.3.1",
    "facts": {"disk_free_mib": 120 * 1024},
    "strangers": [],
}
ILL = {**CARD, "index": 1, "ill": "gone: the host's last look did not find it"}


def host(gpus: list[dict[str, Any]] | None = None, **changes: Any) -> Finding:
    return finding.host({**HOST, **changes}, [CARD] if gpus is None else gpus, NOW)


def test_a_host_that_is_well_says_what_it_has() -> None:
    check(host(), WELL, "open · 1 × a100 80 GB · Docker 27.3.1 · 120 GiB of disk free · seen 12 s")
    check(host([], facts={}), WELL, "open · no GPU · Docker 27.3.1 · seen 12 s ago")


@pytest.mark.parametrize(
    ("changes", "mark", "said", "hint"),
    [
        ({"ill": "It hangs."}, WRONG, "It is ill: It hangs.", "drc host probe gpu7"),
        ({"ill": "Key.", "shown_host_key": "b", "ssh_host_key": "a"}, WRONG, "Key.", "trust gpu7"),
        ({"ill": "It.", "shown_host_key": "a", "ssh_host_key": "a"}, WRONG, "It.", "probe gpu7"),
        ({"probed": False}, LOOK, "No conductor has looked", "drc host show gpu7"),
        ({"seen_at": None}, LOOK, "No conductor has looked", "drc host show gpu7"),
        ({"seen_at": (NOW - timedelta(hours=2)).isoformat()}, WRONG, "seen 2h ago", "probe gpu7"),
        ({"gpus": [CARD, ILL]}, WRONG, "1 of its 2 GPUs cannot be given: gpu 1: gone", "show gpu7"),
        ({"committed": False}, LOOK, "nobody said yes", "drc host remove gpu7"),
        ({"cordoned": True}, LOOK, "no new vessels", "drc host uncordon gpu7"),
        ({"docker_version": "19.03.1"}, LOOK, "Docker is 19.03.1", "newer Docker"),
        ({"facts": {"disk_free_mib": 9 * 1024}}, LOOK, "Only 9 GiB", "docker system df"),
        ({"strangers": [{}]}, LOOK, "in no vessel", "drc host show gpu7"),
    ],
)
def test_a_host_that_is_not_well_says_why(
    changes: dict[str, Any], mark: Mark, said: str, hint: str
) -> None:
    check(host(**changes), mark, said, hint)


def test_the_worst_of_a_host_comes_first_and_nothing_is_left_out() -> None:
    found = host([CARD, ILL], cordoned=True, facts={"disk_free_mib": 9 * 1024})
    check(found, WRONG, "cannot be given", "drc host show gpu7")
    assert found.said.index("cannot be given") < found.said.index("no new vessels")
    assert "Only 9 GiB" in found.said


def test_a_vessel_in_a_tailnet_that_does_not_answer_is_said() -> None:
    there = {**BERT, "ssh": {**BERT["ssh"], "address": "100.81.0.7", "port": 22}}
    check(finding.unanswered(there), WRONG, "Nothing answers at 100.81.0.7:22", "tailscale status")


@pytest.mark.parametrize(
    ("address", "is_there"),
    [
        ("100.64.0.1", True),
        ("100.127.255.254", True),
        ("100.128.0.1", False),
        ("10.0.0.1", False),
        ("gpu7.lab", False),
        ("", False),
    ],
)
def test_which_addresses_are_a_tailnets(address: str, is_there: bool) -> None:
    assert finding.is_in_tailnet(address) is is_there


def test_whether_anything_answers_is_tried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert laptop.answers("127.0.0.1", port)
    assert not laptop.answers("127.0.0.1", port)
