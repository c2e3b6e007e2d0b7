"""Traces: one for each request, under its id, through every program; and who is held up by none."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from conductor.main import Conductor
from conductor.reach.local import Local
from conductor.work import Work
from drc import otel, trace
from drc.db import Database
from drc.errors import StaleAttempt, StartFailed
from drc.log import HEADER, bound
from drc.up.postgres import Postgres
from tests.fleets import run_sql
from tests.wait import wait_until
from tests.wire.collector import Collector, collecting
from tests.wire.served import Api
from tests.wire.standin import HOST_KEY, StandIn

MINE = "0f0e0d0c0b0a09080706050403020100"
OTHER = "00112233445566778899aabbccddeeff"
RUN = "POST /v1/conduct/vessels/{id}/{attempt}/run"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")  # seconds, in which it tries again
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield collector


@pytest.fixture
def traced(collector: Collector) -> Iterator[Collector]:
    trace.begin("drc-test")
    yield collector
    trace.end()


def gather(collector: Collector, *traces: str) -> None:
    """Until the API's part of these has come, which ends only after its answer is out."""

    def told() -> set[str]:
        return {span.trace for span in collector.spans if span.name.endswith("/v1/vessels")}

    wait_until(lambda: told() >= set(traces), "the spans come")
    flush()


def flush() -> None:
    assert trace.tracing is not None
    trace.tracing.provider.force_flush()


def test_a_create_is_one_trace_of_all_who_work_for_it_under_the_id_of_its_request(
    traced: Collector, api: Api, standin: StandIn, db: Database
) -> None:
    api.raw("POST", "/v1/vessels", {"name": "bert"}, headers={HEADER: MINE})
    standin.run_once()
    wait_until(lambda: traced.named(RUN), "the API's last part comes")
    gather(traced, MINE)
    assert run_sql(db, "SELECT DISTINCT request FROM event") == [{"request": MINE}]
    found = [span for span in traced.spans if span.trace == MINE]
    by_name = {span.name: span for span in found}
    create, start = by_name["POST /v1/vessels"], by_name["start"]
    assert (create.parent, start.parent) == ("", "")
    assert by_name["reserve_vessel"].parent == create.id
    told = [span for span in found if "/v1/conduct/" in span.name]
    assert by_name[RUN] in told
    assert {span.parent for span in told} == {start.id}
    assert create.said["http.route"] == "/v1/vessels"
    assert create.said["http.response.status_code"] == 201
    assert by_name["reserve_vessel"].said["drc.state"] == "reserved"
    assert start.said["drc.vessel"] == "bert"
    assert start.said["drc.host"] == "gpu1"
    assert {span.said["drc.request"] for span in found} == {MINE}
    assert {span.program for span in found} == {"drc-test"}
    assert not [span for span in found if span.failed is not None]


def test_one_that_waited_is_placed_in_the_trace_of_its_create(
    traced: Collector, api: Api, standin: StandIn
) -> None:
    api.create("first", gpus=4)
    standin.run_once()
    api.raw("POST", "/v1/vessels", {"name": "bert", "gpus": 4}, headers={HEADER: MINE})
    api.raw("POST", "/v1/vessels/first/stop", headers={HEADER: OTHER})
    standin.run_once()

    def states() -> list[str]:
        return [s.said["drc.state"] for s in traced.named("reserve_vessel") if s.trace == MINE]

    wait_until(lambda: "reserved" in states(), "it is placed")
    assert states()[0] == "queued"
    assert "first" in [span.said["drc.vessel"] for span in traced.named("stop")]


def test_a_work_has_its_steps_below_it_and_says_in_which_it_broke_off(traced: Collector) -> None:
    work = Work(1, "start", 1, 1, 2, host="gpu1", request=MINE, name="bert", attempt=1)
    with work.bound():
        work.begin("berth")
        with trace.span("inner"):
            pass
        work.begin("image")
        work.break_off(StartFailed("no such image at https://me:s3cr3t@registry, \ud800"))
        trace.note(outcome="again")
    again = Work(2, "stop", 1, 1, 1, host="gpu1", request=OTHER)
    with again.bound():
        again.begin("containers")
        again.break_off(StaleAttempt())
    trace.end()
    found = traced.of(MINE)
    start = found["start"]
    assert found["berth"].parent == found["image"].parent == start.id
    assert found["inner"].parent == found["berth"].id
    assert found["berth"].failed is None
    assert start.failed == found["image"].failed
    assert start.failed == "no such image at https://me:[REDACTED]@registry, ?"
    assert start.said["error.type"] == StartFailed("").code
    assert start.said["drc.tries"] == 2
    assert start.said["drc.outcome"] == "again"
    stop, containers = traced.of(OTHER)["stop"], traced.of(OTHER)["containers"]
    assert (stop.failed, containers.failed) == (None, None)
    assert containers.parent == stop.id


def test_a_conductor_says_what_came_of_its_work(
    traced: Collector, api: Api, standin: StandIn, db: Database, tmp_path: Path
) -> None:
    """The real one, at a host that nobody is at."""
    key = tmp_path / "key"
    paramiko.ECDSAKey.generate().write_private_key_file(str(key))
    api.raw("POST", "/v1/vessels", {"name": "bert"}, headers={HEADER: MINE})
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        port = nobody.getsockname()[1]
        door = "UPDATE host SET ssh_address = '127.0.0.1', ssh_port = %s, ssh_host_key = %s"
        run_sql(db, door, port, HOST_KEY)
        conductor = Conductor(standin.db, standin.tell, key, "drc/net:test", 0, None, Local())
        try:
            assert conductor.run_once() == 1
        finally:
            for pool in (conductor.workers, conductor.lookers, conductor.readers):
                pool.shutdown()
    gather(traced, MINE)
    (start,) = traced.named("start")
    assert (start.trace, start.said["drc.outcome"]) == (MINE, "again")
    assert "does not answer" in (start.failed or "")
    (berth,) = traced.named("berth")
    assert (berth.parent, berth.failed) == (start.id, start.failed)


def test_a_refusal_is_no_failure_and_a_bug_is(traced: Collector, api: Api, host: int) -> None:
    api.create("bert")
    api.raw("POST", "/v1/vessels", {"name": "bert"}, headers={HEADER: MINE})
    api.context.capacity = None  # type: ignore[assignment]
    api.raw("POST", "/v1/vessels", {"name": "otter"}, headers={HEADER: OTHER})
    gather(traced, MINE, OTHER)
    refused, broken = traced.of(MINE), traced.of(OTHER)
    assert refused["POST /v1/vessels"].said["http.response.status_code"] == 409
    assert refused["reserve_vessel"].said["error.type"] == "name-taken"
    assert {span.failed for span in refused.values()} == {None}
    assert broken["POST /v1/vessels"].said["http.response.status_code"] == 500
    assert broken["POST /v1/vessels"].said["error.type"] == "AttributeError"
    assert broken["POST /v1/vessels"].failed


def test_what_machines_ask_every_few_seconds_is_not_traced(traced: Collector, api: Api) -> None:
    api.raw("GET", "/health", token=None)
    api.raw("GET", "/v1/metrics", token=api.token("prom", "operator"))
    api.raw("GET", "/v1/vessels", headers={HEADER: MINE})
    gather(traced, MINE)
    names = {span.name for span in traced.spans} - {"POST /v1/login/program"}
    assert names == {"GET /v1/vessels"}


def test_a_request_of_others_hangs_below_what_it_came_from_if_that_is_of_its_own_trace(
    traced: Collector, api: Api
) -> None:
    for request, came in (
        (MINE, f"00-{MINE}-00000000000000aa-01"),
        (OTHER, f"00-{MINE}-00000000000000aa-01"),
        ("a-name-of-its-own", "nonsense\x80"),
    ):
        headers = {HEADER: request.encode(), "traceparent": came.encode("latin-1")}
        assert api.raw("GET", "/v1/vessels", headers=headers).status_code == 200
    its_own = f"{otel.trace_id('a-name-of-its-own'):032x}"
    gather(traced, MINE, OTHER, its_own)
    parents = {span.said["drc.request"]: span.parent for span in traced.named("GET /v1/vessels")}
    assert parents == {MINE: "00000000000000aa", OTHER: "", "a-name-of-its-own": ""}


def test_an_id_that_no_trace_may_have_becomes_another(traced: Collector) -> None:
    for request in ("0" * 32, MINE.replace("0f", "0g"), MINE + "00"):
        with bound(request=request), trace.span("x"):
            pass
    with bound(request=MINE.upper()), trace.span("x"):
        pass
    with trace.span("x"):
        pass
    trace.end()
    ids = [span.trace for span in traced.spans]
    assert len(set(ids)) == 5
    assert ids[3] == MINE
    assert "0" * 32 not in ids


def environment(collector: Collector, api: Api, database_url: str, key: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "NO_PROXY": "127.0.0.1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "DRC_DATABASE_URL": database_url,
        "DRC_URL": api.url,
        "DRC_SIGNING_KEY": str(api.keys / key),
    }


def test_a_round_of_the_undertaker_is_a_trace_and_what_it_buries_is_part_of_it(
    traced: Collector, api: Api, standin: StandIn, db: Database, postgres: Postgres, database: str
) -> None:
    api.create("bert")
    standin.run_once()
    run_sql(db, "UPDATE vessel SET ends_at = now() - interval '1 hour'")
    env = environment(traced, api, postgres.url("drc_undertaker", database), "undertaker.pem")
    for words in ([], ["look"]):
        done = subprocess.run([sys.executable, "-m", "undertaker.main", *words], env=env,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stderr
    standin.run_once()
    wait_until(lambda: traced.named("POST /v1/vessels-by-id/{id}/stop"), "the API's part comes")
    flush()
    (round,), (look,) = traced.named("round"), traced.named("look")
    assert (round.program, look.program) == ("drc-undertaker", "drc-undertaker")
    assert round.trace == round.said["drc.request"] != look.trace
    (asked,), (stop,) = traced.named("POST /v1/vessels-by-id/{id}/stop"), traced.named("stop")
    assert (asked.trace, asked.parent) == (round.trace, round.id)
    assert (stop.trace, stop.said["drc.vessel"]) == (round.trace, "bert")


def test_an_api_that_is_told_to_end_sends_what_it_has_first(
    traced: Collector, api: Api, postgres: Postgres, database: str
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = environment(traced, api, postgres.url("drc_api", database), "api.pem") | {
        "DRC_KEYS": str(api.keys),
        "DRC_SECRET": str(api.keys / "secret"),
        "DRC_PORT": str(port),
        "OTEL_BSP_SCHEDULE_DELAY": "3600000",
        "OTEL_SERVICE_NAME": "ours",
    }
    process = subprocess.Popen([sys.executable, "-m", "drc.api"], env=env,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    with process:
        try:

            def answers() -> bool:
                with socket.socket() as knock:
                    return knock.connect_ex(("127.0.0.1", port)) == 0

            wait_until(answers, "the API listens")
            other = type(api)(f"http://127.0.0.1:{port}", api.keys, api.context)
            other.raw("GET", "/v1/vessels", headers={HEADER: MINE})
            assert traced.spans == []
        finally:
            process.send_signal(signal.SIGTERM)
        process.communicate()
    (span,) = traced.of(MINE).values()
    assert (span.name, span.program) == ("GET /v1/vessels", "ours")


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def test_an_endpoint_that_answers_500_is_said_once_and_so_is_its_return(
    traced: Collector, api: Api, host: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="drc.trace")
    traced.status = 500
    for name in ("bert", "otter"):
        assert api.raw("POST", "/v1/vessels", {"name": name}).status_code == 201
        flush()
    assert traced.asked > 1
    (said,) = warnings(caplog)
    assert said.startswith(f"traces do not get to {traced.url}: ")
    assert "500" in said
    traced.status = 200
    api.raw("GET", "/v1/vessels", headers={HEADER: MINE})
    wait_until(lambda: traced.of(MINE), "it gets there again")
    flush()
    assert caplog.messages[-1] == f"traces get to {traced.url} again"
    assert len(warnings(caplog)) == 1


def test_an_endpoint_that_hangs_holds_up_nobody_and_no_end(
    traced: Collector, api: Api, standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otel, "PATIENCE", 0.1)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "10")
    trace.end()
    trace.begin("drc-test")
    traced.answering.clear()
    api.raw("GET", "/v1/vessels", headers={HEADER: MINE})
    wait_until(lambda: traced.asked, "it was asked, and hangs")
    api.create("bert")
    standin.run_once()
    assert api.show("bert")["state"] == "running"
    trace.end()
    assert (traced.asked, traced.spans) == (1, [])
    assert "traces" in [thread.name for thread in threading.enumerate()]  # who waits for it still
    traced.answering.set()
    wait_until(lambda: traced.of(MINE), "it goes on")


def test_an_endpoint_that_is_not_there_is_said_once_and_all_goes_on(
    collector: Collector, api: Api, standin: StandIn, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://ada:s3cr3t@127.0.0.1:{nobody.getsockname()[1]}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        trace.begin("drc-test")
        api.create("bert")
        flush()
        standin.run_once()
        flush()
        trace.end()
    assert api.show("bert")["state"] == "running"
    (said,) = warnings(caplog)
    assert said.startswith(f"traces do not get to {url}: ")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "nothing is traced: the protocol is grpc"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "0"}, "nothing is traced: "),
        ({"OTEL_SDK_DISABLED": "true"}, ""),
        ({"OTEL_TRACES_EXPORTER": "none"}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, ""),
    ],
)
def test_what_is_off_or_cannot_be_is_no_reason_not_to_begin(
    collector: Collector, api: Api, host: int, more: dict[str, str], said: str,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    for key, value in more.items():
        monkeypatch.setenv(key, value)
    trace.begin("drc-test")
    assert trace.tracing is None
    api.create("bert")
    assert [line.startswith(said) for line in warnings(caplog)] == ([True] if said else [])
    assert trace.headers() == {}


def python(code: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={"PATH": os.environ["PATH"], **env})  # fmt: skip


def test_one_that_lacks_the_extra_says_what_to_type_and_goes_on(collector: Collector) -> None:
    code = (
        "import sys; sys.modules['opentelemetry.sdk'] = None\n"  # as Python has one that is missing
        "from drc import log, trace; log.begin(); trace.begin('drc-api')\n"
        "with trace.span('x'): trace.note(a=1); print('goes on')"
    )
    done = python(code, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    assert done.stdout == "goes on\n"
    (line,) = done.stderr.splitlines()
    assert "level=warning logger=drc.trace" in line
    assert "pip install 'drc[otel]'" in line


def loaded(*modules: str) -> set[str]:
    code = f"import json, sys, {', '.join(modules)}; print(json.dumps(list(sys.modules)))"
    return {name for name in json.loads(python(code).stdout) if name.startswith("opentelemetry")}


def test_nothing_of_opentelemetry_is_imported_where_nothing_is_traced() -> None:
    """FastAPI imports some of it by itself."""
    assert loaded("drc.client", "drc.cli.app", "conductor.main", "undertaker.main") == set()
    assert loaded("drc.api.__main__") == loaded("fastapi")
    assert "opentelemetry.sdk" not in loaded("drc.api.__main__")


def test_ours_is_not_what_libraries_find_by_themselves(traced: Collector, tmp_path: Path) -> None:
    """FastAPI would send spans with paths in them, in which are people's names."""
    from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider

    assert isinstance(get_tracer_provider(), ProxyTracerProvider)
