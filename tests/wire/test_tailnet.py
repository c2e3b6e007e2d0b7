"""The command line where vessels have addresses of their own, and the tailnet's policy."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from drc.db import Database
from tests.fleets import run_sql
from tests.tailnet.tailnet import Tailnet
from tests.wire.served import Api
from tests.wire.standin import StandIn
from tests.wire.terminal import Terminal

ADDRESS = "/v1/conduct/vessels/{id}/{attempt}/address"
JOINED = {"ipv4": "100.81.0.7", "ipv6": "fd7a::7", "dns_name": "bert-ada.x.ts.net", "device": "n1"}


def join(api: Api, name: str = "bert", **more: str | None) -> int:
    """What a conductor tells once a vessel has joined. The answer's status."""
    vessel = api.show(name)
    path = ADDRESS.format(**vessel)
    token = api.token("conductor:standin", "conductor")
    return api.raw("POST", path, {**JOINED, **more}, token=token).status_code


@pytest.fixture
def bert(api: Api, standin: StandIn) -> str:
    api.create("bert")
    standin.run_once()
    return "bert"


def test_a_vessel_shows_its_address_and_ssh_goes_there(api: Api, bert: str, drc: Terminal) -> None:
    assert join(api) == 204
    ssh = api.show(bert)["ssh"]
    assert (ssh["address"], ssh["port"]) == ("100.81.0.7", 22)
    assert (ssh["ipv6"], ssh["dns_name"]) == ("fd7a::7", "bert-ada.x.ts.net")
    assert drc("ssh-config").status == 0
    written = (drc.home / ".ssh" / "drc" / "config").read_text()
    assert "HostName 100.81.0.7\n" in written
    assert "Port 22\n" in written


def test_the_configuration_follows_an_address_that_changed(
    api: Api, bert: str, drc: Terminal
) -> None:
    join(api)
    drc("ssh-config")
    join(api, ipv4="100.81.0.9", instead_of="100.81.0.7")
    drc("ssh-config")
    written = (drc.home / ".ssh" / "drc" / "config").read_text()
    assert "HostName 100.81.0.9\n" in written
    assert "100.81.0.7" not in written
    (event,) = [line for line in drc("events", bert).out.splitlines() if "instead_of" in line]
    assert "instead_of: 100.81.0.7" in event


def test_everything_of_drcs_is_taken_out_of_ssh(api: Api, bert: str, drc: Terminal) -> None:
    ssh = drc.home / ".ssh"
    ssh.mkdir(mode=0o700)
    (ssh / "config").write_bytes(b"Host old\r\n  User me\r\n")
    assert drc("ssh-config").status == 0
    assert (ssh / "config").read_bytes().startswith(b"Include drc/config\n")
    assert drc("ssh-config", "--uninstall").status == 0
    assert (ssh / "config").read_bytes() == b"Host old\r\n  User me\r\n"
    assert not (ssh / "drc").exists()


def test_jupyter_is_opened_at_the_address(api: Api, bert: str, drc: Terminal) -> None:
    join(api)
    said = drc("jupyter", bert, "--no-browser")
    assert said.status == 0
    assert said.out.startswith("http://100.81.0.7:8888/lab?token=")


def test_an_address_of_another_attempt_is_refused(api: Api, bert: str, db: Database) -> None:
    run_sql(db, "UPDATE vessel SET attempt = 2 RETURNING id")
    vessel = api.show(bert)
    path = ADDRESS.format(id=vessel["id"], attempt=1)
    token = api.token("conductor:standin", "conductor")
    assert api.raw("POST", path, JOINED, token=token).status_code == 409


def test_an_address_that_is_kept_for_another_is_not_given_unless_it_cannot_be_chosen(
    api: Api, bert: str, standin: StandIn, db: Database
) -> None:
    join(api)
    api.create("other")
    standin.run_once()
    assert join(api, "other", device="n2") == 409
    assert api.show("bert")["ssh"]["address"] == "100.81.0.7"
    vessel = api.show("other")
    path, token = ADDRESS.format(**vessel), api.token("conductor:standin", "conductor")
    taken = {**JOINED, "device": "n2", "takes": True}
    assert api.raw("POST", path, taken, token=token).status_code == 204
    (row,) = run_sql(db, "SELECT name FROM address")
    assert row["name"] == "other"


@pytest.mark.parametrize(
    ("editor", "link"),
    [
        ("code", "vscode://vscode-remote/ssh-remote+bert/home/ada"),
        ("cursor", "cursor://vscode-remote/ssh-remote+bert/home/ada"),
        ("windsurf", "windsurf://vscode-remote/ssh-remote+bert/home/ada"),
        ("zed", "zed://ssh/bert/home/ada"),
        ("jetbrains", "jetbrains-gateway://connect#type=ssh&deploy=false&host=bert&port="),
    ],
)
def test_an_editor_that_is_not_here_is_opened_by_its_link(
    api: Api, bert: str, drc: Terminal, editor: str, link: str
) -> None:
    drc.more["PATH"] = "/usr/bin:/bin"
    said = drc("code", bert, "--editor", editor)
    assert said.status == 0
    assert said.out.startswith(link)
    assert f"No command of {editor}'s is on your PATH." in said.err


def test_an_unknown_editor_is_said(api: Api, bert: str, drc: Terminal) -> None:
    said = drc("code", bert, "--editor", "ed")
    assert said.status == 1
    assert "drc knows no editor “ed”." in said.err
    assert "--editor code|cursor" in said.err


# The policy -----------------------------------------------------------------------------------


@pytest.fixture
def tailnet(tmp_path: Path) -> Iterator[Tailnet]:
    folder = tmp_path / "tailnet"
    folder.mkdir()
    with Tailnet(folder) as tailnet:
        yield tailnet


@pytest.fixture
def admin(drc: Terminal, tailnet: Tailnet) -> Terminal:
    drc.more |= {"DRC_TAILNET_URL": tailnet.url, "DRC_TAILNET_TOKEN": tailnet.token}
    return drc


def test_the_policy_is_printed_without_asking_anybody(drc: Terminal) -> None:
    said = drc("tailnet", "policy")
    assert said.status == 0
    assert '"dst": ["tag:vessel:22,8888"]' in said.out


def test_what_differs_is_shown_and_nothing_is_written(admin: Terminal, tailnet: Tailnet) -> None:
    before = tailnet.policy_now()
    said = admin("tailnet", "policy", "--check")
    assert said.status == 1
    assert '+\t\t{"action": "accept", "src": ["group:drc-users"' in said.out
    assert "drc tailnet policy --apply" in said.err
    assert tailnet.policy_now() == before


def test_it_is_written_when_told_and_then_it_is_the_same(
    admin: Terminal, tailnet: Tailnet, tmp_path: Path
) -> None:
    file = tmp_path / "ours.hujson"
    file.write_text(admin("tailnet", "policy").out.replace("ada@example.org", "eve@example.org"))
    said = admin("tailnet", "policy", "--apply", "--file", str(file))
    assert said.status == 0
    assert "+" in said.out
    assert tailnet.policy_now() == file.read_text()
    assert admin("tailnet", "policy", "--check", "--file", str(file)).status == 0


@pytest.mark.parametrize(
    ("fault", "words", "status"),
    [
        ({"path": "/acl", "method": "GET", "status": 503, "times": 5}, "answered 503", 4),
        ({"path": "/acl", "method": "GET", "status": -1, "times": 5}, "does not answer", 4),
        ({"path": "/acl", "method": "POST", "status": 412, "times": 5}, "changed the policy", 1),
    ],
)
def test_what_goes_wrong_is_said_and_nothing_is_written(
    admin: Terminal,
    tailnet: Tailnet,
    tmp_path: Path,
    fault: dict[str, str | int],
    words: str,
    status: int,
) -> None:
    before = tailnet.policy_now()
    tailnet.faults([fault])
    file = tmp_path / "ours.hujson"
    file.write_text(admin("tailnet", "policy").out)
    said = admin("tailnet", "policy", "--apply", "--file", str(file))
    tailnet.faults()
    assert said.status == status
    assert words in said.err
    assert tailnet.policy_now() == before


def test_a_policy_that_tailscale_finds_fault_with_is_not_written(
    admin: Terminal, tailnet: Tailnet, tmp_path: Path
) -> None:
    before = tailnet.policy_now()
    file = tmp_path / "wrong.hujson"
    file.write_text('{"acls": [{"action": "accept", "src": ["tag:no"], "dst": ["*:*"]}]}')
    said = admin("tailnet", "policy", "--apply", "--file", str(file))
    assert said.status == 1
    assert "Tailscale finds fault with it" in said.err
    assert tailnet.policy_now() == before


@pytest.mark.parametrize("token", ["", "tskey-api-wrong"])
def test_without_a_good_token_it_is_said(
    admin: Terminal, tailnet: Tailnet, token: str
) -> None:  # fmt: skip
    admin.more["DRC_TAILNET_TOKEN"] = token
    said = admin("tailnet", "policy", "--check")
    assert said.status in (1, 5)
    assert "Neither DRC_TAILNET_TOKEN" in said.err or "Tailscale refused: " in said.err


def test_what_drc_ships_is_written_over_nobodys_policy(
    admin: Terminal, tailnet: Tailnet
) -> None:  # fmt: skip
    before = tailnet.policy_now()
    said = admin("tailnet", "policy", "--apply")
    assert said.status == 1
    assert "The policy that drc ships names nobody of yours." in said.err
    assert tailnet.policy_now() == before


def test_a_file_that_cannot_be_read_is_said(admin: Terminal) -> None:
    said = admin("tailnet", "policy", "--check", "--file", "/nowhere")
    assert said.status == 1
    assert "/nowhere cannot be read" in said.err
