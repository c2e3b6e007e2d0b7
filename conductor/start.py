"""Starting a vessel. Every step can be done again: what it makes bears the vessel's id and attempt.

The steps, in order, are STEPS. What is told to the API goes out behind the steps, in its order, so
that the start never waits for it; the last word, the token, waits for all of it.
"""

import base64
from collections.abc import Callable, Generator
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import Any

import paramiko

from conductor import berths, carry, container, health, home, images, layer, ready, trial, wanted
from conductor.api import Api
from conductor.host import Host, translated
from conductor.images import Peers
from conductor.reach import Address
from conductor.wanted import Names
from conductor.work import Work
from drc.db import Database
from drc.errors import EngineFailed, StartFailed
from drc.log import carried
from drc.trouble import Finding

# each is begun by Work.begin, so that a start that was cut off between any two can be tried
JOIN_LIMIT = 90.0  # seconds that a start waits for its address, beside its other steps
FAREWELL = 5.0  # seconds that one which failed waits for its node, so that it is deleted with it
STEPS = ("berth", "image", "home", "container", "identity", "start", "ssh", "join", "jupyter",
         "keys", "token")  # fmt: skip


class Telling:
    """Reports to the API in the background, one after the other."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="tell")
        self.told: list[Future[Any]] = []

    def __call__(self, report: Callable[..., Any], *words: Any, **more: Any) -> Future[Any]:
        future = self.pool.submit(carried(report), *words, **more)
        self.told.append(future)
        return future

    def finish(self) -> None:
        """Raises what any report raised: above all StaleAttempt."""
        for future in self.told:
            future.result()

    def close(self) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)


def start(
    work: Work,
    host: Host,
    db: Database,
    api: Api,
    names: Names,
    net_image: str,
    peers: Peers,
    journeys: home.Journeys,
) -> None:
    """Bring the vessel up and turn it to running. `peers`: hosts that may have its image.

    Raises StartFailed when trying again would not help, EngineFailed and HostUnreachable when it
    may, StaleAttempt when the vessel is to stop.
    """
    tell = Telling()
    aside, ended = ThreadPoolExecutor(2, thread_name_prefix="aside"), Event()
    joined: Future[Address | None] | None = None
    try:
        tell(api.start, work)
        fit = aside.submit(carried(health.check), host, work.cards) if work.cards else None
        secrets = tell(api.secrets, work)
        work.begin("berth")
        number = work.berth
        if number is None:
            images.ensure(host, net_image, peers)
            number, work.node = berths.make(host, db, names, net_image, work.vessel_id), ""
        elif not berths.ensure(host, names, net_image, number):
            work.node = ""
        if not host.reach.publishes:  # a port needs no joining, nor a thread for it
            joined = aside.submit(carried(join), host, db, api, names, work, number, ended)
        work.begin("image")
        image = images.ensure(host, work.digest or work.image, peers)
        say = partial(tell, api.step, work)
        made = vessel_image(host, image, work, names, names.berth(number), say)
        digest = made["Id"]
        vessel = names.vessel(work.vessel_id, work.attempt)
        door = host.reach.door(host, names, number)
        where: dict[str, Any] = {}
        if host.reach.publishes:
            where = {"ssh_address": door[0], "ssh_port": door[1]}
        data = {} if made is image else {"layer": layer.name_of(image["Id"])}
        tell(api.step, work, "image_ready", data=data, image_digest=digest, **where)
        if not host.runs(vessel):  # else the step before was cut off after it
            work.begin("home")
            if work.home_from is not None:
                journeys.bring(work, host, say)
            work.begin("container")
            make_container(host, work, names, digest, berth=names.berth(number))
            work.begin("identity")
            put_identity(host, names, work, secrets.result(), berth=names.berth(number))
            work.begin("start")
            container.start(host, vessel)
        with unless_restarted(host, names.berth(number)):
            work.begin("ssh")
            ready.wait_for_banner(host, work, vessel, door)
            work.begin("join")
            address = finish_joining(joined) if joined else None
            tell(api.step, work, "ssh_ready")
            known = secrets.result()
            work.begin("jupyter")
            ready.wait_for_jupyter(host, names.berth(number), known["jupyter_token"])
            tell(api.step, work, "jupyter_ready")
            christen = partial(carried(host.reach.christen), host, names, number, work)
            named = aside.submit(christen, address) if address else None
            work.begin("keys")
            ready.check_keys(host, work, door, host_key_blob(known), known["authorized_keys"])
        if fit:
            check_fit(api, host, fit.result())
        if named:
            named.result()
        tell.finish()
        work.begin("token")
        api.run(work, known["token"])
    finally:
        tell.close()
        ended.set()
        if joined:  # a node that joins after its vessel's stop would be left over for a while
            futures.wait([joined], FAREWELL)
        aside.shutdown(wait=False, cancel_futures=True)


def join(
    host: Host, db: Database, api: Api, names: Names, work: Work, number: int, ended: Event
) -> Address | None:
    """Beside the other steps, and told at once, for its owner's ssh waits for nothing else."""
    address = host.reach.join(host, db, names, number, work, ended)
    if address:
        api.address(work, address)
    return address


def check_fit(api: Api, host: Host, unfit: list[Finding]) -> None:
    """Nobody is given a GPU that is ill, unless an operator let that pass. Raises StartFailed."""
    aside = api.set_aside(host.door.id, unfit) if unfit else []
    if aside:
        why = "; ".join(f"{one.uuid}: {one.detail}" for one in unfit if one.uuid in aside)
        raise StartFailed(
            f"A GPU of {host.name} is ill ({why}). It is set aside: create it again, for another."
        )


def finish_joining(joined: Future[Address | None]) -> Address | None:
    """Raises what it raised, and EngineFailed when it takes too long."""
    try:
        return joined.result(JOIN_LIMIT)
    except TimeoutError:
        raise EngineFailed(f"It did not join the tailnet within {JOIN_LIMIT:.0f} s.") from None


@contextmanager
def unless_restarted(host: Host, berth: str) -> Generator[None]:
    """One that ended with its machine or engine may come up yet: EngineFailed, not StartFailed.

    Its network container, which only waits, tells the two apart.
    """
    try:
        yield
    except (StartFailed, paramiko.ChannelException) as failed:
        if host.runs(berth):
            raise
        raise EngineFailed(f"{host.name} was restarted meanwhile.") from failed


def vessel_image(
    host: Host,
    image: dict[str, Any],
    work: Work,
    names: Names,
    berth: str,
    tell: Callable[..., Any],
) -> dict[str, Any]:
    """The image itself, or its layer where it is no vessel image. Raises StartFailed."""

    def building(said: layer.Said) -> None:
        data = {"line": said.lines[-1], "step": said.step, "steps": said.steps}
        tell("building", data=data)

    site = layer.Site(
        container=names.layer(work.vessel_id, work.attempt),
        labels=names.labels(work),
        network=berth,
        memory_mib=work.memory_mib,
        millicpus=work.millicpus,
    )
    return layer.ensure(host, image, work, names, site, building)


def make_container(host: Host, work: Work, names: Names, digest: str, *, berth: str) -> None:
    body = wanted.vessel_container(
        names,
        work,
        digest,
        berth=berth,
        home=home.volume(host, names, work),
        host=host.name,
        limits=trial.limits(host, names),
    )
    container.create(host, body, names.vessel(work.vessel_id, work.attempt))


def put_identity(
    host: Host, names: Names, work: Work, secrets: dict[str, Any], *, berth: str
) -> None:
    with translated(host.name):
        image = host.docker().inspect_container(berth)["Image"]
    files = wanted.identity_files(work, secrets, tailnet=not host.reach.publishes)
    carry.put(host, names, work, files, image=image)


def host_key_blob(secrets: dict[str, Any]) -> bytes:
    return base64.b64decode(secrets["host_key_public"].split()[1])
