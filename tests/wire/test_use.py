"""What GPUs and vessels do: a real Prometheus with a written past, and its bad days."""

import http.server
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest

from drc.api import measured
from drc.api.measured import Measured
from drc.db import Database
from tests.fleets import run_sql
from tests.wait import PATIENCE
from tests.wire.history import prometheus
from tests.wire.served import Api
from tests.wire.standin import StandIn
from tests.wire.terminal import PROGRAM, Terminal

HOUR = timedelta(hours=1)
BLANK = 9223372036854775794.0
ONE, TWO, SLICE = 'UUID="GPU-one"', 'UUID="GPU-two"', 'UUID="GPU-cut",GPU_I_ID="3"'
BERT = 'vessel="bert",owner="ada",host="gpu1"'
MORE = {
    f"DCGM_FI_DEV_FB_USED{{{ONE}}}": 61_000.0,
    f'DCGM_FI_DEV_FB_USED{{{ONE},hpc_job="7"}}': 61_000.0,  # the same, for a job
    f"DCGM_FI_DEV_FB_USED{{{SLICE}}}": 900.0,
    f'DCGM_FI_DEV_POWER_USAGE{{{ONE},Hostname="gpu1"}}': 412.5,
    f"DCGM_FI_DEV_POWER_USAGE{{{TWO}}}": BLANK,
    'DCGM_FI_DEV_POWER_USAGE{UUID="GPU-cut"}': 300.0,
    f'DCGM_FI_DEV_GPU_TEMP{{{ONE},hostname="gpu1"}}': 61.0,
    f"DCGM_FI_DEV_GPU_TEMP{{{TWO}}}": float("nan"),
    'DCGM_FI_DEV_GPU_TEMP{UUID="GPU-cut"}': 55.0,
    f"DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{SLICE}}}": 0.25,
    'DCGM_FI_PROF_GR_ENGINE_ACTIVE{UUID="GPU-cut",GPU_I_ID="4"}': 1.0,
    f'drc_vessel_memory_bytes{{{BERT},instance="a"}}': 3.0 * 2**30,
    f'drc_vessel_memory_bytes{{{BERT},instance="b"}}': 3.0 * 2**30,  # another conductor
    'drc_vessel_memory_bytes{vessel="bert",owner="bob",host="gpu1"}': 99.0 * 2**30,
}
RATES = {"cpu_seconds": 5.5, "network_receive_bytes": 2e6, "network_transmit_bytes": 1e3}
EMPTY = {"status": "success", "data": {"resultType": "vector", "result": []}}


@cache
def now() -> datetime:
    """When the first test of these began; other files' may have taken a quarter of an hour."""
    return datetime.now(UTC).replace(microsecond=0)


def grows(per_second: float) -> Any:
    return lambda at: per_second * (at - now() + 8 * HOUR).total_seconds()


@pytest.fixture(scope="module")
def past() -> Iterator[str]:
    """GPU-one was busy since two hours, GPU-two always; a sample a minute, to the last one."""
    gpus = {"GPU-one": lambda at: 93 if at > now() - 2 * HOUR else 0, "GPU-two": lambda at: 40}
    more: dict[str, Any] = {name: lambda at, value=value: value for name, value in MORE.items()}
    for name, rate in RATES.items():
        more[f'drc_vessel_{name}_total{{{BERT},instance="a"}}'] = grows(rate)
        more[f'drc_vessel_{name}_total{{{BERT},instance="b"}}'] = grows(rate)
    with prometheus(gpus, now() - 8 * HOUR, now() + 10 * timedelta(minutes=1), more) as url:
        yield url


@pytest.fixture
def bert(api: Api, standin: StandIn, db: Database) -> str:
    """It has GPU-one and a slice since this morning."""
    id = str(api.create("bert", gpus=2)["id"])
    standin.run_once()
    rename(db, 0, "uuid = 'GPU-one'")
    rename(db, 1, "uuid = 'MIG-3', parent = 'GPU-cut', instance = 3, memory_mib = 9984")
    rename(db, 2, "uuid = 'GPU-two'")
    run_sql(db, "UPDATE held SET from_at = %s RETURNING 1", now() - 12 * HOUR)
    run_sql(db, "UPDATE vessel SET created_at = %s RETURNING 1", now() - 12 * HOUR)
    return id


def rename(db: Database, index: int, what: str) -> None:
    run_sql(db, f"UPDATE gpu SET {what} WHERE idx = {index} RETURNING id")


def use(api: Api, path: str = "/v1/vessels/bert/use", **more: Any) -> dict[str, Any]:
    answer = api.raw("GET", path, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
def told(api: Api, past: str) -> Iterator[Measured]:
    api.context.measured = Measured(past)
    yield api.context.measured
    api.context.measured.close()


def test_a_vessel_is_shown_with_what_it_uses_now(api: Api, bert: str, told: Measured) -> None:
    found = use(api)
    assert (found["measured"], found["why"]) == (True, None)
    one, part = found["gpus"]
    names = ("uuid", "utilisation", "memory_used_mib", "memory_mib", "power_w", "temperature_c")
    assert [one[name] for name in names] == ["GPU-one", 93, 61_000, 81_920, 412.5, 61]
    assert [part[name] for name in names] == ["MIG-3", 25, 900, 9984, None, 55]
    assert found["cpus_used"] == pytest.approx(5.5)
    assert found["memory_used_mib"] == 3072
    assert found["received_bytes_per_s"] == pytest.approx(2e6)
    assert found["sent_bytes_per_s"] == pytest.approx(1e3)


def test_the_last_six_hours_are_24_quarters_of_an_hour(api: Api, bert: str, told: Measured) -> None:
    one, part = (gpu["hours"] for gpu in use(api)["gpus"])
    assert len(one) == len(part) == 24
    assert one[:15] == [0] * 15
    assert one[-7:] == [pytest.approx(93)] * 7
    assert part == [pytest.approx(25)] * 24


def test_what_a_gpu_did_for_another_before_is_not_shown(
    api: Api, bert: str, told: Measured, db: Database
) -> None:
    run_sql(db, "UPDATE held SET from_at = %s RETURNING 1", now() - HOUR)
    one, part = (gpu["hours"] for gpu in use(api)["gpus"])
    assert [hour is None for hour in one] == [hour is None for hour in part]
    assert 19 <= [hour is None for hour in one].index(False) <= 21


def test_the_fleet_is_shown_with_who_holds_what(api: Api, bert: str, told: Measured) -> None:
    found = use(api, "/v1/use", token=api.token("bob"))
    (host,) = found["hosts"]
    assert (host["host"], host["open"], host["queues"]) == ("gpu1", True, ["default"])
    shown = [
        (gpu["uuid"], gpu["vessel"], gpu["owner"], gpu["utilisation"], gpu["power_w"],
         gpu["temperature_c"])
        for gpu in host["gpus"]
    ]  # fmt: skip
    assert shown == [
        ("GPU-one", "bert", "ada", 93, 412.5, 61),
        ("MIG-3", "bert", "ada", 25, None, 55),
        ("GPU-two", None, None, 40, None, None),  # blank and NaN: nobody knows
        ("GPU-gpu1-3", None, None, None, None, None),
    ]


def test_many_who_look_at_once_ask_prometheus_once(api: Api, bert: str, told: Measured) -> None:
    for _ in range(3):
        use(api, "/v1/use")
    assert told.prometheus.queries == 1


def test_anothers_vessel_is_not_there(api: Api, bert: str, told: Measured) -> None:
    answer = api.raw("GET", "/v1/vessels/bert/use", token=api.token("bob"))
    assert answer.json()["code"] == "no-such-vessel"


def test_one_that_ended_uses_nothing(api: Api, bert: str, told: Measured, standin: StandIn) -> None:
    api.raw("POST", "/v1/vessels/bert/stop")
    standin.run_once()
    assert use(api)["gpus"] == []


def test_where_nothing_is_measured_the_books_are_shown(api: Api, bert: str) -> None:
    found = use(api)
    assert (found["measured"], found["why"]) == (False, None)
    assert [gpu["uuid"] for gpu in found["gpus"]] == ["GPU-one", "MIG-3"]
    assert found["gpus"][0]["utilisation"] is None
    assert use(api, "/v1/use")["hosts"][0]["gpus"][0]["vessel"] == "bert"


# Bad days ----------------------------------------------------------------------------------------


class Sick:
    """A Prometheus that answers each query with what it is told to; None: never."""

    def __init__(self, answer: object) -> None:
        self.asked = 0
        self.ended = threading.Event()
        sick = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sick.asked += 1
                self.rfile.read(int(self.headers["Content-Length"]))
                if answer is None:
                    sick.ended.wait()
                    return
                body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def sick(api: Api) -> Iterator[Any]:
    made: list[Any] = []

    def of(answer: object) -> Sick:
        server = Sick(answer)
        api.context.measured = Measured(server.url)
        api.context.measured.prometheus.http.timeout = 0.2
        made.extend([server, api.context.measured])
        return server

    yield of
    for one in made:
        one.close()


BROKEN: dict[str, tuple[object, str]] = {
    "silent": (None, "Prometheus does not answer"),
    "garbage": (b"<html>", "not as Prometheus does"),
    "another program": ({"status": "success"}, "not as Prometheus does"),
    "a list": ([1], "not as Prometheus does"),
    "refused": (
        {"status": "error", "errorType": "execution", "error": "too many samples"},
        "Prometheus refused: too many samples",
    ),
}


@pytest.mark.parametrize("day", BROKEN)
@pytest.mark.parametrize("path", ["/v1/vessels/bert/use", "/v1/use"])
def test_on_a_bad_day_the_books_are_shown_with_a_sentence(
    api: Api, bert: str, sick: Any, day: str, path: str
) -> None:
    answer, sentence = BROKEN[day]
    server = sick(answer)
    found = use(api, path)
    assert found["measured"] is False
    assert sentence in found["why"]
    assert "GPU-one" in json.dumps(found)
    asked = server.asked
    assert use(api, path)["why"] == found["why"]  # at once: whoever is ill is left alone a while
    assert server.asked == asked


def test_nobody_at_the_door_is_a_bad_day_too(api: Api, bert: str, sick: Any) -> None:
    sick(EMPTY).close()
    assert "Prometheus does not answer" in use(api)["why"]


def test_one_that_is_well_again_is_asked_again(api: Api, bert: str, told: Measured) -> None:
    told.silent_until, told.trouble = float("inf"), "It was ill."
    assert use(api)["why"] == "It was ill."
    told.silent_until = 0.0
    assert use(api)["measured"] is True


def test_an_empty_answer_is_an_answer(api: Api, bert: str, sick: Any) -> None:
    sick(EMPTY)
    found = use(api)
    assert (found["measured"], found["cpus_used"]) == (True, None)
    assert found["gpus"][0]["utilisation"] is None
    assert found["gpus"][0]["hours"] == [None] * 24


def test_a_warning_takes_nothing_from_the_answer(
    api: Api, bert: str, sick: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sample = {
        "metric": {"__name__": "DCGM_FI_DEV_GPU_UTIL", "UUID": "GPU-one"},
        "value": [now().timestamp(), "93"],
    }
    histogram = {"metric": {"UUID": "GPU-one"}, "histogram": [now().timestamp(), {"count": "1"}]}
    data = {"resultType": "vector", "result": [sample, histogram]}
    sick({"status": "success", "data": data, "warnings": ["one replica is away"]})
    (host,) = use(api, "/v1/use")["hosts"]
    assert host["gpus"][0]["utilisation"] == 93
    assert "Prometheus warns: one replica is away" in caplog.text


def test_names_cannot_leave_the_query(told: Measured) -> None:
    """UUIDs come from hosts."""
    assert told.of_gpus(['GPU"} or up{x="', "GPU-.*", "GPU\\"]) == {}
    assert told.of_vessel('x"} or vector(1) or up{x="', "ada\\", "gpu1\n") == {}
    assert measured.cards(["GPU-1/3", "GPU-1/4"]) == '"GPU\\\\-1"'


# At a terminal -----------------------------------------------------------------------------------


def test_show_has_a_part_that_says_what_goes_on(drc: Terminal, bert: str, told: Measured) -> None:
    said = drc("show", "bert").out
    begin = said.index("now  ")
    assert [line.split() for line in said[begin:].splitlines()] == [
        ["now", "gpu", "use", "memory", "power", "heat", "the", "last", "6", "h"],
        ["0", "93", "%", "60/80", "GiB", "412", "W", "61", "°C", "▁" * 15 + said_of(said)],
        ["1", "25", "%", "1/10", "GiB", "-", "55", "°C", "▃" * 24],
        ["5.5", "of", "30.4", "CPUs", "·", "3", "GiB", "of", "237.5", "GiB"],
        ["network", "2", "MB/s", "in,", "1", "kB/s", "out"],
    ]
    assert all(len(line) <= 80 for line in said[begin:].splitlines())
    assert drc("show", "bert", "--live").out.splitlines()[0] == "vessel    bert of ada"


def said_of(said: str) -> str:
    """What the two quarters are that lie across the beginning of work is a matter of the clock."""
    (line,) = [line for line in said.splitlines() if "412 W" in line]
    assert line.endswith("█" * 7)
    return line[-9:]


def test_show_is_quiet_where_nothing_is_measured_and_says_what_does_not_answer(
    drc: Terminal, bert: str, sick: Any
) -> None:
    assert "now  " not in drc("show", "bert").out
    sick(BROKEN["refused"][0])
    assert "now       Prometheus refused: too many samples" in drc("show", "bert").out


@pytest.mark.parametrize(
    ("words", "row"),
    [
        ([], "gpu1  █▃□□   2/4  59 %"),
        (["--by", "owner"], "ada    █▃     2/2  59 %"),
        (["--by", "queue"], "default  █▃□□   2/4  59 %"),
    ],
)
def test_top_shows_the_fleet(
    drc: Terminal, bert: str, told: Measured, words: list[str], row: str
) -> None:
    said = drc("top", *words)
    assert said.status == 0, said.err
    assert said.out.splitlines()[0] == "2 of 4 GPUs are held · 2 free · 59 % busy"
    assert said.out.splitlines()[3].startswith(row)


def test_top_in_json_is_what_the_api_says(drc: Terminal, bert: str, told: Measured) -> None:
    found = json.loads(drc("top", "--json").out)
    assert found["hosts"][0]["gpus"][0]["utilisation"] == 93


@pytest.mark.parametrize("words", ["top", "show bert --live"])
def test_on_a_terminal_it_goes_on_until_ctrl_c(
    drc: Terminal, bert: str, told: Measured, words: str
) -> None:
    """And what was seen last stays."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (24, 80))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words.split()], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**drc.environment, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"},
    )  # fmt: skip
    os.close(theirs)
    again = threading.Timer(PATIENCE / 3, process.send_signal, [signal.SIGINT])
    try:
        read_until(ours, b"\x1b[?1049h")  # the other screen of terminals
        read_until(ours, b"93 %" if "show" in words else b"2/4")
        again.start()  # Python drops one that comes while an object is finalized
        process.send_signal(signal.SIGINT)
        left = read_until(ours, None)
        assert process.wait(20) == 130
        _, _, after = left.rpartition(b"\x1b[?1049l")
        assert b"bert" in after or b"gpu1" in after
    finally:
        again.cancel()
        process.kill()
        process.wait()
        os.close(ours)


def read_until(terminal: int, text: bytes | None) -> bytes:
    """None: to its end."""
    read, deadline = b"", time.monotonic() + PATIENCE
    while text is None or text not in read:
        ready, _, _ = select.select([terminal], [], [], max(deadline - time.monotonic(), 0))
        assert ready, f"{text!r} did not come in {read[-2000:]!r}"
        try:
            read += os.read(terminal, 65536)
        except OSError:  # nobody is at the other end
            assert text is None, read
            return read
    return read
