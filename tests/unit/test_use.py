"""What a vessel uses, from what an engine answers.

GROUPS_1 and ENDED are a real engine's, cut to what is read and a little more; GROUPS_2 is spelled
after Docker's documentation, and its numbers are made up.
"""

from typing import Any

from conductor.use import Use, of_stats

GROUPS_1: dict[str, Any] = {  # Docker 20.10, cgroup v1
    "read": "2026-11-29T16:18:54.360014445Z",
    "cpu_stats": {
        "cpu_usage": {"total_usage": 204696640, "percpu_usage": [115519996, 89176644]},
        "system_cpu_usage": 2298980000000,
    },
    "memory_stats": {
        "usage": 905216,
        "max_usage": 3825664,
        "stats": {"cache": 126976, "inactive_file": 0, "total_inactive_file": 126976},
        "limit": 25276502016,
    },
    "networks": {
        "eth0": {"rx_bytes": 736, "rx_packets": 8, "tx_bytes": 12, "tx_packets": 1},
        "eth1": {"rx_bytes": 64, "rx_packets": 1, "tx_bytes": 0, "tx_packets": 0},
    },
}
GROUPS_2: dict[str, Any] = {  # cgroup v2 has neither max_usage nor the words with total_
    "cpu_stats": {"cpu_usage": {"total_usage": 5_000_000_000}},
    "memory_stats": {"usage": 1000, "stats": {"anon": 600, "file": 400, "inactive_file": 300}},
}
ENDED: dict[str, Any] = {
    "read": "0001-01-01T00:00:00Z",
    "cpu_stats": {"cpu_usage": {"total_usage": 0}},
    "memory_stats": {},
}


def test_cpu_memory_and_network_are_told_in_base_units() -> None:
    assert of_stats(GROUPS_1, GROUPS_1) == Use(0.20469664, 778240, 800, 12)


def test_the_network_is_that_of_the_network_container() -> None:
    assert of_stats(GROUPS_2, GROUPS_1) == Use(5, 700, 800, 12)


def test_a_network_that_nobody_tells_of_has_moved_nothing() -> None:
    assert of_stats(GROUPS_2, ENDED) == Use(5, 700, 0, 0)


def test_one_that_does_not_run_uses_nothing_that_could_be_told() -> None:
    assert of_stats(ENDED, GROUPS_1) is None


def test_page_cache_may_be_more_than_what_is_used() -> None:
    odd = {**GROUPS_2, "memory_stats": {"usage": 1, "stats": {"inactive_file": 300}}}
    used = of_stats(odd, ENDED)
    assert used == Use(5, 0, 0, 0)
