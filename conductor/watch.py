"""A look at one host, every few seconds: does it answer, and does it run what it should?

At every new connection, and once a minute, the look is a whole round (conductor.reconcile).
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from conductor import berths, health, mapping, measure, probe, reconcile
from conductor.host import Host
from drc import fleet
from drc.errors import DrcError, EngineFailed, HostKeyChanged, HostUnreachable
from drc.log import bound, new_request
from drc.trouble import Kind

if TYPE_CHECKING:
    from conductor.main import Conductor

PAUSE = 5.0  # seconds between two looks
PATIENCE = 20.0  # seconds of silence after which a host's vessels are called unreachable
ROUND = 60.0  # seconds between two whole rounds
SSH_PATIENCE = 5.0  # seconds for an SSH that answers though Docker does not
AVOIDED = 5.0  # seconds for which a silent host is given no more work

log = logging.getLogger("conductor.watch")


def look(conductor: "Conductor", host: Host) -> None:
    """One look. Reports silence once, and what is found when the host is back."""
    if not host.watching.acquire(blocking=False):
        return
    with bound(host=host.name, request=new_request()):  # what one look mends is one story
        _look(conductor, host)


def _look(conductor: "Conductor", host: Host) -> None:
    try:
        waiting = berths.list_waiting(host, conductor.db)
        there = reconcile.list_containers(conductor, host)
        running = {one.name for one in there if one.running and berths.fits(host, one.labels)}
        is_new = host.connections != host.rounded[0] or host.silent_since is not None
        whole = is_new or time.monotonic() > host.rounded[1] + ROUND
        mended = reconcile.clear(conductor, host, there)
        host.silent_since = None
        mended += reconcile.compare(conductor, host, there)
        mended["berth"] += berths.tidy(host, conductor.db, conductor.names, waiting, running)
        if whole:
            mended += reconcile.sweep(conductor, host, there)
            mapping.write(host, conductor.db)
            if conductor.measures:
                measure.measure(conductor, host, there)
        report_round(conductor, host, dict(+mended), whole, there)
        conductor.refill(host)
    except (HostUnreachable, EngineFailed) as failed:
        now = time.monotonic()
        conductor.silent_until[host.door.id] = now + AVOIDED
        host.silent_since = host.silent_since or now
        log.warning("%s: %s", host.name, failed)
        if isinstance(failed, HostKeyChanged):
            report(partial(conductor.report_ill, host.door.id, failed))
        if now - host.silent_since > PATIENCE:
            report(partial(report_silence, conductor, host, failed))
    except DrcError as failed:
        log.warning("looking at %s: %s", host.name, failed)
    except Exception:
        log.exception("looking at %s", host.name)
    finally:
        host.watching.release()


def report(say: Callable[[], None]) -> None:
    """Tell the API; when it does not answer either, the next look tells it again."""
    try:
        say()
    except DrcError as failed:
        log.warning("%s", failed)


def report_silence(conductor: "Conductor", host: Host, failed: DrcError) -> None:
    lost = conductor.api.silent(host.door.id, silence(host, failed), failed.message)
    if lost:
        log.warning("%s is silent: %s vessels are unreachable", host.name, lost)


def silence(host: Host, failed: DrcError) -> Kind:
    """Whether the host does not answer, or only its engine."""
    if isinstance(failed, EngineFailed):
        try:
            host.run("true", timeout=SSH_PATIENCE)
        except HostUnreachable:
            return Kind.HOST_SILENT
        return Kind.DOCKER_DOWN
    return Kind.HOST_SILENT


def report_health(conductor: "Conductor", host: Host, strange: Sequence[Mapping[str, Any]]) -> None:
    held = fleet.read_holders(conductor.db, host.door.id)
    told = health.look(host, held, strange)
    for uuid in fleet.read_holders(conductor.db, host.door.id).keys() & told["gpus"].keys():
        told["gpus"][uuid]["leftover"] = ""  # of whoever came meanwhile
    conductor.api.health(host.door.id, told)


def report_round(
    conductor: "Conductor",
    host: Host,
    mended: dict[str, int],
    whole: bool,
    there: list[reconcile.There],
) -> None:
    """What was mended; after a whole round also who else is on the GPUs, which cards there are, and
    which boot of its machine it is.
    """
    found: dict[str, Any] = {}
    if whole:
        host.rounded = host.connections, time.monotonic()
        found["boot"] = probe.boot(host)
        try:
            found["strangers"] = reconcile.strangers(conductor, host, there)
            if not host.door.simulate:
                found["cards"] = sorted(card["uuid"] for card in probe.gpus(host)[0])
        except EngineFailed as failed:  # its driver, which is not what vessels are entered through
            report(partial(conductor.report_ill, host.door.id, failed))
    if mended:
        log.info("%s: mended %s", host.name, mended)
    if whole or mended:
        conductor.api.rounded(host.door.id, mended, found)
    if whole:
        report_health(conductor, host, found.get("strangers", []))
