"""Lines in logs: one each, with what they are about, and nothing that is secret."""

import logging
import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.start import Telling
from conductor.work import Work
from drc.errors import Misconfigured
from drc.log import (
    BOUND,
    LONGEST,
    Logfmt,
    begin,
    bound,
    bound_request,
    carried,
    is_request,
    value_of,
)


def line(msg: str, *words: object, **more: object) -> str:
    record = logging.LogRecord("conductor", logging.WARNING, "", 0, msg, words, None)
    record.__dict__.update(more)
    record.created, record.msecs = 1795968251.5, 500.0
    return Logfmt().format(record)


def parsed(text: str) -> dict[str, str]:
    """As a reader of logfmt finds it again."""
    pair = re.compile(r'([a-z]+)=("(?:[^"\\]|\\.)*"|[^\s"=\\]+)(?: |$)')
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        one = pair.match(text, at)
        assert one is not None, text[at:]
        found[one[1]], at = one[2], one.end()
    return found


def test_a_line_says_when_how_bad_who_and_what() -> None:
    said = line("start %s: %s", "bert", "no answer")
    assert said == (
        'time=2026-11-29T16:04:11.500Z level=warning logger=conductor msg="start bert: no answer"'
    )


def test_what_is_bound_stands_in_every_line_until_the_work_is_done() -> None:
    with bound(request="r1", vessel="bert", host=""):
        with bound(host="gpu1", vessel="otter"):
            assert line("x").endswith("msg=x request=r1 vessel=otter host=gpu1")
        assert line("x").endswith("msg=x request=r1 vessel=bert")
        assert bound_request() == "r1"
    assert line("x").endswith("msg=x")
    assert bound_request() is None


def test_another_thread_says_what_it_works_for_and_nothing_else_does() -> None:
    said: list[str | None] = []

    def work() -> None:
        said.append(bound_request())

    with bound(request="r1"):
        threads = [threading.Thread(target=carried(work)), threading.Thread(target=work)]
        for thread in threads:
            thread.start()
            thread.join()
    assert said == ["r1", None]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("bert", "bert"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "so"', r'"say \"so\""'),
        ("C:\\x", r'"C:\\x"'),
        ("one\ntwo\r\x1b[31m", r'"one\ntwo\r\u001b[31m"'),
        ("\u2028\u202e\x85\x7f", r'"\u2028\u202e\u0085\u007f"'),
        ("\ud800", r'"\ud800"'),
        ("Zoë", '"Zoë"'),
    ],
)
def test_values_are_quoted_where_they_must_be(text: str, value: str) -> None:
    assert value_of(text) == value


@given(st.text(), st.text())
def test_nobody_can_forge_a_line_or_a_key(name: str, text: str) -> None:
    with bound(vessel=name):
        said = line("%s", text)
    assert len(said.splitlines()) == 1
    assert set(parsed(said)) == {"time", "level", "logger", "msg"} | ({"vessel"} if name else set())


def test_a_traceback_is_one_value_of_the_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as failed:
        said = line("it broke", exc_info=(ValueError, failed, failed.__traceback__))
    assert len(said.splitlines()) == 1
    assert parsed(said)["error"] == r"""ValueError('two\\nlines')""".join('""')
    assert r"Traceback (most recent call last):\n  File \"" in said


def test_a_value_of_a_megabyte_is_cut_in_its_middle() -> None:
    said = value_of("begin" + "x" * 1_000_000 + "end")
    assert len(said) < LONGEST + 10
    assert said.startswith('"begin')
    assert said.endswith('end"')


@pytest.mark.parametrize(
    "secret",
    [
        "Bearer s3cr3t",
        "Authorization: Bearer  s3cr3t.s3cr3t",
        "postgresql://drc_api:s3cr3t@db:5432/drc",
        "eyJhbGciOiJFZERTQSJ9.s3cr3t.s3cr3t",
        "drc_pat_s3cr3t",
        "drc_refresh_s3cr3t",
        "xoxb-1-s3cr3t",
        "tskey-auth-s3cr3t",
    ],
)
def test_what_looks_like_a_secret_is_left_out(secret: str) -> None:
    said = value_of(f"before {secret} after")
    assert "s3cr3t" not in said
    assert said.startswith('"before ')
    assert said.endswith(' after"')


def test_an_address_without_a_password_stays_whole() -> None:
    assert value_of("http://127.0.0.1:8787/health") == "http://127.0.0.1:8787/health"


@pytest.mark.parametrize(
    ("id", "good"),
    [("a" * 32, True), ("01HZX7-abc", True), ("a" * 7, False), ("a" * 65, False), ("", False),
     ("a b c d e f", False), ("aaaaaaaa\n", False), ("ääääääääää", False), ("٣" * 10, False)],
)  # fmt: skip
def test_which_ids_of_others_are_taken(id: str, good: bool) -> None:
    assert is_request(id) is good


def test_a_level_that_is_none_is_a_sentence() -> None:
    with pytest.raises(Misconfigured, match="DRC_LOG_LEVEL is “loud”") as failed:
        begin({"DRC_LOG_LEVEL": "loud"})
    assert "debug, info, warning, error" in failed.value.hint


def test_what_a_start_tells_in_the_background_bears_its_request_and_nothing_later_does() -> None:
    said: list[object] = []
    tell = Telling()
    work = Work(1, "start", 1, 1, 1, host="gpu1", request="r1", name="bert", attempt=2)
    with work.bound():
        tell(lambda: said.append(dict(BOUND.get())))
        tell.finish()
    probe = Work(2, "probe", 1, 1, 1, host="gpu1")
    with probe.bound():
        said.append(dict(BOUND.get()))
    tell.close()
    about = {"request": "r1", "verb": "start", "host": "gpu1", "vessel": "bert", "attempt": "2"}
    assert said == [about, {"verb": "probe", "host": "gpu1"}]
