"""Much at once, and what there is too little of: an answer in time, and nothing lost."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from drc import fleet
from drc.db import Database
from tests.fleets import check_conservation
from tests.wait import wait_until
from tests.wire.served import Api
from tests.wire.standin import StandIn

MANY = 500
HANDS = 32


def test_five_hundred_creates_at_once_on_one_host_are_all_answered_and_all_there(
    api: Api, standin: StandIn, db: Database
) -> None:
    local = threading.local()

    def create(n: int) -> str:
        if not hasattr(local, "client"):
            local.client = stack.enter_context(api.client("ada"))
        request = {"name": f"v{n}", "gpus": 1, "cpus": 1, "memory": "1GiB"}
        return local.client.call("POST", "/v1/vessels", request)["id"]

    with ExitStack() as stack, ThreadPoolExecutor(HANDS) as hands:
        answered = list(hands.map(create, range(MANY)))

    def states() -> Counter[str]:
        return Counter(row["state"] for row in fleet.read_vessels(db))

    # whoever met the others' locks too often waits for a moment, and those of its kind behind it
    wait_until(lambda: states() == {"reserved": 4, "queued": MANY - 4}, "four have a place")
    assert {str(row["id"]) for row in fleet.read_vessels(db)} == set(answered)
    check_conservation(db)
    assert standin.run_once() == 4
    first = next(row for row in fleet.read_vessels(db) if row["state"] == "running")
    api.raw("POST", f"/v1/vessels/{first['name']}/stop")
    standin.run_once()
    wait_until(lambda: states()["queued"] == MANY - 5, "the next has its place")
    check_conservation(db)


def test_when_every_connection_to_the_database_is_busy_one_is_told_and_may_ask_again(
    api: Api, standin: StandIn, db: Database
) -> None:
    pool = api.context.db.pool
    headers = {"Idempotency-Key": "once"}
    request = {"name": "bert", "gpus": 1}
    with ExitStack() as stack:
        for _ in range(pool.max_size):
            stack.enter_context(pool.connection())
        answer = api.raw("POST", "/v1/vessels", request, headers=headers, timeout=30)
        assert answer.status_code == 503
        assert "does not answer" in answer.text
    created = api.raw("POST", "/v1/vessels", request, headers=headers)
    assert created.status_code == 201
    assert [row["name"] for row in fleet.read_vessels(db)] == ["bert"]
