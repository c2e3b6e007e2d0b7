"""Several conductors at once: they share the work, and one that dies is made up for."""

from collections import Counter

import pytest

from conductor import main, watch
from drc.config import DEFAULT_IMAGE
from tests.fleets import check_conservation
from tests.host.machine import Machine, until
from tests.host.world import Person, World

COUNT = 12


@pytest.fixture
def ivan(fleet: World):
    """Somebody whose vessels end with the test. Conductors are the test's own matter."""
    ivan = fleet.person("ida")
    yield ivan
    with fleet.conducting():
        fleet.stop_everything()
        until("all work is done", lambda: not fleet.sql("SELECT id FROM outbox"))


def claimants(fleet: World) -> Counter[str]:
    """How many starts each conductor has in hand, by its name without the nonce."""
    rows = fleet.sql(
        "SELECT split_part(claimed_by, '#', 1) AS name FROM outbox "
        "WHERE verb = 'start' AND claimed_by IS NOT NULL"
    )
    return Counter(row["name"] for row in rows)


def starts(machine: Machine, since: float, until: float) -> Counter[str]:
    """How often the engine started each vessel's container."""
    told = machine.client.events(
        since=int(since), until=int(until) + 1, decode=True,
        filters={"type": "container", "event": "start", "label": "drc.vessel"},
    )  # fmt: skip
    return Counter(event["Actor"]["Attributes"]["name"] for event in told)


def test_several_share_the_work_and_what_one_that_is_killed_had_in_hand_is_done_by_another(
    fleet: World, ivan: Person, machine: Machine, second: Machine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(main, "PER_HOST", 2)  # of the one in this process: it leaves some over
    (row,) = fleet.sql("SELECT extract(epoch FROM now())::float AS now")
    names = [f"many-{n}" for n in range(COUNT)]
    with fleet.conductor_process() as process, fleet.conducting() as conductor:
        mine = conductor.api.subject
        known = "SELECT pid FROM pg_stat_activity WHERE application_name = 'drc-conductor'"
        until("it is up", lambda: fleet.sql(known))
        for n, name in enumerate(names):
            ivan.ask(name, cpus=0.25, memory="500MiB", host=f"gpu{n % 2 + 1}")
        seen = Counter[str]()

        def both_work_and_one_is_up() -> bool:
            seen.update(claimants(fleet))
            return len(seen) == 2 and any(v["state"] == "running" for v in fleet.living())

        until("both work", both_work_and_one_is_up, 60)
        process.kill()
        process.wait()
        left = claimants(fleet)
        assert left[mine] <= 4
        assert sum(left.values()) > left[mine], "it was to die with work in hand"
        # as half a minute would
        fleet.sql(
            "UPDATE outbox SET lease_until = now() - interval '1 second' "
            "WHERE claimed_by NOT LIKE %s || '#%%'", mine,
        )  # fmt: skip
        orphans = {v["id"] for v in fleet.living() if v["state"] != "running"}
        for name in names:
            ivan.reach(name, "running", seconds=120)
        until("all work is done", lambda: not fleet.sql("SELECT id FROM outbox"))
        vessels = fleet.living()
        assert sorted(v["name"] for v in vessels) == sorted(names)
        (end,) = fleet.sql("SELECT extract(epoch FROM now())::float AS now")
        begun = starts(machine, row["now"], end["now"]) + starts(second, row["now"], end["now"])
        there = fleet.ours("drc.vessel") + fleet.ours("drc.vessel", second)
        assert len(there) == COUNT
        told = Counter(
            event["vessel_id"]
            for event in ivan.client.events(after="0-0", follow=False)
            if event["kind"] == "running"
        )
        for vessel in vessels:
            container = f"drc-{vessel['id']}-1"
            assert vessel["attempt"] == 1
            assert told[vessel["id"]] == 1
            # one that was between two steps when its conductor died may have been made anew
            assert begun[container] == 1 or vessel["id"] in orphans
    check_conservation(fleet.db)


def test_one_that_has_just_begun_finds_an_image_on_a_host_that_it_never_spoke_to(
    fleet: World, ivan: Person, second: Machine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watch, "look", lambda *_: None)  # nor does it look around before
    second.client.tag(DEFAULT_IMAGE, "drc/kept", "here")  # its layers stay, so that it is quick
    until("nobody is on it", lambda: not fleet.ours("drc.vessel", second))
    second.client.remove_image(DEFAULT_IMAGE)
    ivan.ask("fresh", host="gpu2", gpus=1)
    try:
        with fleet.conducting():
            ivan.reach("fresh", "running", seconds=120)
    finally:
        second.client.remove_image("drc/kept:here")
