"""What Tab offers, asked as the shells ask it."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.wire.served import Api
from tests.wire.standin import StandIn
from tests.wire.terminal import Terminal


def tab(drc: Terminal, line: str) -> list[str]:
    """The words that bash is told for a line with the cursor at its end."""
    words = line.split()
    number = len(words) if line.endswith(" ") else len(words) - 1
    drc.more |= {"_DRC_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(number)}
    said = drc()
    assert (said.status, said.err) == (0, "")
    return said.out.split()


def zsh_tab(drc: Terminal, line: str) -> str:
    drc.more |= {"_DRC_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": line}
    return drc().out.strip()


@pytest.fixture
def vessels(api: Api, standin: StandIn) -> None:
    """bert runs, otter is reserved, wolf waits, old was buried; theirs is somebody else's."""
    api.create("old")
    api.create("bert")
    standin.run_once()
    api.raw("POST", "/v1/vessels/old/stop")
    standin.run_once()
    api.create("otter", gpus=2)
    api.create("wolf", gpus=4)
    api.create("theirs", subject="bob", gpus=0)


def test_vessels_are_offered_by_name(drc: Terminal, vessels: None) -> None:
    for verb in ("stop", "ssh", "code", "jupyter", "extend", "create --share"):
        assert sorted(tab(drc, f"drc {verb} ")) == ["bert", "otter", "wolf"], verb
    assert tab(drc, "drc stop be") == ["bert"]
    assert tab(drc, "drc stop x") == []
    assert sorted(tab(drc, "drc stop bert ")) == ["otter", "wolf"]
    assert tab(drc, "drc why-not ") == ["wolf"]


def test_those_that_ended_are_offered_where_they_can_be_looked_at(
    drc: Terminal, vessels: None
) -> None:
    for verb in ("logs", "show", "events"):
        assert tab(drc, f"drc {verb} ")[-1] == "old"
        assert len(tab(drc, f"drc {verb} ")) == 4


def test_a_shell_that_shows_them_gets_their_states(drc: Terminal, vessels: None) -> None:
    assert zsh_tab(drc, "drc stop b") == '_arguments \'*: :(("bert":"running"))\''
    assert '"a100":"1 of 4 free"' in zsh_tab(drc, "drc create --gpu ")
    assert '"default":"1 of 4 GPUs free"' in zsh_tab(drc, "drc create --queue ")
    assert '"gpu1":"open"' in zsh_tab(drc, "drc host show ")


def test_models_hosts_queues_and_keys_are_offered(drc: Terminal, api: Api, gpu7: str) -> None:
    assert tab(drc, "drc create --gpu ") == ["a100", "h100"]
    assert tab(drc, "drc create --gpu a100 --gpu h") == ["h100"]
    assert tab(drc, "drc create --queue ") == ["default", "big"]
    assert tab(drc, "drc create --host ") == ["gpu1", "gpu7"]
    for verb in ("show", "probe", "cordon", "uncordon", "drain", "set", "trust", "remove"):
        assert tab(drc, f"drc host {verb} ") == ["gpu1", "gpu7"], verb
    assert tab(drc, "drc host set gpu1 --queue ") == ["default", "big"]
    assert tab(drc, "drc host add new me@host --queue ") == ["default", "big"]
    assert tab(drc, "drc queue show ") == ["default", "big"]
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 42 + "B"
    for name in ("laptop", "two words"):
        key = key[:-2] + name[0].upper() + "B"
        api.raw("POST", "/v1/keys", {"key": key, "name": name})
    assert tab(drc, "drc key remove ") == ["laptop"]


def test_one_tab_is_one_question_at_most(drc: Terminal, api: Api, vessels: None) -> None:
    for line in ("drc stop ", "drc logs ", "drc create --gpu ", "drc host show ", "drc ex", "drc "):
        before = len(api.requests)
        tab(drc, line)
        assert len(api.requests) - before <= 1, line
    api.requests.clear()
    tab(drc, "drc create --")
    assert api.requests == []


def test_nothing_is_said_where_nothing_can_be_known(drc: Terminal, api: Api) -> None:
    drc.token = api.token(role="undertaker", subject="undertaker")
    assert tab(drc, "drc create --gpu ") == []
    for token in ("", "hello"):
        drc.token = token
        assert tab(drc, "drc stop ") == []
    folder = drc.home / ".config" / "drc"
    folder.mkdir(parents=True)
    (folder / "account.json").write_text("{")
    assert tab(drc, "drc stop ") == []
    for url in ("http://127.0.0.1:1", "nonsense", "http://["):
        drc.url = url
        assert tab(drc, "drc stop ") == [], url


def test_an_api_that_hangs_is_not_waited_for(drc: Terminal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        drc.url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        begun = time.monotonic()
        assert tab(drc, "drc stop ") == []
        assert time.monotonic() - begun < 5


def test_bash_completes_once_it_is_installed(drc: Terminal, vessels: None) -> None:
    """Installed by typer's own option, read by a real bash, which asks the real program."""
    programs = drc.home / "bin"
    programs.mkdir()
    (programs / "drc").symlink_to(Path(sys.executable).with_name("drc"))
    drc.more["PATH"] = f"{programs}:{drc.environment['PATH']}"
    line = ["bash", "--norc", "-c", "drc --install-completion; :"]  # not exec'd: it is the parent
    said = subprocess.run(line, env=drc.environment, capture_output=True, text=True, timeout=20)
    assert "bash completion installed" in said.stdout, said.stderr
    asks = """
    source ~/.bashrc
    COMP_WORDS=(drc stop b) COMP_CWORD=2
    "$(complete -p drc | sed 's/.*-F \\([^ ]*\\) .*/\\1/')" drc b stop
    echo "${COMPREPLY[@]}"
    """
    line = ["bash", "--norc", "-c", asks]
    said = subprocess.run(line, env=drc.environment, capture_output=True, text=True, timeout=20)
    assert (said.stdout, said.stderr) == ("bert\n", "")
