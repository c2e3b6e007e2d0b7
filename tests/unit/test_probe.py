"""Cards that are made up where there are none."""

from conductor.probe import simulated


def test_simulated_cards_are_the_same_each_time_and_say_so() -> None:
    once, again = simulated("a100:2,rtx3090:1", "ENGINE"), simulated("a100:2,rtx3090:1", "ENGINE")
    assert once == again
    assert [(c["index"], c["model"], c["simulated"]) for c in once] == [
        (0, "a100", True),
        (1, "a100", True),
        (2, "rtx3090", True),
    ]
    assert all(c["uuid"].startswith("SIM-") and "simulated" in c["name"] for c in once)
    elsewhere = {c["uuid"] for c in simulated("a100:2,rtx3090:1", "ANOTHER")}
    assert not elsewhere & {c["uuid"] for c in once}
