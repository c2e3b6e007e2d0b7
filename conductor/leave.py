"""Leaving a host: take away what drc made on it. Homes stay, and so do images."""

import contextlib
from typing import Any

import docker.errors

from conductor import berths, trial, wanted
from conductor.host import Host, translated
from conductor.wanted import Names
from drc import fleet
from drc.db import Database
from drc.errors import EngineFailed


def leave(host: Host, db: Database, names: Names) -> None:
    """Remove our berths, our network and what vessels left.

    Raises EngineFailed while a vessel is there, or another conductor makes a berth.
    """
    mine = f"{wanted.INSTALLATION}={names.installation}"
    with translated(host.name):
        engine = host.docker()
        if engine.containers(all=True, filters={"label": [mine, wanted.VESSEL]}):
            raise EngineFailed(f"There are still vessels on {host.name}.")
    with host.refilling:  # no more are made
        rows = fleet.list_berths(db, host.door.id)
        if any(not row["ready"] and not row["old"] for row in rows):
            raise EngineFailed(f"Another conductor is still making a berth on {host.name}.")
        for row in rows:
            berths.remove(host, db, names, row["number"])
        trial.sweep(host, names, until=None)
        with translated(host.name):
            for container in engine.containers(all=True, filters={"label": [mine, wanted.BERTH]}):
                host.remove(container["Id"])
            for network in engine.networks(names=[names.network]):
                if network["Name"] == names.network:
                    engine.remove_network(network["Id"])
            left: list[dict[str, Any]] = engine.volumes(filters={"label": mine})["Volumes"] or []
            for volume in left:
                with contextlib.suppress(docker.errors.NotFound):
                    engine.remove_volume(volume["Name"], force=True)
        host.networks.discard(names.network)
