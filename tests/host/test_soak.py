"""The short form of `make bench-soak`: operations with random kills between them."""

import os
import random

import pytest

from bench.soak import soak
from tests.host.hard import hard_world
from tests.host.machine import Machine

OPERATIONS = int(os.environ.get("SOAK", "40"))


def test_after_random_kills_nothing_is_lost_and_nothing_left_over(
    machine: Machine, tmp_path_factory: pytest.TempPathFactory
):
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # shown when it fails
    with hard_world(machine, tmp_path_factory.mktemp("soak"), berths=2) as hard:
        figures = soak(hard, OPERATIONS, seed)
    assert figures["kills"] > 0
    assert (figures["lost"], figures["orphans"]) == (0, 0)
