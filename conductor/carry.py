"""Files for a vessel, onto its volume at /run/drc and past the vessel itself.

An engine that is given files for a container first mounts that container's volumes, where their
names lead in its file system at that moment. Whoever changes that file system meanwhile (root in
the vessel, or in another one that has the same home) leads the mount onto the host: CVE-2026-42306,
which older engines will keep. So the files go through a container of our own image which has that
volume and nothing else, and never runs.
"""

from conductor import container, wanted
from conductor.host import Host, translated
from conductor.wanted import File, Names
from conductor.work import Work


def put(host: Host, names: Names, work: Work, files: list[File], *, image: str) -> None:
    """`image`: the network container's. Raises EngineFailed, NotFound."""
    with translated(host.name):
        carrier = names.carrier(work.vessel_id, work.attempt)
        container.create(host, wanted.carrier_container(names, work, image), carrier)
        host.docker().put_archive(carrier, wanted.RUN, wanted.archive(files))
        host.docker().remove_container(carrier, force=True)
