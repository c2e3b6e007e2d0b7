"""What the conductor says to the API."""

from typing import Any

from conductor.reach import Address
from conductor.said import clean
from conductor.work import Work
from drc.errors import AddressKept, EngineFailed
from drc.program import Program
from drc.trouble import Finding, Kind

LONGEST_LOG = 900_000  # letters; a few lines may have as many, and the API takes no more


class Api(Program):
    def _tell(self, work: Work, what: str, body: dict[str, Any] | None = None) -> Any:
        path = f"/v1/conduct/vessels/{work.vessel_id}/{work.attempt}/{what}"
        return self.client.call("POST", path, body)

    def start(self, work: Work) -> None:
        self._tell(work, "start")

    def secrets(self, work: Work) -> dict[str, Any]:
        return self.client.call(
            "GET", f"/v1/conduct/vessels/{work.vessel_id}/{work.attempt}/secrets"
        )

    def step(self, work: Work, kind: str, **more: Any) -> None:
        self._tell(work, "events", {"kind": kind, **more})

    def address(self, work: Work, found: Address) -> None:
        """Where it is in its tailnet. Raises EngineFailed where that is kept for another."""
        body = {
            "ipv4": found.ipv4,
            "ipv6": found.ipv6 or None,
            "dns_name": found.name or None,
            "device": found.device,
            "instead_of": found.instead_of or None,
            "takes": found.takes,
        }
        try:
            self._tell(work, "address", body)
        except AddressKept as failed:  # since we looked: the next try takes another
            raise EngineFailed(failed.message) from failed

    def run(self, work: Work, token: str) -> None:
        self._tell(work, "run", {"token": token})

    def fail(self, work: Work, reason: str, *, by_itself: bool = False) -> None:
        """`by_itself`: it ran, and its container ended."""
        self._tell(work, "fail", {"reason": clean(reason), "by_itself": by_itself})

    def absent(self, work: Work, log: str | None) -> None:
        self._tell(work, "absent", {"log": log and log[-LONGEST_LOG:]})

    def saved(self, work: Work, image: str | None, reason: str = "") -> None:
        """`image`: its name; None: it could not be made, for this reason."""
        self._tell(work, "saved", {"image": image, "reason": clean(reason) if reason else None})

    def lost(self, work: Work) -> None:
        self._tell(work, "lost")

    def found(self, work: Work, reason: str = "") -> None:
        self._tell(work, "found", {"reason": reason})

    def log(self, work: Work, text: str) -> None:
        body = {"log": text[-LONGEST_LOG:]}
        self.client.call("POST", f"/v1/conduct/vessels/{work.vessel_id}/log", body)

    def report(self, host_id: int, found: dict[str, Any]) -> None:
        self.client.call("POST", f"/v1/conduct/hosts/{host_id}/report", found)

    def log_build(self, work: Work, text: str) -> None:
        self.client.call("POST", f"/v1/conduct/images/builds/{work.build_id}/log", {"text": text})

    def finish_build(
        self,
        work: Work,
        *,
        digest: str | None = None,
        layer: str | None = None,
        reason: str | None = None,
    ) -> None:
        """`layer`: the name of what was built, if anything had to be. `reason`: why it failed."""
        path = f"/v1/conduct/images/builds/{work.build_id}/finish"
        reason = clean(reason) if reason else None
        self.client.call("POST", path, {"digest": digest, "layer": layer, "reason": reason})

    def show_key(self, host_id: int, host_key: str) -> None:
        path = f"/v1/conduct/hosts/{host_id}/key"
        self.client.call("POST", path, {"ssh_host_key": host_key})

    def ill(self, host_id: int, reason: str) -> None:
        self.client.call("POST", f"/v1/conduct/hosts/{host_id}/ill", {"reason": clean(reason)})

    def rounded(self, host_id: int, mended: dict[str, int], found: dict[str, Any]) -> None:
        self.client.call("POST", f"/v1/conduct/hosts/{host_id}/round", {"mended": mended, **found})

    def gone(self, host_id: int) -> None:
        self.client.call("POST", f"/v1/conduct/hosts/{host_id}/gone")

    def silent(self, host_id: int, kind: Kind, reason: str) -> int:
        body = {"kind": kind, "reason": clean(reason)}
        return self.client.call("POST", f"/v1/conduct/hosts/{host_id}/silent", body)["lost"]

    def health(self, host_id: int, found: dict[str, Any]) -> None:
        self.client.call("POST", f"/v1/conduct/hosts/{host_id}/health", found)

    def set_aside(self, host_id: int, found: list[Finding]) -> list[str]:
        """Cards that nobody is to be given for now, with all that is wrong with each. Returns those
        of which no operator let that pass.
        """
        told = [{"uuid": one.uuid, "kind": one.kind, "detail": one.detail} for one in found]
        return self.client.call("POST", f"/v1/conduct/hosts/{host_id}/gpus", {"found": told})
