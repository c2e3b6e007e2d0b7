"""What Prometheus is told to scrape: the exporters on hosts, and our own programs."""

from datetime import timedelta
from typing import Any

import pytest

from drc import fleet
from drc.api import sweep
from drc.db import Database
from drc.fleet import Announced
from tests.fleets import add_host, card, report_cards, run_sql
from tests.wire.served import Api
from tests.wire.standin import FINGERPRINT, StandIn
from tests.wire.terminal import Terminal


def told(api: Api, job: str) -> Any:
    answer = api.raw("GET", f"/v1/targets/{job}", token=api.token("op", "operator"))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    return answer.json()


def test_each_host_with_gpus_is_scraped_at_its_address(api: Api, host: int, db: Database) -> None:
    add_host(db, "gpu2", {"h100": 1}, ssh_address="fd00::7")
    add_host(db, "cpu1", {})
    assert told(api, "dcgm") == [
        {"targets": ["gpu1.test:9400"], "labels": {"host": "gpu1"}},
        {"targets": ["[fd00::7]:9400"], "labels": {"host": "gpu2"}},
    ]


def test_without_hosts_and_programs_the_lists_are_empty(api: Api) -> None:
    assert (told(api, "dcgm"), told(api, "drc")) == ([], [])


def test_a_host_whose_gpus_are_all_simulated_is_not_scraped(
    api: Api, host: int, db: Database
) -> None:
    id = add_host(db, "sim1", {})
    one, two = (card(f"GPU-s{n}", n, "a100", simulated=True) for n in range(2))
    report_cards(db, id, [one, two])
    assert [group["labels"]["host"] for group in told(api, "dcgm")] == ["gpu1"]
    report_cards(db, id, [one, two, card("GPU-real", 2, "a100")])
    assert [group["labels"]["host"] for group in told(api, "dcgm")] == ["gpu1", "sim1"]


def test_a_host_that_was_removed_is_not_scraped(api: Api, host: int, db: Database) -> None:
    assert told(api, "dcgm") != []
    assert fleet.remove_host(db, host)
    assert told(api, "dcgm") == []


def test_an_operator_says_where_an_exporter_is_or_that_there_is_none(
    api: Api, operator: Terminal, looking: StandIn
) -> None:
    add = ("host", "add", "gpu7", "ubuntu@10.0.0.7", "--host-key", FINGERPRINT, "--yes")
    assert operator(*add, "--exporter", "[fd00::9]:9500").status == 0
    assert told(api, "dcgm")[1]["targets"] == ["[fd00::9]:9500"]
    assert "exporter [fd00::9]:9500" in operator("host", "show", "gpu7").out
    assert operator("host", "set", "gpu7", "--exporter", "none").status == 0
    assert [group["labels"]["host"] for group in told(api, "dcgm")] == ["gpu1"]
    assert operator("host", "set", "gpu7", "--job-mapping", "/var/lib/jobs").status == 0
    shown = operator("host", "show", "gpu7").out
    assert "exporter none" in shown
    assert "mapping  /var/lib/jobs" in shown
    said = operator("host", "set", "gpu7", "--exporter", "default", "--job-mapping", "none")
    assert said.status == 0
    assert told(api, "dcgm")[1]["targets"] == ["10.0.0.7:9400"]
    assert "mapping" not in operator("host", "show", "gpu7").out
    assert operator("host", "set", "gpu9", "--exporter", "none").status == 1


@pytest.mark.parametrize(
    "said", ["gpu1", ":9400", "gpu1:", "gpu1:0", "gpu1:70000", "fd00::7:94", ""]
)
def test_what_is_no_place_for_an_exporter_is_refused(
    api: Api, host: int, operator: Terminal, said: str
) -> None:
    refused = operator("host", "set", "gpu1", "--exporter", said)
    assert refused.status == 1
    assert "neither ADDRESS:PORT nor none" in refused.err
    assert told(api, "dcgm")[0]["targets"] == ["gpu1.test:9400"]


@pytest.mark.parametrize("said", ["jobs", "/", "/jobs/", "/a\nb", ""])
def test_a_job_mapping_is_a_folder_by_its_whole_path(
    host: int, operator: Terminal, said: str
) -> None:
    assert operator("host", "set", "gpu1", "--job-mapping", said).status == 1


def test_programs_are_there_from_their_start_until_they_end(api: Api, db: Database) -> None:
    api.context.announced = Announced("api", "here:8787", "10.0.0.5:8787", tls=True)
    fleet.announce_program(db, Announced("conductor", "conductor:rack", "[::1]:9410"))
    sweep.run_once(api.context)
    assert told(api, "drc") == [
        {
            "targets": ["10.0.0.5:8787"],
            "labels": {
                "program": "api",
                "name": "here:8787",
                "__scheme__": "https",
                "__metrics_path__": "/v1/metrics",
            },
        },
        {
            "targets": ["[::1]:9410"],
            "labels": {
                "program": "conductor",
                "name": "conductor:rack",
                "__scheme__": "http",
                "__metrics_path__": "/metrics",
            },
        },
    ]
    sweep.withdraw(api.context)
    assert [group["labels"]["program"] for group in told(api, "drc")] == ["conductor"]


def test_a_program_that_died_is_told_of_for_a_day(api: Api, db: Database) -> None:
    fleet.announce_program(db, Announced("conductor", "conductor:rack", "10.0.0.5:9410"))
    run_sql(db, "UPDATE program SET seen_at = now() - interval '23 hours'")
    assert told(api, "drc")[0]["targets"] == ["10.0.0.5:9410"]
    run_sql(db, "UPDATE program SET seen_at = now() - interval '25 hours'")
    assert told(api, "drc") == []
    assert fleet.forget_programs(db, timedelta(hours=24)) == 1


def test_a_program_that_says_the_same_again_at_once_writes_nothing(db: Database) -> None:
    there = Announced("conductor", "conductor:rack", "10.0.0.5:9410")
    moved = Announced("conductor", "conductor:rack", "10.0.0.6:9410")
    said = [fleet.announce_program(db, program) for program in (there, there, moved, moved)]
    assert said == [True, False, True, False]
    run_sql(db, "UPDATE program SET seen_at = now() - interval '31 seconds'")
    assert fleet.announce_program(db, moved)


def test_an_unknown_job_is_a_sentence_that_names_those_there_are(api: Api) -> None:
    answer = api.raw("GET", "/v1/targets/nodes", token=api.token("op", "operator"))
    assert (answer.status_code, answer.json()["code"]) == (404, "no-such-job")
    assert answer.json()["title"] == "There is no job called nodes: there are dcgm and drc."


def test_a_token_of_its_own_lets_prometheus_see_targets_and_nothing_else(
    api: Api, operator: Terminal, host: int
) -> None:
    made = operator("token", "create", "prometheus", "--permission", "targets:read")
    token = made.out.strip()
    assert api.raw("GET", "/v1/targets/dcgm", token=token).status_code == 200
    assert api.raw("GET", "/v1/metrics", token=token).status_code == 403
    assert api.raw("GET", "/v1/hosts", token=token).status_code == 403
