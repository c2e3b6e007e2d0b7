"""One story by the real programs: a new user, a machine, a vessel."""

import fcntl
import re
import threading
from pathlib import Path

from tests.acceptance.conftest import ROOT
from tests.acceptance.person import Person

Up = tuple[Person, str]


def test_make_up_ends_in_a_vessel_that_plain_ssh_enters(up: Up) -> None:
    person, said = up
    name = re.search(r"^  ssh (\S+) +your shell in it$", said, re.MULTILINE)
    assert name, said
    assert "its GPUs are simulated" in said
    assert f"drc code {name[1]}" in said
    assert f"drc jupyter {name[1]}" in said
    assert person.run(f"ssh {name[1]} 'echo $DRC_VESSEL'") == f"{name[1]}\n"
    person.run(f"drc stop {name[1]}")


def test_make_up_again_finds_everything_there(up: Up) -> None:
    person, _ = up
    said = person.run("make up ARGS=--no-vessel")
    assert "environment" not in said
    assert "images" not in said
    assert "drc create" in said


def test_who_brought_it_up_is_an_operator_and_stays_signed_in(up: Up) -> None:
    person, _ = up
    said = person.run("drc whoami")
    assert re.search(r"^roles +operator$", said, re.MULTILINE)
    assert "renewed by itself" in said
    account = "~/.config/drc/account.json"
    person.run(f'sed -i \'s/"expires_at": [0-9.]*/"expires_at": 1.0/\' {account}')
    before = person.run(f"cat {account}")
    person.run("drc list")
    assert person.run(f"cat {account}") != before


def test_a_drc_up_beside_another_says_so_and_waits_for_it(up: Up) -> None:
    person, _ = up
    with Path(person.env["STATE"], "run", "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as the other one has it
        process = person.start("drc up --no-vessel")
        assert process.stdout
        hangs = threading.Timer(60, process.kill)
        hangs.start()
        assert any("Another drc up or down is at work here" in line for line in process.stdout)
        hangs.cancel()
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said


def test_a_taken_port_is_said_with_one_that_is_free(up: Up, tmp_path: Path) -> None:
    person, _ = up
    port = re.search(r"--port (\d+)", person.env["ARGS"])
    assert port
    state = f"{person.env['STATE']}-second"
    said = person.run(f"drc up --state {state} --port {port[1]}", fails=5)
    assert f"Port {port[1]} of this machine is taken by another program." in said
    assert f"drc up --port {int(port[1]) + 1}" in said
    person.run(f"drc down --state {state} --clean")
    person.run("drc up --no-vessel")  # signs in again: the clean took the account


def test_no_engine_at_a_socket_is_said_and_nothing_is_begun(up: Up) -> None:
    person, _ = up
    state = f"{person.env['STATE']}-third"
    said = person.run(f"drc up --state {state} --docker-socket /nowhere.sock", fails=4)
    assert "No Docker Engine answers at /nowhere.sock." in said
    person.run(f"drc down --state {state} --clean")
    person.run("drc up --no-vessel")


def test_the_readme_transcript_runs_as_written(up: Up) -> None:
    """Its commands give its output, but for numbers, and the names of machine and person."""
    person, _ = up
    block = re.search(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block
    host = person.run("hostname -s").strip()[:30].lower()
    login = person.run(
        "drc create sir --no-wait --gpus 0 >/dev/null; drc list --json | grep -m1 owner"
    )
    person.run("drc stop sir")
    login = re.findall(r'"owner": "(.*?)"', login)[0]
    for entry in filter(None, block[1].split("$ ")):
        command, _, expected = entry.partition("\n")
        said = person.run(command)
        assert shape(said) == shape(expected.replace("gpu7", host).replace("ada", login)), command


def shape(text: str) -> list[str]:
    text = re.sub(r"\d+(\.\d+)?", "N", text)
    text = re.sub(r"\b(N (s|min)|Nd( Nh)?)\b", "SPAN", text)
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_home_is_there_again_and_ssh_never_asks(up: Up) -> None:
    person, _ = up
    person.run("drc create bert")
    person.run("echo results > notes && scp -q notes bert:")
    before = person.run("ssh-keygen -F bert.$(ssh bert whoami).drc -f ~/.ssh/drc/known_hosts")
    person.run("drc stop bert && drc create bert")
    assert person.run("ssh -o BatchMode=yes bert cat notes") == "results\n"
    after = person.run("ssh-keygen -F bert.$(ssh bert whoami).drc -f ~/.ssh/drc/known_hosts")
    assert before.split()[-1] == after.split()[-1]
    person.run("drc stop bert")


def test_vessels_go_on_while_drc_is_down(up: Up) -> None:
    person, _ = up
    person.run("drc create bert")
    assert "1 vessels go on" in person.run("make down")
    assert person.run("ssh bert echo here") == "here\n"
    said = person.run("drc list", fails=4)
    assert "does not answer" in said
    assert "drc up" in said
    person.run("drc up --no-vessel")
    assert "running" in person.run("drc list")
    person.run("drc stop bert")


def test_jupyter_is_reached_through_ssh(up: Up) -> None:
    person, _ = up
    person.run("drc create bert")
    said = person.run(
        "drc jupyter bert --no-browser > url 2>/dev/null & "
        "until [ -s url ]; do sleep 0.1; done; "
        "curl -s -o /dev/null -w '%{http_code}\\n' $(sed 's,/lab,/api/status,' url); "
        "curl -s -o /dev/null -w '%{http_code}\\n' $(sed 's,/lab.*,/api/status,' url); kill %1"
    )
    assert said.split() == ["200", "403"]
    person.run("drc stop bert")


def test_any_image_of_debian_becomes_a_vessel(up: Up) -> None:
    """The real recipe, in a vessel's network and with a vessel's capabilities."""
    person, _ = up
    person.run("drc create bert --gpus 0 --image drc/base:bookworm")
    assert person.run("ssh -o BatchMode=yes bert 'echo $DRC_VESSEL'") == "bert\n"
    assert "layer on drc/base:bookworm" in person.run("drc image list")
    person.run("drc stop bert")
    said = person.run("drc create ernie --like bert")
    assert "building" not in said
    person.run("drc stop ernie")


def test_a_day_of_an_idle_vessel(up: Up) -> None:
    """Real rounds on a real Prometheus of `drc up`'s own, until a real vessel is really buried."""
    person, _ = up
    said = person.run("make demo-idle")
    order = ["busy until", "napping is idle", "clicks on", "napping is idle",
             "napping is buried soon", "napping was buried"]  # fmt: skip
    at = 0
    for words in order:
        at = said.index(words, at) + 1
    wanted = "until drc events napping | grep -q buried; do sleep 0.3; done; drc list --ended"
    assert "buried" in person.run(wanted)
    assert "napping" in person.run("drc create napping --from napping --gpus 0 && drc list")
    person.run("drc stop napping")
    person.run("drc up --no-metrics --no-vessel")
