"""Small services to a vessel that is up: its owner's keys written anew, its log fetched."""

import docker.errors

from conductor import wanted
from conductor.api import Api
from conductor.host import Host, translated
from conductor.wanted import Names
from conductor.work import Work

LOG_LINES = 1000


def write_keys(work: Work, host: Host, api: Api, names: Names) -> None:
    """sshd reads the file at each login, so nothing has to be told."""
    files = wanted.archive([wanted.keys_file(api.secrets(work))])
    container = names.vessel(work.vessel_id, work.attempt)
    try:
        with translated(host.name):
            host.docker().put_archive(container, "/run/drc", files)
    except docker.errors.NotFound:
        return  # not made yet, and it will get the new keys when it is


def fetch_log(work: Work, host: Host, api: Api, names: Names) -> None:
    container = names.vessel(work.vessel_id, work.attempt)
    try:
        with translated(host.name):
            text = host.docker().logs(container, tail=LOG_LINES).decode(errors="replace")
    except docker.errors.NotFound:
        text = ""
    api.log(work, text[-900_000:])
