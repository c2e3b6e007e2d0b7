"""~/.ssh/config belongs to its owner: our one line comes and goes, all else stays to the byte."""

import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from drc.cli import sshconfig
from drc.cli.sshconfig import INCLUDE

OURS = INCLUDE.encode() + b"\n"


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """~/.ssh of a person who has used ssh before."""
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".ssh"
    folder.mkdir(mode=0o700)
    return folder


@pytest.mark.parametrize(
    "before",
    [
        b"Host gpu\n    User ada\n",
        b"Host gpu\n    User ada",  # no newline at the end
        b"\n\n# mine\n\tHost *\n",
        b"Host gpu\r\n    User ada\r\n",  # written by an editor on Windows
        b"# caf\xe9, in Latin-1\nHost gpu\n",
        b"# a form feed \x0c and a line separator \xe2\x80\xa8 stay\n",
    ],
)
def test_including_and_excluding_keeps_the_rest_to_the_byte(ssh: Path, before: bytes) -> None:
    (ssh / "config").write_bytes(before)
    sshconfig.include()
    assert (ssh / "config").read_bytes() == OURS + before
    assert sshconfig.is_included()
    sshconfig.exclude()
    assert (ssh / "config").read_bytes() == before
    assert not sshconfig.is_included()


def test_a_config_is_made_where_there_was_none_and_goes_again(ssh: Path) -> None:
    ssh.rmdir()
    sshconfig.include()
    assert (ssh / "config").read_bytes() == OURS
    assert stat.S_IMODE((ssh / "config").stat().st_mode) == 0o600
    assert stat.S_IMODE(ssh.stat().st_mode) == 0o700
    sshconfig.exclude()
    assert not (ssh / "config").exists()


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_mode_is_kept(ssh: Path, mode: int) -> None:
    (ssh / "config").write_text("Host gpu\n")
    (ssh / "config").chmod(mode)
    sshconfig.include()
    assert stat.S_IMODE((ssh / "config").stat().st_mode) == mode
    sshconfig.exclude()
    assert stat.S_IMODE((ssh / "config").stat().st_mode) == mode


@pytest.mark.parametrize("before", [b"Host gpu\n", b""])
def test_a_symbolic_link_stays_one(ssh: Path, before: bytes) -> None:
    """People keep their dotfiles in a repository."""
    dotfiles = ssh.parent / "dotfiles"
    dotfiles.mkdir()
    (dotfiles / "ssh-config").write_bytes(before)
    (ssh / "config").symlink_to(dotfiles / "ssh-config")
    sshconfig.include()
    assert (dotfiles / "ssh-config").read_bytes() == OURS + before
    sshconfig.exclude()
    assert (ssh / "config").is_symlink()
    assert (dotfiles / "ssh-config").read_bytes() == before


@pytest.mark.parametrize(
    ("config", "included"),
    [
        (f"{INCLUDE}\n", True),
        (f"# mine\n\n  {INCLUDE}  \nHost gpu\n", True),
        (f"AddKeysToAgent yes\n{INCLUDE}\n", True),
        ("include drc/config\nHost gpu\n", True),
        (f"Host gpu\n{INCLUDE}\n", False),
        (f"host gpu\n{INCLUDE}\n", False),
        (f"Host=gpu\n{INCLUDE}\n", False),
        (f"Match all\n{INCLUDE}\n", False),
        (f"# {INCLUDE}\n", False),
        ("Include other/config\n", False),
        ("", False),
    ],
)
def test_an_include_counts_above_the_first_host_only(
    ssh: Path, config: str, included: bool
) -> None:
    (ssh / "config").write_text(config)
    assert sshconfig.is_included() is included


def test_an_include_below_a_host_is_set_right(ssh: Path) -> None:
    (ssh / "config").write_text(f"Host gpu\n{INCLUDE}\n")
    sshconfig.include()
    assert sshconfig.is_included()


@pytest.mark.parametrize("config", [None, "Host gpu\n    Port 2222\n"])
def test_ssh_itself_finds_a_vessel_through_the_include(ssh: Path, config: str | None) -> None:
    if config:
        (ssh / "config").write_text(config)
    sshconfig.write_vessels([vessel("bert", "10.0.0.7", 22001)])
    sshconfig.include()
    # ssh reads the home of the password file, not $HOME: so it is told where the file is
    included = (ssh / "config").read_text().replace("drc/config", str(ssh / "drc" / "config"))
    (ssh / "check").write_text(included)
    said = subprocess.run(
        ["ssh", "-G", "-F", str(ssh / "check"), "bert"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {"hostname 10.0.0.7", "port 22001", "user ada", "stricthostkeychecking true"} <= set(
        said
    )
    assert "hostkeyalias bert.ada.drc" in said


def vessel(name: str, address: str | None = None, port: int | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "ssh": {
            "alias": name,
            "address": address,
            "port": port,
            "user": "ada",
            "host_key": f"ssh-ed25519 KEY-OF-{name}",
            "host_key_alias": f"{name}.ada.drc",
            "host_authorities": ["ssh-ed25519 AUTHORITY"],
        },
    }


def test_both_files_hold_the_vessels_that_have_an_address(ssh: Path) -> None:
    sshconfig.write_vessels(
        [vessel("otter", "10.0.0.7", 22002), vessel("waits"), vessel("bert", "127.0.0.1", 22001)]
    )
    assert (ssh / "drc" / "config").read_text() == sshconfig.HEADER + (
        "Host bert\n"
        "    HostName 127.0.0.1\n"
        "    Port 22001\n"
        "    User ada\n"
        "    HostKeyAlias bert.ada.drc\n"
        "    UserKnownHostsFile ~/.ssh/drc/known_hosts\n"
        "    StrictHostKeyChecking yes\n"
        "    KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org\n"
        "\n"
        "Host otter\n"
        "    HostName 10.0.0.7\n"
        "    Port 22002\n"
        "    User ada\n"
        "    HostKeyAlias otter.ada.drc\n"
        "    UserKnownHostsFile ~/.ssh/drc/known_hosts\n"
        "    StrictHostKeyChecking yes\n"
    )
    assert (ssh / "drc" / "known_hosts").read_text() == sshconfig.HEADER + (
        "@cert-authority *.ada.drc ssh-ed25519 AUTHORITY\n"
        "bert.ada.drc ssh-ed25519 KEY-OF-bert\notter.ada.drc ssh-ed25519 KEY-OF-otter\n"
    )
    for name in ("config", "known_hosts"):
        assert stat.S_IMODE((ssh / "drc" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((ssh / "drc").stat().st_mode) == 0o700


def test_a_vessel_that_went_is_gone_from_both_files(ssh: Path) -> None:
    sshconfig.write_vessels([vessel("bert", "127.0.0.1", 22001)])
    sshconfig.write_vessels([])
    assert (ssh / "drc" / "config").read_text() == sshconfig.HEADER
    assert (ssh / "drc" / "known_hosts").read_text() == sshconfig.HEADER
    assert sorted(path.name for path in (ssh / "drc").iterdir()) == ["config", "known_hosts"]


def test_a_key_of_ours_is_named_where_the_person_had_none(ssh: Path) -> None:
    assert sshconfig.public_keys() == [ssh / "drc" / "id_ed25519.pub"]
    sshconfig.write_vessels([vessel("bert", "10.0.0.7", 22001)])
    assert "    IdentityFile ~/.ssh/drc/id_ed25519\n" in (ssh / "drc" / "config").read_text()


def test_a_person_with_keys_keeps_using_them(ssh: Path) -> None:
    (ssh / "id_rsa.pub").write_text("ssh-rsa AAAA")
    (ssh / "id_ed25519.pub").write_text("ssh-ed25519 AAAA")
    assert sshconfig.public_keys() == [ssh / "id_ed25519.pub", ssh / "id_rsa.pub"]
    assert not (ssh / "drc" / "id_ed25519").exists()


def test_the_command_names_our_file_only_while_it_is_not_included(ssh: Path) -> None:
    assert sshconfig.command("bert") == ["ssh", "-F", str(ssh / "drc" / "config"), "bert"]
    sshconfig.include()
    assert sshconfig.command("bert") == ["ssh", "bert"]


def test_who_declined_is_not_asked_again(ssh: Path) -> None:
    sshconfig.our_folder().joinpath("no-include").touch()
    sshconfig.offer_include()
    assert not (ssh / "config").exists()


def test_without_a_terminal_the_line_is_added_and_said(
    ssh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sshconfig.offer_include()
    assert sshconfig.is_included()
    assert INCLUDE in capsys.readouterr().err
    sshconfig.offer_include()
    assert capsys.readouterr().err == ""
