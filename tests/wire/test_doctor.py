"""`drc doctor` at real machines: what is not well is named, with what to type."""

import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from drc.db import Database
from drc.trouble import Kind
from tests.fleets import run_sql
from tests.wire import page
from tests.wire.served import Api
from tests.wire.standin import MACHINE, StandIn
from tests.wire.terminal import Terminal
from tests.wire.warm import Said

SSH = """\
#!/bin/sh
# ssh takes a person's home from /etc/passwd, where these tests' people are not
[ -f ~/.ssh/config ] && sed "s|^Include drc/|Include $HOME/.ssh/drc/|" ~/.ssh/config > ~/ssh-reads
exec /usr/bin/ssh $([ -f ~/ssh-reads ] && echo -F ~/ssh-reads) "$@"
"""
CODE = "#!/bin/sh\necho ms-vscode-remote.remote-ssh\n"


def program(person: Terminal, name: str, text: str) -> None:
    path = person.home / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    person.more["PATH"] = f"{path.parent}:/usr/bin:/bin"


def make_key(person: Terminal) -> Path:
    path = person.home / ".ssh" / "id_ed25519"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def equip(person: Terminal) -> Terminal:
    """With ssh, an editor, and a key that the API knows."""
    program(person, "ssh", SSH)
    program(person, "code", CODE)
    assert person("key", "add", f"{make_key(person)}.pub").status == 0
    return person


@pytest.fixture
def ada(drc: Terminal) -> Terminal:
    return equip(drc)


@pytest.fixture
def bert(ada: Terminal, standin: StandIn) -> str:
    with standin.at_work():
        assert ada("create", "bert").status == 0
    return "bert"


def marks(said: Said) -> dict[str, str]:
    """Each check's mark."""
    found = re.findall(r"^  ([✓!✗]) (\S+(?: key)?)", said.out, re.MULTILINE)
    return {what: mark for mark, what in found}


def of(said: Said, what: str) -> str:
    """The lines of one check."""
    found = re.search(rf"^  [✓!✗] {what} .*(\n {{8,}}.*)*", said.out, re.MULTILINE)
    assert found, said.out
    return found[0]


def test_all_is_well(ada: Terminal, bert: str) -> None:
    said = ada("doctor")
    assert (said.status, said.err) == (0, "All is well.\n"), said.out
    titles = re.findall(r"^\S.*", said.out, re.MULTILINE)
    assert titles == ["This machine", "The API", "Your vessels"]
    checks = "ssh config files key editor api version clock sign-in".split()
    assert marks(said) == dict.fromkeys([*checks, "my key", "bert"], "✓")
    assert re.search(r"ada, as researcher; for (1h|59 min) more", said.out)
    assert re.search(r"ssh bert leads to ada@127\.0\.0\.1:\d+\.", said.out)
    assert "~/.ssh/id_ed25519 opens your vessels." in said.out


def test_all_is_well_as_json(ada: Terminal, bert: str) -> None:
    said = ada("doctor", "--json")
    assert (said.status, said.err) == (0, "")
    answer = json.loads(said.out)
    assert answer["well"] is True
    assert {check["mark"] for check in answer["checks"]} == {"well"}
    assert answer["checks"][-1]["section"] == "Your vessels"
    assert list(answer["checks"][0]) == ["section", "what", "mark", "said", "hint"]


def test_a_new_machine_is_told_what_it_lacks_and_stays_as_it_is(drc: Terminal) -> None:
    drc.more["PATH"] = "/usr/bin:/bin"
    before = sorted(drc.home.rglob("*"))
    said = drc("doctor")
    assert said.status == 1
    assert said.err == "1 thing to mend: what to type stands below each.\n"
    found = marks(said)
    assert (found["config"], found["key"], found["editor"]) == ("!", "✗", "!")
    assert "As its first line:  Include drc/config" in said.out
    assert "ssh-keygen -t ed25519 && drc key add" in said.out
    new = {path.name for path in drc.home.rglob("*")} - {path.name for path in before}
    assert new == {"stdin", "stdout", "stderr"}  # the test's own


def test_without_ssh_the_rest_is_looked_at(ada: Terminal, bert: str) -> None:
    (ada.home / "bin" / "ssh").unlink()
    ada.more["PATH"] = str(ada.home / "bin")
    (ada.home / "bin" / "code").write_text("#!/bin/sh\nexit 1\n")
    said = ada("doctor")
    assert said.status == 1
    assert marks(said) == {
        "ssh": "✗", "files": "✓", "editor": "!", "api": "✓", "version": "✓", "clock": "✓",
        "sign-in": "✓",
    }  # fmt: skip
    assert "code --install-extension ms-vscode-remote.remote-ssh" in said.out


# The API -----------------------------------------------------------------------------------------


def test_an_api_that_is_down_is_said_and_the_machine_looked_at(ada: Terminal, bert: str) -> None:
    ada.url = "http://127.0.0.1:1"
    said = ada("doctor")
    assert said.status == 1
    assert list(marks(said).items())[-2:] == [("editor", "✓"), ("api", "✗")]
    assert of(said, "api").splitlines()[1].strip().startswith("drc up  starts it")
    assert json.loads(ada("doctor", "--json").out)["well"] is False


def test_an_api_that_hangs_is_not_waited_for(ada: Terminal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        ada.url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        begun = time.monotonic()
        said = ada("doctor")
        assert time.monotonic() - begun < 10
    assert "did not answer in time" in of(said, "api")


@pytest.mark.parametrize("url", ["nonsense", "http://[", "ftp://x"])
def test_an_address_that_is_none_is_named(ada: Terminal, url: str) -> None:
    ada.url = url
    said = ada("doctor")
    assert (said.status, marks(said)["api"]) == (1, "✗")
    assert re.search("DRC_URL|drc up", of(said, "api"))
    assert "bug" not in said.err


@contextmanager
def answering(version: str, clock: timedelta, body: bytes | None = None) -> Iterator[str]:
    """An API of another version, with a clock of its own."""

    said = json.dumps({"status": "ok", "version": version}).encode()
    headers = {"Date": format_datetime(datetime.now(UTC) + clock, usegmt=True)}
    with page.answering(said if body is None else body, at="/health", headers=headers) as url:
        yield url


def test_another_version_and_another_time_are_named(ada: Terminal) -> None:
    with answering("9.9.9", timedelta(minutes=20)) as ada.url:
        said = ada("doctor")
    assert "pip install drc==9.9.9" in of(said, "version")
    assert re.search(r"It is (20|19) min slow, by the API's\.", of(said, "clock"))
    assert marks(said)["sign-in"] == "✗"


@pytest.mark.parametrize("body", [b"<html>It works!</html>", b"[]", b"{}", b""])
def test_something_else_at_the_address_is_a_sentence(ada: Terminal, body: bytes) -> None:
    with answering("", timedelta(0), body) as ada.url:
        said = ada("doctor")
    assert (said.status, "not as drc does" in of(said, "api")) == (1, True)


def test_an_api_without_its_database_is_a_sentence(ada: Terminal, api: Api) -> None:
    api.context.db.close()
    said = ada("doctor")
    assert (said.status, marks(said)["api"]) == (1, "✗")
    assert "The database does not answer" in of(said, "api")


def test_a_sign_in_that_is_none_or_over_says_what_to_do(ada: Terminal, api: Api) -> None:
    for token, sentence in (
        (api.token(life=-timedelta(hours=1)), "Your sign-in has run out."),
        ("hello", "not valid"),
        (api.token("conductor:x", "conductor"), "vessels:read"),
    ):
        ada.token = token
        said = ada("doctor")
        assert (said.status, marks(said)["sign-in"], "my key" in marks(said)) == (1, "✗", False)
        assert sentence in of(said, "sign-in")
    ada.token = "hello"
    assert "unset DRC_TOKEN" in of(ada("doctor"), "sign-in")
    ada.token = ""
    assert "drc login" in of(ada("doctor"), "sign-in")


def test_an_account_file_that_is_damaged_is_named(ada: Terminal) -> None:
    folder = ada.home / ".config" / "drc"
    folder.mkdir(parents=True)
    (folder / "account.json").write_text("{")
    (folder / "account.json").chmod(0o644)
    said = ada("doctor")
    assert "account.json cannot be read" in of(said, "api")
    assert "chmod 600 ~/.config/drc/account.json" in of(said, "files")


# Keys, files, the way to a vessel ----------------------------------------------------------------


def test_a_key_that_the_api_does_not_know_is_named(ada: Terminal, api: Api, bert: str) -> None:
    for key in api.raw("GET", "/v1/keys").json():
        ada("key", "remove", key["fingerprint"])
    said = ada("doctor")
    assert (said.status, marks(said)["my key"]) == (1, "✗")
    assert of(said, "my key").splitlines()[-1].strip() == "drc key add ~/.ssh/id_ed25519.pub"


def test_a_key_that_drc_made_counts(drc: Terminal) -> None:
    """It is the one that vessels are shown then."""
    program(drc, "ssh", SSH)
    key = make_key(drc)
    ours = drc.home / ".ssh" / "drc" / "id_ed25519"
    ours.parent.mkdir()
    key.rename(ours)
    Path(f"{key}.pub").rename(f"{ours}.pub")
    drc("key", "add", f"{ours}.pub")
    said = drc("doctor")
    assert said.status == 0, said.out
    assert "~/.ssh/drc/id_ed25519 opens your vessels." in said.out


def test_what_others_could_read_or_write_is_named_with_its_mending(
    ada: Terminal, bert: str
) -> None:
    key, config = ada.home / ".ssh" / "id_ed25519", ada.home / ".ssh" / "drc" / "config"
    key.chmod(0o644)
    config.chmod(0o666)
    said = ada("doctor")
    assert said.status == 1
    assert re.findall(r"chmod .*", said.out) == [
        "chmod 600 ~/.ssh/drc/config",
        "chmod 600 ~/.ssh/id_ed25519",
    ]
    for line in re.findall(r"chmod .*", said.out):
        subprocess.run(["sh", "-c", line], env=ada.environment, check=True)
    assert ada("doctor").status == 0


def test_a_configuration_that_ssh_cannot_read_is_quoted(ada: Terminal, bert: str) -> None:
    with (ada.home / ".ssh" / "config").open("a") as config:
        config.write("Colour blue\n")
    said = ada("doctor")
    assert said.status == 1
    assert "line 2: Bad configuration option: colour" in of(said, "config")
    assert "Your vessels" not in said.out  # it is the same trouble
    assert marks(said)["sign-in"] == "✓"


def test_a_configuration_that_hangs_is_not_waited_for(ada: Terminal, bert: str) -> None:
    with (ada.home / ".ssh" / "config").open("a") as config:
        config.write('Match exec "sleep 600"\n    User x\n')
    begun = time.monotonic()
    said = ada("doctor")
    assert time.monotonic() - begun < 12
    assert "Match exec" in of(said, "config")


def test_an_alias_that_leads_elsewhere_is_named_and_mended(
    ada: Terminal, api: Api, bert: str
) -> None:
    config = ada.home / ".ssh" / "drc" / "config"
    good = config.read_text()
    port = api.show("bert")["ssh"]["port"]
    config.write_text(good.replace(f"Port {port}", "Port 9"))
    said = ada("doctor")
    assert said.status == 1
    expected = f"ssh bert leads to ada@127.0.0.1:9, not to ada@127.0.0.1:{port}."
    assert expected in of(said, "bert")
    assert of(said, "bert").splitlines()[-1].strip() == "drc ssh bert true"
    config.write_text("")
    assert "ssh bert leads to" in of(ada("doctor"), "bert")
    config.write_text(good)
    (ada.home / ".ssh" / "drc" / "known_hosts").unlink()
    assert "does not know the host key of bert" in of(ada("doctor"), "bert")
    ada("ssh", "bert", "true")  # nobody is there, but the files are written
    assert ada("doctor").status == 0


def test_who_did_not_want_the_line_is_told_what_that_means(ada: Terminal, bert: str) -> None:
    (ada.home / ".ssh" / "config").unlink()
    (ada.home / "ssh-reads").unlink(missing_ok=True)
    said = ada("doctor")
    assert (said.status, said.err) == (0, "Nothing is wrong.\n")
    assert marks(said)["config"] == "!"
    assert "drc ssh bert leads to ada@" in of(said, "bert")


def test_a_home_that_ssh_does_not_read_is_the_reason(ada: Terminal, bert: str) -> None:
    """As after a sudo that keeps HOME: drc writes here, ssh reads there."""
    (ada.home / "bin" / "ssh").unlink()
    said = ada("doctor")
    assert said.status == 1
    assert "HOME is another" in of(said, "bert")
    assert "export HOME=" in of(said, "bert")


def test_a_vessel_that_waits_has_no_way_yet(ada: Terminal, api: Api, bert: str) -> None:
    api.create("otter", gpus=4)
    said = ada("doctor")
    assert (said.status, "otter" in said.out) == (0, False)


def test_a_vessel_whose_host_is_silent_is_named(
    ada: Terminal, standin: StandIn, bert: str, host: int
) -> None:
    standin.tell.silent(host, Kind.HOST_SILENT, "it does not answer")
    said = ada("doctor")
    assert (said.status, marks(said)["bert"]) == (0, "!")
    assert "gpu1 is silent" in of(said, "bert")


# Hosts -------------------------------------------------------------------------------------------


@pytest.fixture
def op(operator: Terminal) -> Terminal:
    equip(operator)
    (operator.home / ".ssh" / "config").write_text("Include drc/config\n")
    return operator


def test_hosts_are_for_operators(op: Terminal, drc: Terminal, host: int, db: Database) -> None:
    said = op("doctor")
    assert (said.status, said.err) == (0, "All is well.\n"), said.out
    assert re.search(r"^Hosts\n  ✓ gpu1 +open · 4 × a100 80 GB · Docker ", said.out, re.MULTILINE)
    assert "op, as operator" in said.out
    assert "Hosts" not in drc("doctor").out
    run_sql(db, "UPDATE host SET removed_at = now()")
    said = op("doctor")
    assert (said.status, "drc host add NAME USER@ADDRESS" in of(said, "hosts")) == (0, True)


def test_a_host_that_is_ill_or_silent_is_named(
    op: Terminal, gpu7: str, looking: StandIn, host: int, db: Database
) -> None:
    looking.tell.ill(host, "The disk of gpu1 is full: 2 GiB are free, and 5 GiB are needed.")
    run_sql(db, "UPDATE host SET seen_at = now() - interval '2 hours' WHERE name = 'gpu7'")
    said = op("doctor")
    assert (said.status, marks(said)["gpu1"], marks(said)["gpu7"]) == (1, "✗", "✗")
    assert "It is ill: The disk of gpu1 is full" in of(said, "gpu1")
    assert "drc host probe gpu1" in of(said, "gpu1")
    assert "It was seen 2h ago" in of(said, "gpu7")
    assert said.err.startswith("2 things to mend")


def test_a_cordoned_host_and_a_card_that_is_gone_are_named(
    op: Terminal, gpu7: str, looking: StandIn
) -> None:
    op("host", "cordon", "gpu1")
    looking.machines[gpu7] = {
        **MACHINE,
        "gpus": MACHINE["gpus"][:1],
        "facts": {"disk_free_mib": 8 * 1024},
    }
    op("host", "probe", gpu7)
    said = op("doctor")
    assert (said.status, marks(said)["gpu1"], marks(said)["gpu7"]) == (1, "!", "✗")
    assert "drc host uncordon gpu1" in of(said, "gpu1")
    assert "1 of its 2 GPUs cannot be given: gpu 1: gone" in of(said, "gpu7")
    assert "Only 8 GiB of its disk are free." in of(said, "gpu7")
    assert "drc host show gpu7" in of(said, "gpu7")


def test_in_a_narrow_terminal_lines_are_broken_between_words(op: Terminal, host: int) -> None:
    op.more["COLUMNS"] = "60"
    op.url = "http://127.0.0.1:1"
    (op.home / "bin" / "code").unlink()
    said = op("doctor")
    assert max(map(len, said.out.splitlines())) <= 76  # a hint is not broken: it is copied
    wrapped = of(said, "editor").splitlines()
    assert len(wrapped) == 3
    assert all(line.startswith(" " * 14) for line in wrapped[1:])
