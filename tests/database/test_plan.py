"""What drc.plan says and what the statements do are the same, over thousands of random fleets."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from drc import fleet
from drc.api.context import Context
from drc.api.queue import place
from drc.db import Database, Row
from drc.fleet import Wish
from drc.plan import Place, never, plan
from tests.database.here import IMAGE, OneConnection, context
from tests.fleets import add_host, add_owner, card, count_cards, report_cards, wish

BATCHES, FLEETS, WISHES = 50, 20, 2
"""A batch is as many fleets in one transaction, each with queues of its own."""
STEPS = 250
SLICE = "a100-1g.10gb"
CARDS = {
    "a100": [81920, 40960], "h100": [81559], "rtx3090": [24576], "v100": [32768, 16384],
    "l4": [23034], SLICE: [9728],
}  # fmt: skip
CUSTOM = "lab/torch:2"
HOW = ("reserved", "queued", "never", "near")
"""What may become of a wish; `near`: home or image decided between equals."""


@dataclass
class Comparison:
    """One connection on which each vessel is placed as the API does it, and taken away again."""

    here: Context
    connection: psycopg.Connection[Row]
    owner_id: int
    seen: Counter[str] = field(default_factory=Counter[str])

    @property
    def db(self) -> Database:
        return self.here.db

    def places(self, image: str) -> list[Place]:
        return fleet.list_places(self.db, self.owner_id, image)

    def compare(self, places: list[Place], wish: Wish) -> None:
        verdicts = plan(places, wish)
        taken = next((verdict.place for verdict in verdicts if verdict.taken), None)
        told = [(verdict.place.name, verdict.reason) for verdict in verdicts]
        strange = [replace(place, has_home=False, has_image=False) for place in places]
        near = taken and not any(v.taken and v.place.id == taken.id for v in plan(strange, wish))
        with self.connection.transaction(force_rollback=True):
            state = place(self.here, wish)
            row = self.connection.execute("SELECT host_id FROM vessel WHERE id = %s", [wish.id])
            assert row.fetchall() == [{"host_id": taken and taken.id}], (wish.need, told)
            assert state == ("reserved" if taken else "queued"), (wish.need, told)
            if not taken:
                assert not fleet.is_contended(self.db, wish.id), (wish.need, told)
                assert fleet.next_waiting(self.db, []) is None, (wish.need, told)
        could = fleet.could_fit(self.db, wish)
        assert (never(places, wish) is None) == could, (wish.need, told)
        assert could or not taken, (wish.need, told)
        assert "it fits" not in [reason for _, reason in told], (wish.need, told)
        self.seen["reserved" if taken else "queued" if could else "never"] += 1
        self.seen["near"] += bool(near)


@pytest.fixture
def comparison(database_url: str, tmp_path: Path) -> Iterator[Comparison]:
    with ExitStack() as stack:
        connect = psycopg.Connection[Row].connect
        connection = connect(database_url, autocommit=True, row_factory=dict_row)
        connection.prepare_threshold = 0
        stack.enter_context(connection)
        bells = Database(database_url, size=2)
        stack.callback(bells.close)
        db = OneConnection(connection)
        here = stack.enter_context(context(db, tmp_path, bells=bells))
        yield Comparison(here, connection, add_owner(db))


def a_wish(
    dice: random.Random, owner_id: int, places: list[Place], queues: list[str], *, strays: float
) -> Wish:
    """`strays`: how often it asks for what is not there."""
    models = [cards.model for place in places for cards in place.cards] or ["a100"]

    def model() -> str:
        return dice.choice([*CARDS, "b200"]) if dice.random() < strays else dice.choice(models)

    changes: dict[str, Any] = {
        "gpus": dice.choice([0, 1, 1, 1, 1, 1, 2, 2, 2, 3, 4, 4, 8]),
        "queues": sorted({dice.choice(queues) for _ in range(dice.choice([1, 2, 2, 3]))}),
        "millicpus": dice.choice([None] * 5 + [500, 8_000, 30_000]),
        "memory_mib": dice.choice([None] * 5 + [1_000, 60_000, 240_000]),
        "host_id": dice.choice([None] * 7 + [dice.choice(places).id]),
        "image": dice.choice([IMAGE, CUSTOM]),
    }
    if changes["gpus"]:
        several = sorted({model() for _ in range(3)})
        changes["models"] = dice.choice([None, None, None, [model()], several])
        changes["gpu_memory_mib"] = dice.choice([0] * 9 + [20_000, 40_000, 81_560])
    return wish(owner_id, f"v{dice.getrandbits(64):x}", **changes)


def some_cards(dice: random.Random) -> list[tuple[str, int]]:
    """Model and memory of the cards of a host."""
    kinds = [(model, size) for model in CARDS for size in CARDS[model]]
    groups = dice.sample(kinds, dice.choice([0, 1, 1, 1, 2, 3]))
    return [kind for kind in groups for _ in range(dice.choice([1, 2, 4, 8]))]


# Fleets out of thin air --------------------------------------------------------------------------

TABLES = {
    "host": "id, name, ssh_user, ssh_address, probed, committed, cordoned, ill, queues, cpus,"
    " n_gpus, millicpus, millicpus_free, memory_mib, memory_free_mib",
    "vessel": "id, owner_id, name, state, gpus, image, lifetime, host_id, millicpus, memory_mib,"
    " token_hash, request_hash",
    "gpu": "host_id, uuid, idx, name, model, memory_mib, parent, ill, vessel_id",
    "home": "owner_id, host_id",
    "image_on_host": "image, host_id",
}


def load(connection: psycopg.Connection[Row], dice: random.Random, owner_id: int) -> list[str]:
    """As many fleets as a batch has, in queues `<number><letter>`, which it returns."""
    rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in TABLES}
    queues = [f"{number}{letter}" for number in range(FLEETS) for letter in "abc"]
    id = 0
    for number in range(FLEETS):
        own = queues[3 * number : 3 * number + 3]
        alike = [some_cards(dice) for _ in range(2)]
        for _ in range(dice.randint(1, 9)):
            id += 1
            add_random_host(rows, dice, id, owner_id, own, dice.choice(alike))
    for table, columns in TABLES.items():
        with connection.cursor().copy(f"COPY {table} ({columns}) FROM STDIN".encode()) as copy:
            for row in rows[table]:
                copy.write_row(row)
    count_cards(connection)
    return queues


def add_random_host(
    rows: dict[str, list[tuple[Any, ...]]],
    dice: random.Random,
    id: int,
    owner_id: int,
    queues: list[str],
    cards: list[tuple[str, int]],
) -> None:
    """One vessel stands for all that is held there."""
    busy = dice.choice([0, 0, 0, 0.3, 0.6, 1])
    cpus, mib = dice.choice([30_000, 60_800]), dice.choice([60_000, 486_400])
    used = dice.choice([0, 0, 0, 0, 0.3, 0.8, 1])
    vessel = f"00000000-0000-4000-8000-{id:012}"
    probed, committed = dice.random() < 0.95, dice.random() < 0.93
    ill = "its Docker does not answer" if dice.random() < 0.06 else None
    mine = sorted(dice.sample(queues, dice.choice([1, 1, 2, 3])))
    held = [dice.random() < busy for _ in cards]
    rows["host"].append(
        (id, f"h{id}", "root", f"h{id}", probed, committed, dice.random() < 0.07, ill, mine,
         cpus // 950, len(cards), cpus, cpus - int(cpus * used), mib, mib - int(mib * used))
    )  # fmt: skip
    rows["vessel"].append(
        (vessel, owner_id, f"v{id}", "running", sum(held), IMAGE, "7 days", id, int(cpus * used),
         int(mib * used), b"", b"")
    )  # fmt: skip
    for index, ((model, size), taken) in enumerate(zip(cards, held, strict=True)):
        parent = "GPU-cut" if model == SLICE else None
        gone = "gone: no more" if dice.random() < 0.05 else None
        rows["gpu"].append(
            (
                id,
                f"{id}/{index}",
                index,
                model,
                model,
                size,
                parent,
                gone,
                vessel if taken else None,
            )
        )
    if dice.random() < 0.3:
        rows["home"].append((owner_id, id))
    if dice.random() < 0.4:
        rows["image_on_host"].append((CUSTOM, id))


def test_the_plan_and_the_statements_agree_over_random_fleets(comparison: Comparison) -> None:
    for batch in range(BATCHES):
        dice = random.Random(batch)
        with comparison.connection.transaction(force_rollback=True):
            queues = load(comparison.connection, dice, comparison.owner_id)
            all_places = {image: comparison.places(image) for image in (IMAGE, CUSTOM)}
            for number in range(FLEETS):
                own = queues[3 * number : 3 * number + 3]
                places = {
                    image: [place for place in all_places[image] if set(place.queues) & set(own)]
                    for image in (IMAGE, CUSTOM)
                }
                for _ in range(WISHES):
                    asked = a_wish(dice, comparison.owner_id, places[IMAGE], own, strays=0.1)
                    comparison.compare(places[asked.image], asked)
    assert comparison.seen.total() - comparison.seen["near"] == BATCHES * FLEETS * WISHES
    assert all(comparison.seen[how] >= 50 for how in HOW)


# A fleet that lives ------------------------------------------------------------------------------

QUEUES = ["cheap", "default", "vision"]


@dataclass
class Living:
    """A fleet of the product's own making, to which things happen."""

    db: Database
    here: Context
    dice: random.Random
    owner_id: int
    alike: list[list[tuple[str, int]]]
    cards: dict[int, list[Row]] = field(default_factory=dict[int, list[Row]])
    sizes: dict[int, dict[str, int]] = field(default_factory=dict[int, dict[str, int]])
    held: list[str] = field(default_factory=list[str])

    def add(self, number: int) -> None:
        queues = self.dice.sample(QUEUES, self.dice.choice([1, 1, 2]))
        id = add_host(self.db, f"h{number}", {}, queues=queues)
        self.sizes[id] = {
            "cpus": self.dice.choice([8, 32, 64]),
            "memory_mib": self.dice.choice([64_000, 512_000]),
        }
        self.cards[id] = [
            card(
                f"GPU-{id}-{index}",
                index,
                model,
                memory_mib=size,
                parent="GPU-cut" if model == SLICE else None,
                island=self.dice.choice([0, 1]),
            )
            for index, (model, size) in enumerate(self.dice.choice(self.alike))
        ]
        report_cards(self.db, id, self.cards[id], **self.sizes[id])

    def wish(self) -> Wish:
        places = fleet.list_places(self.db, self.owner_id, IMAGE)
        return a_wish(self.dice, self.owner_id, places, QUEUES, strays=0.1)

    def happen(self) -> None:
        """Something, to some host or vessel."""
        id = self.dice.choice(list(self.cards))
        name = f"h{id}"
        match self.dice.choice(
            "cordon open ill look queues places places start start end end".split()
        ):
            case "cordon":
                fleet.cordon_host(self.db, name, True)
            case "open":
                fleet.cordon_host(self.db, name, False)
            case "ill":
                fleet.report_ill_host(self.db, id, "its Docker does not answer")
            case "look":
                there = [card for card in self.cards[id] if self.dice.random() < 0.9]
                report_cards(self.db, id, there, **self.sizes[id])
            case "queues":
                queues = self.dice.sample(QUEUES, self.dice.choice([1, 1, 2]))
                fleet.set_host_queues(self.db, name, queues)
            case "places":
                homes = [{"login": "ada", "mib": 1}] if self.dice.random() < 0.5 else []
                images = [CUSTOM] if self.dice.random() < 0.5 else []
                fleet.note_places(self.db, id, homes, images)
            case "start":
                asked = self.wish()
                if place(self.here, asked) == "queued":
                    fleet.stop_vessel(self.db, asked.id, "nothing else is to wait")
                else:
                    self.held.append(asked.id)
            case _:
                if self.held:
                    ended = self.held.pop(self.dice.randrange(len(self.held)))
                    fleet.stop_vessel(self.db, ended, "test")
                    fleet.bury_vessel(self.db, ended, 1)


def test_the_plan_and_the_statements_agree_while_a_fleet_lives(comparison: Comparison) -> None:
    dice = random.Random(7)
    alike = [[("a100", 81920)] * 4, [*[("l4", 23034)] * 2, *[(SLICE, 9728)] * 3]]
    living = Living(comparison.db, comparison.here, dice, comparison.owner_id, alike)
    for number in range(1, 13):
        living.add(number)
    for _ in range(STEPS):
        living.happen()
        asked = living.wish()
        comparison.compare(comparison.places(asked.image), asked)
    assert all(comparison.seen[how] >= 5 for how in HOW)
