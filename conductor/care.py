"""Small services to a vessel that is up: its owner's keys written anew, its log fetched."""

import docker.errors

from conductor import carry, wanted
from conductor.api import Api
from conductor.container import last_lines
from conductor.host import Host, translated
from conductor.wanted import Names
from conductor.work import Work
from drc.errors import EngineFailed
from drc.vessel import State

LOG_LINES = 1000


def write_keys(work: Work, host: Host, api: Api, names: Names) -> None:
    """sshd reads these files at each login, so nothing has to be told.

    Raises EngineFailed, HostUnreachable: whoever was shut out must not stay in.
    """
    files = wanted.access_files(api.secrets(work))
    try:
        with translated(host.name):
            engine = host.docker()
            vessel = engine.inspect_container(names.vessel(work.vessel_id, work.attempt))
            if work.state == State.STARTING and not vessel["State"]["Running"]:
                raise not_yet(work)  # the start writes what it was told before, once more
            berth = vessel["HostConfig"]["NetworkMode"].removeprefix("container:")
            image = engine.inspect_container(berth)["Image"]
        carry.put(host, names, work, files, image=image)
    except docker.errors.NotFound:
        if work.state == State.STARTING:  # it may have been told of the old ones already
            raise not_yet(work) from None


def not_yet(work: Work) -> EngineFailed:
    return EngineFailed(f"{work.name} is not made yet.")


def fetch_log(work: Work, host: Host, api: Api, names: Names) -> None:
    container = names.vessel(work.vessel_id, work.attempt)
    api.log(work, last_lines(host, container, LOG_LINES) or "")
