"""The command line where vessels have addresses of their own, and the tailnet's policy."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import SSHCertificate, load_ssh_public_identity

from drc.cli.tailnet import SHIPPED
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


def test_the_host_certificate_names_the_address_that_was_kept(
    api: Api, bert: str, standin: StandIn
) -> None:
    join(api)
    api.raw("POST", "/v1/vessels/bert/stop")
    standin.run_once()
    for name, also in (("bert", [b"100.81.0.7", b"fd7a::7", b"bert-ada.x.ts.net"]), ("other", [])):
        api.create(name)
        work = standin.take("start")
        certificate = load_ssh_public_identity(
            standin.tell.secrets(work)["host_certificate"].encode()
        )
        assert isinstance(certificate, SSHCertificate)
        assert certificate.valid_principals == [f"{name}.ada.drc".encode(), *also]


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
def admin(operator: Terminal, api: Api, tailnet: Tailnet) -> Terminal:
    """An operator who may change the policy. Ada and Bob have accounts."""
    operator.more |= {"DRC_TAILNET_URL": tailnet.url, "DRC_TAILNET_TOKEN": tailnet.token}
    for address in ("ada@example.org", "bob@example.com"):
        meet(api, address)
    return operator


def meet(api: Api, subject: str) -> None:
    """Somebody signs in for the first time."""
    with api.client(subject) as client:
        client.call("GET", "/v1/whoami")


def shipped() -> str:
    return SHIPPED.read_text()


def test_who_has_an_account_is_told_to_operators(api: Api) -> None:
    meet(api, "Ada@example.org")
    token = api.token("op", "operator")
    (ada,) = api.raw("GET", "/v1/owners", token=token).json()
    uid = ada.pop("uid")
    assert ada == {"subject": "Ada@example.org", "login": "ada", "called": "Ada@example.org"}
    assert uid >= 20000
    assert api.raw("GET", "/v1/owners").status_code == 403


def test_what_a_provider_verified_is_what_somebody_is_called(api: Api, db: Database) -> None:
    meet(api, "https://id.example.org|17")
    run_sql(db, "UPDATE owner SET name = 'ada@example.org' RETURNING id")
    (ada,) = api.raw("GET", "/v1/owners", token=api.token("op", "operator")).json()
    assert (ada["called"], ada["login"]) == ("ada@example.org", "u17")


def test_the_policy_is_printed_with_the_people_who_are_here(admin: Terminal, api: Api) -> None:
    said = admin("tailnet", "policy")
    assert said.status == 0
    assert '"tag:vessel-ada": ["tag:drc"],' in said.out
    assert '"src": ["bob@example.com"], "dst": ["tag:vessel-bob:22,8888"]},' in said.out
    assert '"src": ["bob@example.org"]' not in said.out  # the example's


def test_who_has_no_address_is_left_out_and_that_is_said(admin: Terminal, api: Api) -> None:
    meet(api, "eve")
    said = admin("tailnet", "policy")
    assert said.status == 0
    assert "// tag:vessel-eve: its owner has no address" in said.out
    assert '"tag:vessel-eve": ["tag:drc"],' in said.out  # else no vessel of hers could start
    assert "The owner of tag:vessel-eve has no e-mail address here" in said.err


def test_whoever_is_no_operator_or_not_signed_in_is_shown_the_example(
    drc: Terminal, api: Api
) -> None:
    meet(api, "bob@example.com")
    for token, why in ((drc.token, "owners:read"), ("", "not signed in")):
        drc.token = token
        said = drc("tailnet", "policy")
        assert (said.status, said.out) == (0, shipped())
        assert why in said.err
        assert "the people in it are examples" in said.err


def test_a_file_of_ones_own_is_not_filled_for_who_is_no_operator(
    drc: Terminal, tmp_path: Path
) -> None:
    file = tmp_path / "ours.hujson"
    file.write_text(shipped())
    said = drc("tailnet", "policy", "--file", str(file))
    assert (said.status, said.out) == (1, "")
    assert "owners:read" in said.err


def test_all_of_a_file_but_what_is_between_the_markers_is_kept_to_the_byte(
    admin: Terminal, tailnet: Tailnet, tmp_path: Path
) -> None:
    before = shipped().replace("admin@example.com", "root@example.com")
    before = before.replace('"groups"', '// ünser\u2028 own\r\n\t"groups"') + "\n\n// end\n \t"
    file = tmp_path / "ours.hujson"
    file.write_bytes(before.encode())
    assert admin("tailnet", "policy", "--apply", "--file", str(file)).status == 0
    after = tailnet.policy_now()
    ours = re.compile(r"(people in \w+\n).*?([ \t]*// drc: end)", re.DOTALL)
    assert ours.sub(r"\1\2", after) == ours.sub(r"\1\2", before)
    assert after != before
    assert admin("tailnet", "policy", "--check").status == 0


def test_tests_can_be_left_out(admin: Terminal, tailnet: Tailnet, tmp_path: Path) -> None:
    said = admin("tailnet", "policy", "--no-tests")
    assert said.status == 0
    assert "tag:vessel-bob:22,8888" in said.out
    assert '"tests"' not in said.out
    file = tmp_path / "ours.hujson"
    file.write_text(said.out)
    assert admin("tailnet", "policy", "--apply", "--no-tests", "--file", str(file)).status == 0
    assert tailnet.policy_now() == said.out
    apply_first(admin, tmp_path)
    assert admin("tailnet", "policy", "--apply", "--no-tests").status == 0
    assert '"src": "bob@example.com", "accept"' not in tailnet.policy_now()
    assert '"src": ["bob@example.com"]' in tailnet.policy_now()


def test_where_owners_are_together_everybody_reaches_all_vessels(
    admin: Terminal, tmp_path: Path
) -> None:
    admin.more["DRC_TAILNET_OWNERS"] = "together"
    said = admin("tailnet", "policy")
    both = '"src": ["ada@example.org", "bob@example.com"], "dst": ["tag:vessel:22,8888"]},'
    assert both in said.out
    assert "tag:vessel-" not in said.out
    file = tmp_path / "before.hujson"  # by hand, as it was before there were markers
    file.write_text('{"acls": []}')
    assert admin("tailnet", "policy", "--file", str(file)).out == '{"acls": []}'


def test_another_tag_is_that_of_its_owners_too(admin: Terminal) -> None:
    admin.more["DRC_TAILNET_TAG"] = "tag:lab"
    assert '"dst": ["tag:lab-ada:22,8888"]' in admin("tailnet", "policy").out
    admin.more["DRC_TAILNET_TAG"] = 'tag:"'
    said = admin("tailnet", "policy")
    assert (said.status, "which is no tag" in said.err) == (5, True)
    admin.more |= {"DRC_TAILNET_TAG": "", "DRC_TAILNET_OWNERS": "alone"}
    said = admin("tailnet", "policy")
    assert (said.status, "DRC_TAILNET_OWNERS is “alone”" in said.err) == (5, True)


def apply_first(admin: Terminal, tmp_path: Path) -> Path:
    file = tmp_path / "ours.hujson"
    file.write_text(admin("tailnet", "policy").out)
    assert admin("tailnet", "policy", "--apply", "--file", str(file)).status == 0
    return file


def test_what_differs_is_shown_and_nothing_is_written(
    admin: Terminal, tailnet: Tailnet, tmp_path: Path
) -> None:
    file = tmp_path / "ours.hujson"
    file.write_text(shipped())
    before = tailnet.policy_now()
    said = admin("tailnet", "policy", "--check", "--file", str(file))
    assert said.status == 1
    assert '+\t\t{"action": "accept", "src": ["bob@example.com"]' in said.out
    assert "drc tailnet policy --apply" in said.err
    assert tailnet.policy_now() == before


def test_it_is_written_when_told_and_then_it_is_the_same(
    admin: Terminal, tailnet: Tailnet, tmp_path: Path
) -> None:
    """Its own tests are run by the control server, which would refuse it."""
    file = apply_first(admin, tmp_path)
    assert tailnet.policy_now() == file.read_text()
    assert admin("tailnet", "policy", "--check", "--file", str(file)).status == 0
    assert admin("tailnet", "policy", "--check").status == 0


def test_somebody_new_comes_into_the_policy_that_is_in_force(
    admin: Terminal, api: Api, tailnet: Tailnet, tmp_path: Path
) -> None:
    apply_first(admin, tmp_path)
    theirs = tailnet.policy_now().replace("admin@example.com", "root@example.com")
    tailnet.set_policy(theirs)
    meet(api, "eve@example.org")
    said = admin("tailnet", "policy", "--check")
    assert (said.status, "tag:vessel-eve" in said.out) == (1, True)
    said = admin("tailnet", "policy", "--apply")
    assert said.status == 0
    changed = [line for line in said.out.splitlines() if line[:1] in "+-"][2:]
    assert [line[0] for line in changed].count("-") == 1  # whom Bob's test stands beside
    now = tailnet.policy_now()
    assert '"dst": ["tag:vessel-eve:22,8888"]' in now
    assert "root@example.com" in now


def test_a_policy_in_force_without_markers_is_left_alone(
    admin: Terminal, tailnet: Tailnet
) -> None:  # fmt: skip
    before = tailnet.policy_now()
    for how in ("--apply", "--check"):
        said = admin("tailnet", "policy", how)
        assert said.status == 1
        assert "no place for drc's people in tagOwners and acls and tests" in said.err
        assert "// drc: people in tagOwners" in said.err
    assert tailnet.policy_now() == before


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
    file.write_text(shipped().replace('"tag:drc"], "dst"', '"tag:no"], "dst"'))
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


def test_a_file_that_cannot_be_read_is_said(admin: Terminal) -> None:
    said = admin("tailnet", "policy", "--check", "--file", "/nowhere")
    assert said.status == 1
    assert "/nowhere cannot be read" in said.err
