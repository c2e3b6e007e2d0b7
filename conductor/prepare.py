"""Making an image ready on a host before any vessel of it: brought there, and its layer built."""

from conductor import berths, images, layer, wanted
from conductor.api import Api
from conductor.host import Host
from conductor.images import Peers
from conductor.wanted import Names
from conductor.work import Work

MEMORY_MIB = 4096  # what a build without a vessel may use; a vessel's has its own limits
MILLICPUS = 2000


def prepare(work: Work, host: Host, api: Api, names: Names, net_image: str, peers: Peers) -> None:
    """Tells its log as it goes, and what was made. Raises StartFailed, EngineFailed."""
    image = images.ensure(host, work.image, peers)
    images.ensure(host, net_image, peers)
    network = names.building(work.build_id)

    def tell(said: layer.Said) -> None:
        api.log_build(work, "".join(f"{line}\n" for line in said.lines))

    with berths.without_port(host, names, net_image, network):
        site = layer.Site(
            container=f"{network}-layer",
            labels={wanted.INSTALLATION: names.installation},
            network=network,
            memory_mib=MEMORY_MIB,
            millicpus=MILLICPUS,
        )
        made = layer.ensure(host, image, work, names, site, tell)
    name = None if made is image else layer.name_of(image["Id"])
    api.finish_build(work, digest=made["Id"], layer=name)
