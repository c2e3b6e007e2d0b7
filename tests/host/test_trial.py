"""Trials on an engine: made once for all who wait, and nothing of them stays."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from conductor import trial
from conductor.host import Host
from conductor.wanted import Names
from tests.host.machine import Machine

OURS, THEIRS = Names("0badcafe"), Names("0ddba11")


def there(machine: Machine) -> tuple[int, int]:
    """How many containers and images of trials of ours there are."""
    ours = {"label": f"{trial.LABEL}={OURS.installation}"}
    engine = machine.client
    return len(engine.containers(all=True, filters=ours)), len(engine.images(filters=ours))


def test_what_a_killed_trial_left_is_swept_once_it_is_old(
    host: Host, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.disk_mib = 1024
    trial.sweep(host, OURS, until=None)  # of a run of these tests that was cut off
    with monkeypatch.context() as killed:
        for cleaning in ("remove_container", "remove_image"):
            killed.setattr(host.docker(), cleaning, lambda *_, **__: None)
        trial.limits(host, OURS)
    left = there(machine)
    assert left[1] == 1
    trial.sweep(host, THEIRS, until=None)
    trial.sweep(host, OURS)
    assert there(machine) == left
    trial.sweep(host, OURS, until=None)
    assert there(machine) == (0, 0)


def test_those_who_ask_at_once_wait_for_one_trial(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.disk_mib = 1024
    made = host.docker()._post
    posts: list[str] = []

    def post(url: str, **more: object) -> object:
        posts.append(url)
        return made(url, **more)

    monkeypatch.setattr(host.docker(), "_post", post)
    with ThreadPoolExecutor(12) as crowd:
        told = list(crowd.map(lambda _: trial.limits(host, OURS), range(12)))
    assert len(set(told)) == 1
    assert sum(url.endswith("/images/create") for url in posts) == 1
