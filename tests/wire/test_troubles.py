"""From what a real Prometheus scraped to what people are told: GPUs lost, ill, or only unheard.

The exporter speaks as dcgm-exporter does; the conductor is a stand-in that says what a look found.
"""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import paramiko
import pytest

from conductor.host import Host
from conductor.start import check_fit
from drc import fleet
from drc.db import Database
from drc.errors import MetricsUnreachable, StartFailed
from drc.prometheus import Prometheus
from drc.trouble import Finding, Kind
from drc.up.postgres import Postgres
from tests.fleets import check_conservation, run_sql
from tests.wait import wait_until
from tests.wire.history import exporting, scraping
from tests.wire.served import Api
from tests.wire.slack import Slack as Server
from tests.wire.standin import HOST_KEY, MACHINE, StandIn
from tests.wire.terminal import Terminal, lines
from undertaker import look, signs
from undertaker.channel import deliver
from undertaker.slack import Slack

CONFIGURATION = """\
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
  - job_name: dcgm
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
  - job_name: the-same-again
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
FIRST, SECOND = (gpu["uuid"] for gpu in MACHINE["gpus"])
WELL = {"fault": "", "leftover": ""}


class Exporter:
    """DCGM's, of a host with two GPUs."""

    def __init__(self) -> None:
        self.host = 'Hostname="gpu7"'
        self.cards: dict[str, dict[str, str]] = {}
        self.well()

    def well(self) -> None:
        self.host = 'Hostname="gpu7"'
        self.cards = {uuid: {} for uuid in (FIRST, SECOND)}

    def told(self) -> str:
        lines: list[str] = []
        for family, usual in (
            ("DCGM_FI_DEV_GPU_TEMP", "40"), ("DCGM_FI_DEV_GPU_UTIL", "97"),
            ("DCGM_FI_DEV_XID_ERRORS", "0"),
            ("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "0"), ("DCGM_FI_DEV_ROW_REMAP_FAILURE", "0"),
        ):  # fmt: skip
            lines += [f"# HELP {family} of a GPU.", f"# TYPE {family} gauge"]
            for index, (uuid, values) in enumerate(self.cards.items()):
                labels = (
                    f'gpu="{index}",UUID="{uuid}",pci_bus_id="00000000:83:00.0",'
                    f'device="nvidia{index}",modelName="NVIDIA H100 80GB HBM3"'
                )
                labels += f",{self.host}" if self.host else ""
                lines.append(f"{family}{{{labels}}} {values.get(family, usual)}")
        return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def scraped() -> Iterator[tuple[Exporter, str]]:
    dcgm = Exporter()
    with exporting(dcgm.told) as port, scraping(CONFIGURATION.format(port=port)) as url:
        yield dcgm, url


class Watch:
    """An exporter and its Prometheus, the undertaker's looks, and a conductor's."""

    def __init__(self, api: Api, standin: StandIn, db: Database, eyes: Database,
                 dcgm: Exporter, url: str) -> None:  # fmt: skip
        self.api, self.standin, self.db, self.eyes = api, standin, db, eyes
        self.dcgm, self.prometheus = dcgm, Prometheus(url)

    def look(self) -> int:
        with self.api.client("undertaker", "undertaker") as client:
            return look.suspect(self.eyes, client, self.prometheus)

    def until(self, *expected: str) -> None:
        """Look until these are the troubles, as `gpu-fault 1` or `exporter-down`."""

        def found() -> bool:
            self.look()
            return sorted(self.troubles()) == sorted(expected)

        wait_until(found, f"there is {expected or 'no trouble'}")

    def troubles(self) -> list[str]:
        return [
            f"{row['kind']} {row['index']}" if row["uuid"] else row["kind"]
            for row in fleet.list_troubles(self.db)
            if not row["ended_at"]
        ]

    def details(self) -> list[int]:
        """The XIDs of which there are troubles."""
        found = [re.match(r"XID (\d+)", row["detail"]) for row in fleet.list_troubles(self.db)]
        return [int(code[1]) for code in found if code]

    def ill(self) -> list[str | None]:
        rows = run_sql(
            self.db, f"SELECT ill FROM gpu WHERE uuid IN ('{FIRST}', '{SECOND}') ORDER BY idx"
        )
        return [row["ill"] for row in rows]

    def probe(self, operator: Terminal) -> None:
        """A look that an operator asks for."""
        assert operator("host", "probe", "gpu7").status == 0
        wait_until(lambda: not run_sql(self.db, "SELECT id FROM outbox"), "it is looked at")

    def pass_time(self, minutes: int) -> None:
        run_sql(
            self.db,
            f"UPDATE trouble SET began_at = began_at - interval '{minutes} min',"
            f" ended_at = ended_at - interval '{minutes} min' RETURNING id",
        )

    def tell(self, server: Server) -> None:
        look.inform(self.eyes, fleet.read_now(self.eyes))
        deliver(self.eyes, Slack("xoxb-drc", "CALL", server.url, operators="COPS"))

    @contextmanager
    def found(self, **health: Any) -> Iterator[None]:
        """What looks at the host find meanwhile."""
        before, self.standin.health = self.standin.health, health
        yield
        self.standin.health = before


@pytest.fixture
def watch(
    scraped: tuple[Exporter, str], api: Api, looking: StandIn, gpu7: str, db: Database,
    postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Watch]:  # fmt: skip
    monkeypatch.setattr(signs, "WINDOW", "3s")  # a loaded machine scrapes late
    monkeypatch.setattr(signs, "BEFORE", ("3s", "6s", "12s"))
    dcgm, url = scraped
    dcgm.well()
    eyes = Database(postgres.url("drc_undertaker", database), size=2)
    watch = Watch(api, looking, db, eyes, dcgm, url)
    run_sql(db, "UPDATE gpu SET simulated = true WHERE uuid NOT LIKE 'GPU-gpu7%%' RETURNING id")
    wait_until(
        lambda: watch.look() == 0 and len(signs.measure(watch.prometheus).now) == 2, "all is heard"
    )
    wait_until(lambda: not run_sql(db, "SELECT id FROM outbox"), "what earlier tests left is seen")
    run_sql(db, "DELETE FROM trouble RETURNING id")
    yield watch
    watch.prometheus.close()
    eyes.close()
    check_conservation(db)


@pytest.fixture
def slack() -> Iterator[Server]:
    with Server(
        token="xoxb-drc",
        people={"ada@example.org": "UADA", "bob@example.org": "UBOB"},
        channels=("COPS", "CALL"),
    ) as server:
        yield server


# Told apart ---------------------------------------------------------------------------------------


def test_a_gpu_that_is_not_heard_though_its_exporter_answers_is_only_unscraped(
    watch: Watch,
) -> None:
    del watch.dcgm.cards[SECOND]
    watch.until("unscraped")
    assert watch.ill() == [None, None]
    watch.dcgm.well()
    watch.until()


def test_an_exporter_that_is_down_is_one_trouble_and_no_gpu_is_ill(watch: Watch) -> None:
    with watch.found(exporter=False):
        watch.dcgm.cards.clear()
        watch.until("exporter-down")
    assert watch.ill() == [None, None]
    (row,) = fleet.list_troubles(watch.db)
    assert row["detail"] == "its dcgm-exporter does not answer, so 2 GPUs go unseen"
    watch.dcgm.well()
    watch.until()


def test_a_driver_that_was_changed_under_its_host_is_named(watch: Watch) -> None:
    said = "Failed to initialize NVML: Driver/library version mismatch"
    with watch.found(driver="driver-mismatch", driver_said=said, gpus={}):
        watch.dcgm.cards.clear()
        watch.until("driver-mismatch")
    assert fleet.list_troubles(watch.db)[0]["detail"] == said


def test_a_gpu_that_has_fallen_off_the_bus_is_gone_for_whoever_holds_it(
    watch: Watch, operator: Terminal
) -> None:
    operator("create", "bert", "--gpus", "2", "--queue", "big")
    watch.standin.machines["gpu7"] = {**MACHINE, "gpus": MACHINE["gpus"][:1]}
    del watch.dcgm.cards[SECOND]
    watch.until("gpu-lost 1")
    assert watch.ill() == [None, "gone: the host's last look did not find it"]
    (row,) = fleet.list_troubles(watch.db)
    assert [vessel["name"] for vessel in row["vessels"]] == ["bert"]
    story = lines(operator("events", "bert").out)
    assert any("gpu-lost" in " ".join(words) for words in story), story
    watch.standin.machines["gpu7"] = MACHINE
    watch.dcgm.well()
    watch.until()
    assert watch.ill() == [None, None]


# Faults -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "value", "why"),
    [
        ("DCGM_FI_DEV_XID_ERRORS", "48", "XID 48: a memory error that could not be corrected"),
        ("DCGM_FI_DEV_XID_ERRORS", "79", "XID 79: it has fallen off the bus"),
        ("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "2", "2 memory errors that could not be corrected"),
        (
            "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL",
            "1e30",
            "2147483647 memory errors that could not be corrected",
        ),
        ("DCGM_FI_DEV_ROW_REMAP_FAILURE", "1", "a memory row could not be remapped"),
    ],
)
def test_a_fault_that_the_card_counts_itself_sets_it_aside_until_it_is_over(
    family: str, value: str, why: str, watch: Watch, operator: Terminal
) -> None:
    watch.dcgm.cards[FIRST][family] = value
    watch.until("gpu-fault 0")
    assert watch.ill() == [f"gpu-fault: {why}", None]
    operator("create", "bert", "--gpus", "2", "--queue", "big", "--no-wait")
    assert watch.api.show("bert", subject="op")["state"] == "queued"
    check_conservation(watch.db)
    watch.dcgm.well()
    watch.until()
    running = lambda: watch.api.show("bert", subject="op")["state"] == "running"  # noqa: E731
    wait_until(running, "whoever waited for it has it")


def test_a_fault_stays_while_nobody_hears_the_card(watch: Watch) -> None:
    watch.dcgm.cards[FIRST]["DCGM_FI_DEV_XID_ERRORS"] = "79"
    watch.until("gpu-fault 0")
    del watch.dcgm.cards[FIRST]
    watch.until("gpu-fault 0", "unscraped")
    assert watch.ill()[0] == "gpu-fault: XID 79: it has fallen off the bus"


@pytest.mark.parametrize("xid", ["13", "31", "43"])
def test_an_xid_that_a_program_causes_is_told_to_its_owner_and_takes_nothing_away(
    xid: str, watch: Watch, slack: Server
) -> None:
    watch.api.create("bert", gpus=2, queue=["big"])
    run_sql(watch.db, "UPDATE owner SET name = 'ada@example.org' WHERE login = 'ada' RETURNING id")
    watch.dcgm.cards[FIRST]["DCGM_FI_DEV_XID_ERRORS"] = xid
    watch.until("program-fault 0")
    assert watch.ill() == [None, None]
    watch.pass_time(2)
    watch.tell(slack)
    (said,) = slack.messages
    assert (said.channel, said.text.splitlines()[0]) == ("DUADA", "Trouble for bert.")
    assert f"XID {xid}" in said.text


def test_an_operator_may_let_a_fault_pass_and_another_counts_again(
    watch: Watch, operator: Terminal
) -> None:
    watch.dcgm.cards[FIRST]["DCGM_FI_DEV_ECC_DBE_VOL_TOTAL"] = "1"
    watch.until("gpu-fault 0")
    assert lines(operator("host", "troubles").out)[-1][:3] == ["gpu7 gpu 0", "gpu-fault", "0 s"]
    said = operator("host", "release", "gpu7", "0")
    assert said.status == 0, said.err
    assert "It was set aside: gpu-fault: 1 memory error that" in said.err
    for _ in range(3):
        watch.probe(operator)
        assert (watch.troubles(), watch.ill()) == ([], [None, None])
    watch.dcgm.cards[FIRST]["DCGM_FI_DEV_ECC_DBE_VOL_TOTAL"] = "2"
    watch.until("gpu-fault 0")
    assert operator("host", "release", "gpu7", "1").err == (
        "gpu7 has no GPU 1 that is set aside.\n  drc host show gpu7\n"
    )


def test_a_gpu_whose_fault_was_let_pass_is_handed_over(watch: Watch, operator: Terminal) -> None:
    id = run_sql(watch.db, "SELECT id FROM host WHERE name = 'gpu7'")[0]["id"]
    host = Host(watch.standin.door(id), paramiko.ECDSAKey.generate())
    for detail in ("1 memory error", "it needs a reset"):
        unfit = [Finding(Kind.GPU_FAULT, detail, FIRST)]
        with pytest.raises(StartFailed, match="set aside"):
            check_fit(watch.standin.tell, host, unfit)
        assert watch.ill()[0] is not None
        assert operator("host", "release", "gpu7", "0").status == 0
        check_fit(watch.standin.tell, host, unfit)
        assert (watch.troubles(), watch.ill()) == ([], [None, None])


def test_a_fault_that_was_let_pass_hides_no_program_that_was_left(
    watch: Watch, operator: Terminal
) -> None:
    """A GPU that was reset keeps its XID in the kernel's log; later it comes back in use."""
    id = run_sql(watch.db, "SELECT id FROM host WHERE name = 'gpu7'")[0]["id"]
    fault = Finding(Kind.GPU_FAULT, "XID 79: it has fallen off the bus", FIRST)
    left = Finding(Kind.LEFTOVER, "python (pid 12) still computes on it", FIRST)
    assert watch.standin.tell.set_aside(id, [fault]) == [FIRST]
    assert operator("host", "release", "gpu7", "0").status == 0
    for found in ([fault, left], [left, fault]):
        assert watch.standin.tell.set_aside(id, found) == [FIRST]
        assert watch.ill()[0] == "leftover: python (pid 12) still computes on it"


def test_a_desktop_that_was_let_pass_stays_so_after_a_vessel(
    watch: Watch, operator: Terminal
) -> None:
    left = {**WELL, "leftover": "1100 MiB of its memory are in use, by nobody"}
    with watch.found(gpus={FIRST: left, SECOND: WELL}):
        watch.probe(operator)
        assert watch.ill()[0] is not None
        operator("host", "release", "gpu7", "0")
        watch.api.create("bert", gpus=2, queue=["big"])
        with watch.found(gpus={FIRST: WELL, SECOND: WELL}):
            watch.probe(operator)
        watch.api.raw("POST", "/v1/vessels/bert/stop")
        wait_until(lambda: watch.api.show("bert")["state"] == "buried", "it has ended")
    with watch.found(gpus={FIRST: left | {"leftover": left["leftover"].replace("1", "2")}}):
        watch.probe(operator)
        assert watch.ill() == [None, None]


def test_what_a_vessel_left_behind_keeps_its_gpu_from_the_next(watch: Watch) -> None:
    left = {**WELL, "leftover": "python (pid 12) still computes on it"}
    id = run_sql(watch.db, "SELECT id FROM host WHERE name = 'gpu7'")[0]["id"]
    watch.standin.tell.health(
        id, {"exporter": True, "driver": None, "gpus": {FIRST: left, SECOND: WELL}}
    )
    assert watch.troubles() == ["leftover 0"]
    assert watch.ill() == ["leftover: python (pid 12) still computes on it", None]
    assert watch.api.create("bert", gpus=2, queue=["big"])["state"] == "queued"
    watch.standin.tell.health(
        id, {"exporter": True, "driver": None, "gpus": {FIRST: WELL, SECOND: WELL}}
    )
    wait_until(lambda: watch.api.show("bert")["state"] == "running", "it is given when it is free")


# Measurements as they come ------------------------------------------------------------------------


@pytest.mark.parametrize("label", ['Hostname="gpu7"', 'hostname="old-name"', ""])
def test_a_card_is_known_by_its_uuid_however_its_host_is_spelled(label: str, watch: Watch) -> None:
    watch.dcgm.host = label
    watch.dcgm.cards[FIRST]["DCGM_FI_DEV_XID_ERRORS"] = "95"
    watch.until("gpu-fault 0")


def test_cards_that_are_not_ours_and_numbers_that_are_none_are_left_out(watch: Watch) -> None:
    watch.dcgm.cards["GPU-of-somebody-else"] = {"DCGM_FI_DEV_XID_ERRORS": "79"}
    watch.dcgm.cards[FIRST]["DCGM_FI_DEV_XID_ERRORS"] = "NaN"
    watch.dcgm.cards[SECOND]["DCGM_FI_DEV_XID_ERRORS"] = "79"
    watch.until("gpu-fault 1")
    assert watch.ill()[0] is None


def test_a_prometheus_that_is_down_slow_or_empty_accuses_nobody_and_acquits_nobody(
    watch: Watch,
) -> None:
    watch.dcgm.cards[FIRST]["DCGM_FI_DEV_XID_ERRORS"] = "79"
    watch.until("gpu-fault 0")
    heard = watch.prometheus
    with socket.create_server(
        ("127.0.0.1", 0)
    ) as slow:  # which takes the question and says nothing
        for port in (9, slow.getsockname()[1]):
            watch.prometheus = Prometheus(f"http://127.0.0.1:{port}", patience=1.0)
            with pytest.raises(MetricsUnreachable):
                watch.look()
            watch.prometheus.close()
    with scraping("scrape_configs: []\n") as empty:
        watch.prometheus = Prometheus(empty)
        assert watch.look() == 1  # as before
        watch.prometheus.close()
    watch.prometheus = heard
    assert watch.troubles() == ["gpu-fault 0"]


# Told to people -----------------------------------------------------------------------------------


def test_owner_and_operators_are_told_once_each_and_once_when_it_is_over(
    watch: Watch, slack: Server
) -> None:
    watch.api.create("bert", gpus=2, queue=["big"])
    run_sql(watch.db, "UPDATE owner SET name = 'ada@example.org' WHERE login = 'ada' RETURNING id")
    watch.dcgm.cards[FIRST]["DCGM_FI_DEV_XID_ERRORS"] = "79"
    watch.until("gpu-fault 0")
    watch.tell(slack)
    assert slack.messages == []  # things have not settled
    watch.pass_time(2)
    for _ in range(3):
        watch.tell(slack)
    assert [(m.channel, m.text.splitlines()[0]) for m in slack.messages] == [
        ("COPS", "GPU 0 of gpu7 is ill."), ("DUADA", "Trouble for bert."),
    ]  # fmt: skip
    watch.dcgm.well()
    watch.until()
    watch.tell(slack)
    watch.dcgm.cards[FIRST]["DCGM_FI_DEV_XID_ERRORS"] = "79"  # it comes and goes
    watch.until("gpu-fault 0")
    watch.dcgm.well()
    watch.until()
    watch.tell(slack)
    assert len(slack.messages) == 2
    watch.pass_time(11)
    for _ in range(3):
        watch.tell(slack)
    assert [(m.channel, m.text.splitlines()[0]) for m in slack.messages[2:]] == [
        ("COPS", "GPU 0 of gpu7 is well again."),
        ("DUADA", "GPU 0 of gpu7, where bert is, is well again."),
    ]  # fmt: skip


def test_while_slack_is_down_no_word_is_lost(watch: Watch, slack: Server) -> None:
    watch.dcgm.cards[FIRST]["DCGM_FI_DEV_XID_ERRORS"] = "79"
    watch.until("gpu-fault 0")
    watch.pass_time(2)
    slack.down()
    watch.tell(slack)
    slack.up()
    run_sql(watch.db, "UPDATE message SET run_at = now() RETURNING id")
    watch.tell(slack)
    assert [m.channel for m in slack.messages] == ["COPS"]


def test_what_a_host_says_calls_nobody(watch: Watch, slack: Server, operator: Terminal) -> None:
    left = {**WELL, "leftover": "<!channel> (pid 12) still computes on it"}
    with watch.found(gpus={FIRST: left, SECOND: WELL}):
        watch.probe(operator)
    watch.pass_time(2)
    watch.tell(slack)
    (said,) = slack.messages
    assert "&lt;!channel&gt; (pid 12)" in said.text
    assert "<!" not in said.text + json.dumps(said.blocks)


def test_another_owner_s_program_fault_is_told_to_that_one(
    watch: Watch, slack: Server, operator: Terminal
) -> None:
    for subject, code in (("ada", 31), ("bob", 43)):
        watch.api.create("bert", subject=subject, gpus=2, queue=["big"])
        run_sql(watch.db, "UPDATE owner SET name = login || '@example.org' RETURNING id")
        watch.dcgm.cards[FIRST]["DCGM_FI_DEV_XID_ERRORS"] = str(code)
        wait_until(lambda code=code: watch.look() and watch.details() == [code], "it is found")
        watch.pass_time(2)
        watch.tell(slack)
        with watch.api.client(subject) as client:
            client.call("POST", "/v1/vessels/bert/stop")
        wait_until(
            lambda who=subject: watch.api.show("bert", subject=who)["state"] == "buried", "it ended"
        )
    assert [message.channel for message in slack.messages] == ["DUADA", "DUBOB"]


def test_hosts_that_fall_silent_together_are_one_message(watch: Watch, slack: Server) -> None:
    ids = [row["id"] for row in run_sql(watch.db, "SELECT id FROM host ORDER BY name")]
    for id in ids:
        watch.standin.silent(id, "it does not answer at 10.0.0.7:22")
    watch.pass_time(2)
    watch.tell(slack)
    (said,) = slack.messages
    assert said.text.splitlines()[0] == "gpu1 and gpu7 do not answer."


def test_a_silent_host_is_given_to_nobody_until_it_answers(
    watch: Watch, operator: Terminal
) -> None:
    id = run_sql(watch.db, "SELECT id FROM host WHERE name = 'gpu7'")[0]["id"]
    watch.standin.silent(id, "it does not answer at 10.0.0.7:22")
    assert watch.api.create("bert", gpus=1, queue=["big"])["state"] == "queued"
    assert "silent: it does not answer" in operator("host", "show", "gpu7").out
    watch.standin.tell.health(id, {"exporter": True, "driver": None, "gpus": {}})
    wait_until(lambda: watch.api.show("bert")["state"] == "running", "it is there when it answers")


# Moved --------------------------------------------------------------------------------------------


def test_a_gpu_that_was_put_into_another_host_is_that_one_s(
    watch: Watch, operator: Terminal
) -> None:
    with watch.api.client("op", "operator") as client:
        request = {"ssh_address": "10.0.0.8", "ssh_host_key": HOST_KEY, "queue": ["big"]}
        watch.standin.machines["gpu8"] = {**MACHINE, "gpus": MACHINE["gpus"][1:]}
        client.call("POST", "/v1/hosts", {"name": "gpu8", "committed": True, **request})
        wait_until(lambda: client.call("GET", "/v1/hosts/gpu8")["ill"], "gpu7 has it so far")
        watch.standin.machines["gpu7"] = {**MACHINE, "gpus": MACHINE["gpus"][:1]}
        operator("host", "probe", "gpu7")
        operator("host", "probe", "gpu8")
        wait_until(lambda: client.call("GET", "/v1/hosts/gpu8")["n_gpus"] == 1, "it is there")
    assert [gpu["host"] for gpu in fleet.read_gpus(watch.db) if gpu["uuid"] == SECOND] == ["gpu8"]
    check_conservation(watch.db)
    operator("host", "probe", "gpu7")
    assert watch.troubles() == []


def test_prometheus_is_asked_as_of_its_own_clock(watch: Watch) -> None:
    """And all at once: ours may be wrong, and a card may fall silent between two questions."""
    asked: list[str] = []
    hooks = watch.prometheus.http.event_hooks["request"]
    hooks.append(lambda request: asked.append(request.read().decode()))
    watch.look()
    assert asked[0].startswith("query=vector%28time%28%29%29&timeout=")
    times = {re.search(r"&time=([\d.]+)", form) and form.split("&time=")[1] for form in asked[1:]}
    assert len(asked) == 2 + len(signs.BEFORE) + len(signs.COUNTED)
    assert len(times) == 1
    assert None not in times
