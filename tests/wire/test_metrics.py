"""What the API tells Prometheus of itself and of the fleet."""

import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from drc import fleet
from drc.api import starts
from drc.db import Database
from tests.fleets import add_host, add_owner, card, report_cards, run_sql, wish
from tests.wait import wait_until
from tests.wire.served import Api
from tests.wire.standin import StandIn

T0 = datetime(2026, 11, 16, 9, tzinfo=UTC)


def said(api: Api) -> list[str]:
    answer = api.raw("GET", "/v1/metrics", token=api.token("op", "operator"))
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return answer.text.splitlines()


def value(api: Api, series: str) -> float:
    """Of a series as it is written; 0 where it is not there."""
    found = [line for line in said(api) if line.startswith(series + " ")]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


def test_the_metrics_count_vessels_gpus_and_work(api: Api, host: int, db: Database) -> None:
    api.create("bert", gpus=3)
    fleet.reserve_vessel(db, wish(add_owner(db, "bob"), "otter", gpus=4))
    lines = said(api)
    for line in (
        'drc_vessels{state="reserved"} 1.0',
        'drc_vessels{state="queued"} 1.0',
        'drc_gpus{host="gpu1",model="a100",state="held"} 3.0',
        'drc_gpus{host="gpu1",model="a100",state="free"} 1.0',
        'drc_outbox{verb="start"} 1.0',
        'drc_queue_waiting{queue="default"} 1.0',
        'drc_hosts{state="open"} 1.0',
    ):
        assert line in lines
    assert value(api, 'drc_outbox_oldest_seconds{verb="start"}') > 0
    assert value(api, 'drc_queue_oldest_wait_seconds{queue="default"}') > 0
    assert value(api, 'drc_host_seen_timestamp_seconds{host="gpu1"}') > 0


def test_a_request_is_timed_under_its_route_and_not_its_path(api: Api, host: int) -> None:
    api.raw("GET", "/v1/vessels/nobody")
    api.raw("GET", "/v1/nothing")
    text = "\n".join(said(api))
    assert 'route="/v1/vessels/{name}",status="404"' in text
    assert "nobody" not in text
    assert "/v1/nothing" not in text


def test_a_held_gpu_bears_who_holds_it(api: Api, host: int) -> None:
    api.create("bert")
    assert (
        'drc_gpu_held{GPU_I_ID="",UUID="GPU-gpu1-0",host="gpu1",model="a100",owner="ada",'
        'queue="default",vessel="bert"} 1.0'
    ) in held(api)
    with api.client() as client:
        client.call("POST", "/v1/vessels/bert/stop")
    assert len(held(api)) == 1  # until the host's Docker says that it is gone


def held(api: Api) -> list[str]:
    """With labels in their alphabetical order."""
    found = [re.fullmatch(r"drc_gpu_held\{(.*)\} 1.0", line) for line in said(api)]
    sets = [",".join(sorted(one[1].split(","))) for one in found if one]
    return [f"drc_gpu_held{{{labels}}} 1.0" for labels in sets]


def test_a_held_slice_bears_its_cards_uuid_and_its_gpu_instance(api: Api, db: Database) -> None:
    id = add_host(db, "gpu2", {})
    cut = {"memory_mib": 10_000, "parent": "GPU-cut"}
    report_cards(db, id, [
        card("MIG-a", 100, "a100-1g.10gb", instance=9, **cut),
        card("MIG-b", 101, "a100-1g.10gb", instance=None, **cut),
    ])  # fmt: skip
    api.create("bert", gpus=2, gpu=["a100-1g.10gb"])
    labels = [line.partition(",host")[0] for line in held(api)]
    assert labels == [
        'drc_gpu_held{GPU_I_ID="9",UUID="GPU-cut"',
        'drc_gpu_held{GPU_I_ID="",UUID="MIG-b"',  # nobody can measure it
    ]


def test_a_held_gpu_is_of_the_queue_that_led_to_its_host(api: Api, db: Database) -> None:
    fleet.add_queue(db, "big", None)
    fleet.add_queue(db, "small", None)
    add_host(db, "gpu2", {"h100": 1}, queues=("big", "default"))
    api.create("bert", queue=["small", "big", "default"])
    assert 'queue="big"' in held(api)[0]
    fleet.set_host_queues(db, "gpu2", ["default"])
    assert 'queue="default"' in held(api)[0]


def test_a_gpu_is_ill_whether_it_is_held_or_not(api: Api, host: int, db: Database) -> None:
    api.create("bert")
    run_sql(db, "UPDATE gpu SET ill = 'gone' WHERE idx < 2")
    assert value(api, 'drc_ill_gpus{host="gpu1"}') == 2
    assert value(api, 'drc_gpus{host="gpu1",model="a100",state="ill"}') == 1
    assert value(api, 'drc_gpus{host="gpu1",model="a100",state="held"}') == 1
    fleet.cordon_host(db, "gpu1", True)
    assert value(api, 'drc_gpus{host="gpu1",model="a100",state="closed"}') == 2


def test_a_start_is_observed_once_phase_by_phase(api: Api, standin: StandIn) -> None:
    before = counts(api)
    api.create("bert")
    work = standin.take("start")
    standin.bring_up(work)
    wait_until(lambda: counts(api) != before, "it is observed")
    standin.tell.run(work, standin.tell.secrets(work)["token"])  # the same, after a crash
    api.create("otter")
    standin.run_once()
    wait_until(lambda: counts(api)["whole"] == before["whole"] + 2, "the next is observed")
    assert counts(api) == {p: count + 2 * (p != "home") for p, count in before.items()}
    assert list(before) == ["taken", "image", "home", "ssh", "jupyter", "running", "whole",
                            "waited"]  # fmt: skip


def test_a_home_that_comes_along_is_a_phase_of_its_own() -> None:
    at = {kind: datetime(2026, 1, 1, 0, 0, n, tzinfo=UTC) for n, kind in enumerate(
        ("reserved", "starting", "image_ready", "home_came", "ssh_ready", "jupyter_ready",
         "running"))}  # fmt: skip
    assert starts.phases(at) == {"taken": 1, "image": 1, "home": 1, "ssh": 1, "jupyter": 1,
                                 "running": 1, "whole": 6}  # fmt: skip
    del at["home_came"]
    assert starts.phases(at) == {"taken": 1, "image": 1, "ssh": 2, "jupyter": 1, "running": 1,
                                 "whole": 6}  # fmt: skip


def counts(api: Api) -> dict[str, float]:
    phases = (*starts.STEPS.values(), starts.WHOLE)
    found = {p: value(api, f'drc_start_seconds_count{{phase="{p}"}}') for p in phases}
    return {**found, "waited": value(api, 'drc_queue_wait_seconds_count{queue="default"}')}


def test_phases_are_between_the_steps_that_are_known() -> None:
    steps = ("reserved", "starting", "image_ready", "ssh_ready", "jupyter_ready", "running")
    at = {step: T0 + timedelta(seconds=2**n) for n, step in enumerate(steps)}
    whole = {"taken": 1, "image": 2, "ssh": 4, "jupyter": 8, "running": 16, "whole": 31}
    assert starts.phases(at) == whole
    del at["ssh_ready"]
    assert starts.phases(at) == {"taken": 1, "image": 2, "running": 16, "whole": 31}
    assert starts.phases({}) == {}


def test_reservations_are_counted_by_what_came_of_them(
    api: Api, standin: StandIn, db: Database
) -> None:
    names = ("reserved", "queued", "placed", "shared")
    outcomes = [f'drc_reservations_total{{outcome="{name}"}}' for name in names]
    before = [value(api, series) for series in outcomes]
    api.create("bert", gpus=4, cpus=8, memory="64GB")
    api.create("twin", share="bert")
    api.create("otter")
    for name in ("twin", "bert"):
        with api.client() as client:
            client.call("POST", f"/v1/vessels/{name}/stop")
        standin.run_once()
    wait_until(lambda: api.show("otter")["state"] != "queued", "otter has its GPU")
    after = [value(api, series) for series in outcomes]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 1, 1]


def test_a_retry_for_rows_that_others_lock_is_counted(api: Api, host: int, db: Database) -> None:
    contended = 'drc_reservations_total{outcome="contended"}'
    before = value(api, contended)
    with db.pool.connection() as connection, connection.transaction():
        connection.execute("SELECT FROM gpu_count FOR UPDATE")
        assert api.create("bert")["state"] == "queued"
    assert value(api, contended) > before


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [("GET", "/v1/vessels/nobody", "no-such-vessel"), ("GET", "/v1/nothing", "http-404"),
     ("POST", "/v1/vessels", "nothing-fits")],
)  # fmt: skip
def test_problems_are_counted_by_their_code(
    api: Api, host: int, method: str, path: str, code: str
) -> None:
    series = f'drc_api_errors_total{{code="{code}"}}'
    before = value(api, series)
    api.raw(method, path, {"gpu": ["h100"]} if method == "POST" else None)
    assert value(api, series) == before + 1


def test_verdicts_are_those_in_the_books(api: Api, standin: StandIn, db: Database) -> None:
    assert value(api, "drc_undertaker_judged_timestamp_seconds") == 0
    for name in ("bert", "otter"):
        api.create(name)
    run_sql(
        db,
        "INSERT INTO idle (vessel_id, rung, verdict, reason, judged_at, keep_to, keeps_left)"
        " SELECT id, 'active', 'keep', 'it is young', %s, %s, 3 FROM vessel",
        T0, T0,
    )  # fmt: skip
    assert value(api, 'drc_verdicts{verdict="keep"}') == 2
    assert value(api, "drc_undertaker_judged_timestamp_seconds") == T0.timestamp()


def test_all_of_it_is_as_prometheus_wants_it(api: Api, standin: StandIn) -> None:
    if not shutil.which("promtool"):
        pytest.fail("apt-get install prometheus")
    api.create("bert")
    standin.run_once()
    done = subprocess.run(["promtool", "check", "metrics"], input="\n".join([*said(api), ""]),
                          text=True, capture_output=True)  # fmt: skip
    # all that it has against it is how DCGM spells its labels
    complaints = {line.partition(" ")[2] for line in done.stderr.splitlines()}
    assert complaints <= {"label names should be written in 'snake_case' not 'camelCase'"}
