"""What people get wrong: a sentence on stderr, the right exit status, and no more."""

import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from drc.secret import openssh_private, openssh_public
from tests.wire import page
from tests.wire.served import Api
from tests.wire.terminal import Terminal
from tests.wire.warm import Said, Warm

CREATE = ("create", "bert", "--no-wait")


def check(said: Said, status: int, *sentences: str) -> None:
    assert (said.status, said.out) == (status, ""), said
    for sentence in sentences:
        assert sentence in said.err
    assert "Traceback" not in said.err
    assert "bug in drc" not in said.err


WISHES: list[tuple[tuple[str, ...], list[str]]] = [
    (("--gpu", "b9000"), ["No host has any b9000.", "There are: a100"]),
    (("--gpu", ""), ["There are: a100"]),
    (("--gpus", "5"), ["No host has 5 × GPU.", "4 × a100"]),
    (("--gpus", "-1"), ["-1 is not a number of GPUs"]),
    (("--gpus", "1000000000"), ["1000000000 is not a number of GPUs"]),
    (("--gpus", "9" * 30), ["is not a number of GPUs"]),
    (("--gpu-memory", "90GB"), ["No GPU has", "a100, has 80 GB"]),
    (("--gpus", "0", "--gpu", "a100"), ["No GPU is asked for"]),
    (("--memory", "40"), ["“40” is not an amount of memory", "40GB"]),
    (("--memory", "lots"), ["“lots” is not an amount of memory", "40GB"]),
    (("--gpu-memory", "40"), ["“40” is not an amount of memory"]),
    (("--shm", "much"), ["“much” is not an amount of memory"]),
    (("--memory", "4TB"), ["of memory.", "The most is"]),
    (("--cpus", "0"), ["0 is not a number of CPUs"]),
    (("--cpus", "nan"), ["is not a number of CPUs"]),
    (("--cpus", "100"), ["No host that would do has 100 CPUs."]),
    (("--lifetime", "forever"), ["“forever” is not a lifetime", "2d"]),
    (("--lifetime", "0d"), ["at most 90 days"]),
    (("--lifetime", "1000d"), ["at most 90 days"]),
    (("--host", "gpu9"), ["There is no host called gpu9.", "drc host list"]),
    (("--image", "--privileged"), ["is not the name of an image"]),
    (("--env", "K"), ["“K” has no value", "--env K=VALUE"]),
    (("--env", "=x"), ["is not the name of a variable"]),
    (("--env", "NVIDIA_VISIBLE_DEVICES=all"), ["NVIDIA_VISIBLE_DEVICES is set by drc"]),
    (("--env", "A=one\ntwo"), ["A has a line break"]),
]


def test_a_wish_that_cannot_be_is_a_sentence(drc: Terminal, api: Api, host: int) -> None:
    for words, sentences in WISHES:
        check(drc(*CREATE, *words), 1, *sentences)
    with api.client() as client:
        assert client.call("GET", "/v1/vessels", params={"ended": True}) == []


NAMES = [
    ("bärt", "letters that SSH"),
    ("x" * 41, "41 characters"),
    ("Bert", "capital letters"),
    ("-bert", "begin with a letter"),
    ("", "begin with a letter"),
    ("be rt", "hold a-z"),
    ("../../etc", "begin with a letter"),
]


def test_a_bad_name_is_a_sentence(drc: Terminal, host: int) -> None:
    for name, sentence in NAMES:
        check(drc("create", "--no-wait", "--", name), 1, sentence, "bert-2")


def test_a_name_like_an_option_is_a_usage_error(drc: Terminal, api: Api) -> None:
    check(drc("create", "-bert"), 2, "No such option")
    check(drc("create", "--gpus", "two"), 2, "Invalid value for '--gpus'")
    check(drc("created"), 2, "created")
    assert api.requests == []


def test_a_name_that_is_taken_says_what_can_be_done(drc: Terminal, api: Api, host: int) -> None:
    api.create("bert")
    check(drc(*CREATE), 1, "a living vessel called bert", "drc ssh bert", "drc stop bert")


NO_NAMES = ["", "a/b", "bert?x", "bert#x", "..", "%00", "bert/jupyter", "ü", "\x7f"]


def test_an_unknown_vessel_is_a_sentence(drc: Terminal, host: int) -> None:
    for verb in ("show", "stop", "logs", "events", "ssh", "code", "jupyter"):
        check(drc(verb, "nobody"), 1, "You have no vessel called nobody.", "drc list")


def test_what_is_no_name_finds_no_vessel_and_no_other_page(
    drc: Terminal, api: Api, host: int
) -> None:
    api.create("bert")
    for name in NO_NAMES:
        for verb in ("show", "stop"):
            check(drc(verb, name), 1, "no vessel called")
    assert api.show("bert")["state"] == "reserved"


@pytest.fixture
def nowhere() -> str:
    """An address where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize(
    "words", ["list", "create", "stop bert", "key list", "events", "events -f"]
)
def test_an_api_that_does_not_run_says_how_to_start_it(
    tmp_path: Path, warm: Warm, nowhere: str, words: str
) -> None:
    said = Terminal(tmp_path, nowhere, "token", warm)(*words.split())
    check(said, 4, f"The API at {nowhere} does not answer.", "drc up")


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://x", "http://[", "http://x:99999999"])
def test_an_address_that_is_none_is_a_sentence(tmp_path: Path, warm: Warm, url: str) -> None:
    check(Terminal(tmp_path, url, "token", warm)("list"), 4)


def test_something_else_at_the_address_is_a_sentence(
    tmp_path: Path, warm: Warm, elsewhere: str
) -> None:
    for words in (["list"], ["events"]):
        check(Terminal(tmp_path, elsewhere, "token", warm)(*words), 4, "not as drc does")


@pytest.fixture
def elsewhere(tmp_path: Path) -> object:
    """Another web server."""
    with page.answering(b"<html>It works!</html>") as url:
        yield url


def test_who_is_not_signed_in_is_told_how(drc: Terminal, api: Api) -> None:
    drc.token = ""
    check(drc("list"), 1, "You are not signed in.", "drc up")
    assert api.requests == []


def test_an_expired_token_is_a_sentence(drc: Terminal, api: Api) -> None:
    drc.token = api.token(life=-timedelta(hours=1))
    check(drc("list"), 1, "Your sign-in has run out.", "drc up")


def test_a_damaged_token_is_a_sentence(drc: Terminal) -> None:
    for token in ("hello", "a.b.c", "ü", "a\nb"):
        drc.token = token
        check(drc("list"), 1, "not valid")


def test_a_conductors_token_is_no_persons(drc: Terminal, api: Api) -> None:
    drc.token = api.token("conductor:x", "conductor")
    check(drc("list"), 1, "vessels:read")


PRIVATE = openssh_private(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
PUBLIC = openssh_public(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
BODY = PRIVATE.splitlines()[2]


def pasted(drc: Terminal) -> Said:
    return drc("key", "add", PRIVATE)


def piped(drc: Terminal) -> Said:
    return drc("key", "add", "-", stdin=PRIVATE)


def named(drc: Terminal) -> Said:
    (drc.home / "id_ed25519").write_text(PRIVATE)
    return drc("key", "add", str(drc.home / "id_ed25519"))


@pytest.mark.parametrize("way", [pasted, piped, named])
def test_a_private_key_is_refused_here_and_never_sent(
    drc: Terminal, api: Api, way: Callable[[Terminal], Said]
) -> None:
    said = way(drc)
    check(said, 1, "That is a private key.", ".pub")
    assert BODY not in said.err
    assert api.requests == []
    assert drc("key", "add", PUBLIC).status == 0  # a public one does arrive there
    assert api.requests == ["POST /v1/keys"]


NO_KEYS = [
    ("/nonexistent.pub", "/nonexistent.pub cannot be read"),
    ("/etc", "/etc cannot be read"),
    ("ssh-ed25519 AAAA", "does not match its type"),
    (PUBLIC[:-4], "does not match its type"),
    (BODY, "cannot be read"),
]


def test_what_is_no_key_is_a_sentence(drc: Terminal, api: Api) -> None:
    for key, sentence in NO_KEYS:
        check(drc("key", "add", key), 1, sentence)
    assert api.requests == []


def test_a_key_that_is_not_there_cannot_be_removed(drc: Terminal, api: Api) -> None:
    check(drc("key", "remove", "laptop"), 1, "You have no key called laptop.", "drc key list")


def test_a_damaged_account_file_is_a_sentence(drc: Terminal) -> None:
    folder = drc.home / ".config" / "drc"
    folder.mkdir(parents=True)
    (folder / "account.json").write_text("{")
    check(drc("list"), 5, "account.json cannot be read", "drc up")
