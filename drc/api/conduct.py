"""What conductors report. Every call names vessel and attempt; another attempt's is refused."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi import BackgroundTasks

from drc import fleet
from drc.api import starts
from drc.api.access import Calling, Here, Routes
from drc.api.certificates import SKEW
from drc.api.context import Context
from drc.api.shapes import (
    AddressReport,
    BuildLog,
    BuildReport,
    Failure,
    HostKey,
    HostReport,
    LogReport,
    Proof,
    RoundReport,
    SavedReport,
    Silence,
    StepReport,
    Why,
)
from drc.errors import NoSuchBuild, NoSuchHost, NoSuchVessel, StaleAttempt, Unreachable
from drc.fleet import EVENTS, WORK
from drc.secret import openssh_private, openssh_public, token_hash
from drc.sshca import revocation_list
from drc.sshkey import host_alias, parse_public_key
from drc.trouble import OF_SILENCE, Kind
from drc.vessel import State

HOST_LIFE = timedelta(days=366)  # past it the plain key, which is in known_hosts too, is enough

routes = Routes("conduct")
ATTEMPT = "/conduct/vessels/{id}/{attempt}"


def known(here: Context, moved: object) -> None:
    """Ring for a step that was taken; refuse one of another attempt or time."""
    if not moved:
        raise StaleAttempt
    here.doorbell.ring(EVENTS)


def is_at(here: Context, id: UUID, attempt: int, state: State) -> bool:
    """Whether that attempt of a vessel is in that state now."""
    rows = fleet.read_vessels(here.db, id=str(id))
    return bool(rows) and (rows[0]["state"], rows[0]["attempt"]) == (state, attempt)


@routes.post(ATTEMPT + "/start", "vessels:conduct", status_code=204)
def start(id: UUID, attempt: int, here: Here) -> None:
    """The work was taken. Taking it again (after a crash) is fine while it starts."""
    if fleet.start_vessel(here.db, str(id), attempt):
        here.doorbell.ring(EVENTS)
        return
    known(here, is_at(here, id, attempt, State.STARTING))


@routes.get(ATTEMPT + "/secrets", "vessels:conduct")
def secrets(id: UUID, attempt: int, caller: Calling, here: Here) -> dict[str, Any]:
    """What goes into the vessel, and the attempt's token; only for who holds the claim."""
    claim = fleet.read_claim(here.db, str(id), attempt, caller.subject)
    if claim is None:
        raise StaleAttempt
    host_key = here.secrets.host_key(claim["login"], claim["name"])
    public = openssh_public(host_key)
    alias = host_alias(claim["login"], claim["name"])
    # for plain ssh to it; one that it is given only now is certified the next time
    kept = filter(None, (claim["ipv4"], claim["ipv6"], claim["dns_name"]))
    now = datetime.now(UTC)
    known = fleet.list_certificates(here.db, claim["owner_id"], SKEW)
    revoked = [row["serial"] for row in known if row["revoked"]]
    return {
        "token": here.secrets.bespoke_token(str(id), attempt),
        "host_key": openssh_private(host_key),
        "host_key_public": public,
        "host_certificate": here.vessels.sign(
            parse_public_key(public), [alias, *kept], now - SKEW, now + HOST_LIFE
        ),
        "user_authorities": here.users.believed,
        "revoked_keys": base64.b64encode(
            revocation_list(here.users.believed, revoked, now)
        ).decode(),
        "jupyter_token": here.secrets.jupyter_token(str(id)),
        "authorized_keys": [row["line"] for row in fleet.list_keys(here.db, claim["owner_id"])],
    }


@routes.post(ATTEMPT + "/events", "vessels:conduct", status_code=204)
def step(id: UUID, attempt: int, report: StepReport, here: Here) -> None:
    known(here, fleet.note_event(here.db, str(id), attempt, **report.model_dump()))


@routes.post(ATTEMPT + "/address", "vessels:conduct", status_code=204)
def address(id: UUID, attempt: int, report: AddressReport, here: Here) -> None:
    """It has joined the tailnet; also while it runs, where its device was gone."""
    known(here, fleet.note_address(here.db, str(id), attempt, **report.model_dump()))


@routes.post(ATTEMPT + "/run", "vessels:conduct")
def run(
    id: UUID, attempt: int, proof: Proof, caller: Calling, here: Here, later: BackgroundTasks
) -> dict[str, str]:
    """Turn the vessel to running with its attempt's token; the same again answers the same."""
    hashed = token_hash(proof.token)
    if fleet.run_vessel(here.db, str(id), attempt, hashed):
        here.doorbell.ring(EVENTS)
        later.add_task(starts.observe, here.db, str(id), attempt)
        return {"state": State.RUNNING}
    state = fleet.read_proof(here.db, str(id), attempt, hashed)
    if state in (State.RUNNING, State.UNREACHABLE):
        return {"state": str(state)}
    fleet.refuse_callback(
        here.db, str(id), attempt, {"by": caller.subject, "state": state or "no such attempt"}
    )
    raise StaleAttempt


@routes.post(ATTEMPT + "/fail", "vessels:conduct", status_code=204)
def fail(id: UUID, attempt: int, why: Failure, here: Here) -> None:
    """It cannot go on. Its work becomes `stop`: what was made of it is taken away."""
    known(here, fleet.fail_vessel(here.db, str(id), attempt, why.reason))
    if why.by_itself:
        gone = {"kind": Kind.CONTAINER_GONE, "vessel": str(id), "detail": why.reason}
        host = fleet.read_vessels(here.db, id=str(id), ended=True)[0]["host_id"]
        fleet.note_troubles(here.db, host, (), [gone])
    here.doorbell.ring(WORK)


@routes.post(ATTEMPT + "/absent", "vessels:conduct", status_code=204)
def absent(id: UUID, attempt: int, report: LogReport, here: Here) -> None:
    """The host's Docker says that the container is absent: give back what was held."""
    if report.log is not None:
        fleet.write_log(here.db, str(id), report.log)
    state = fleet.bury_vessel(here.db, str(id), attempt)
    if state is None and is_at(here, id, attempt, State.STOPPING):
        raise Unreachable("Another vessel still shares its GPUs; it is ending too.")
    known(here, state)
    here.waker.ring()


@routes.post(ATTEMPT + "/saved", "vessels:conduct", status_code=204)
def saved(id: UUID, attempt: int, report: SavedReport, here: Here) -> None:
    """What was in it is an image now, or could not be made one."""
    known(here, fleet.note_saved(here.db, str(id), attempt, report.image, report.reason))


@routes.post(ATTEMPT + "/lost", "vessels:conduct", status_code=204)
def lost(id: UUID, attempt: int, here: Here) -> None:
    """Its machine was restarted, and it with it: it is about to be started again."""
    gone = fleet.lose_vessel(here.db, str(id), attempt)
    known(here, gone or is_at(here, id, attempt, State.UNREACHABLE))


@routes.post(ATTEMPT + "/found", "vessels:conduct", status_code=204)
def found(id: UUID, attempt: int, why: Why, here: Here) -> None:
    """The host is back and the vessel runs."""
    known(here, fleet.find_lost_vessel(here.db, str(id), attempt, why.reason))


@routes.post("/conduct/vessels/{id}/log", "vessels:conduct", status_code=204)
def log(id: UUID, report: LogReport, here: Here) -> None:
    if not fleet.write_log(here.db, str(id), report.log or ""):
        raise NoSuchVessel("There is no such vessel.")


@routes.post("/conduct/hosts/{id}/report", "hosts:conduct", status_code=204)
def report(id: int, report: HostReport, here: Here) -> None:
    """What a host was found to be; it takes vessels from now on."""
    found = report.model_dump()
    homes, images = found.pop("homes"), found.pop("images")
    vessel_images, layers = found.pop("vessel_images"), found.pop("layers")
    if not fleet.report_host(here.db, id, **found):
        raise NoSuchHost
    if homes is not None:
        fleet.note_places(here.db, id, homes, images, vessel_images, layers)
    here.waker.ring()


@routes.post("/conduct/images/builds/{id}/log", "hosts:conduct", status_code=204)
def build_log(id: int, report: BuildLog, here: Here) -> None:
    """What a build said since the last time."""
    if not fleet.log_build(here.db, id, report.text):
        raise NoSuchBuild


@routes.post("/conduct/images/builds/{id}/finish", "hosts:conduct", status_code=204)
def build_finished(id: int, report: BuildReport, here: Here) -> None:
    if not fleet.finish_build(here.db, id, **report.model_dump()):
        raise NoSuchBuild


@routes.post("/conduct/hosts/{id}/key", "hosts:conduct", status_code=204)
def shown_key(id: int, key: HostKey, here: Here) -> None:
    """What an unpinned host shows; pinned at once if an operator had named its fingerprint."""
    shown = parse_public_key(key.ssh_host_key)
    if not fleet.show_host_key(here.db, id, shown.line, shown.fingerprint):
        raise NoSuchHost


@routes.post("/conduct/hosts/{id}/ill", "hosts:conduct", status_code=204)
def ill(id: int, why: Why, here: Here) -> None:
    if not fleet.report_ill_host(here.db, id, why.reason):
        raise NoSuchHost


@routes.post("/conduct/hosts/{id}/round", "hosts:conduct", status_code=204)
def round(id: int, report: RoundReport, here: Here) -> None:
    """What a round over the host mended, and what else it found."""
    if not fleet.note_round(here.db, id, **report.model_dump()):
        raise NoSuchHost
    here.doorbell.ring(WORK, EVENTS)


@routes.post("/conduct/hosts/{id}/gone", "hosts:conduct", status_code=204)
def gone(id: int, here: Here) -> None:
    """Nothing of drc is on the host any more: it leaves, if no vessel came to it meanwhile."""
    if not fleet.remove_host(here.db, id):
        raise NoSuchHost


@routes.post("/conduct/hosts/{id}/silent", "hosts:conduct")
def silent(id: int, how: Silence, here: Here) -> dict[str, int]:
    """The host does not answer: its running vessels are unreachable until it does, and nobody else
    comes to it.
    """
    fleet.close_silent_host(here.db, id, how.reason)
    lost = fleet.lose_vessels(here.db, id)
    fleet.note_troubles(here.db, id, OF_SILENCE, [{"kind": how.kind, "detail": how.reason}])
    here.doorbell.ring(EVENTS)
    return {"lost": lost}
