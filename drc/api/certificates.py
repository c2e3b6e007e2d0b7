"""SSH certificates upon one's own public keys: what opens one's vessels for hours, unregistered."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from drc import fleet
from drc.api.access import PERSONAL_SIGNER, Fresh, Here, Owner, Routes
from drc.errors import NoSuchCertificate, NotSignedIn
from drc.fleet import WORK
from drc.sshkey import parse_public_key

LIFE = timedelta(hours=8)
SKEW = timedelta(minutes=5)  # by which clocks of hosts and people's machines may be off

routes = Routes("certificates")


class CertificateRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    key: Annotated[str, Field(max_length=16_384, description="an OpenSSH public key, one line")]


class Certificate(BaseModel):
    serial: int
    fingerprint: Annotated[str, Field(description="of the key that it is upon")]
    issued_at: datetime
    expires_at: datetime
    client: Annotated[str, Field(description="what asked for it")] = ""


class NewCertificate(BaseModel):
    certificate: Annotated[str, Field(description="one line, for a file beside the private key")]
    serial: int
    expires_at: datetime


@routes.post("/certificates", "certificates:issue", status_code=201)
def sign(request: CertificateRequest, caller: Fresh, owner: Owner, here: Here) -> NewCertificate:
    """Certify that whoever has the private key is the caller, for at most 8 hours.

    It ends with what asked for it: the session, or the token.
    """
    key = parse_public_key(request.key)
    is_token = caller.signer == PERSONAL_SIGNER
    row = fleet.issue_certificate(
        here.db, owner["id"], key.fingerprint,
        session_id=caller.session if caller.signer == "session" else None,
        token=caller.session if is_token else None,
        life=LIFE, latest=caller.expires_at if is_token else None,
    )  # fmt: skip
    if row is None:
        raise NotSignedIn("You are not signed in any more.", hint="drc login")
    line = here.users.sign(
        key, [owner["login"]], row["issued_at"] - SKEW, row["expires_at"],
        serial=row["serial"], called=f"{owner['login']} {row['serial']}",
    )  # fmt: skip
    return NewCertificate(certificate=line, serial=row["serial"], expires_at=row["expires_at"])


@routes.get("/certificates", "vessels:read")
def list_(owner: Owner, here: Here) -> list[Certificate]:
    """One's own that are good."""
    rows = fleet.list_certificates(here.db, owner["id"], timedelta(0))
    return [Certificate(**row) for row in rows if not row["revoked"]]


@routes.delete("/certificates", "keys:write", status_code=204)
def revoke_all(owner: Owner, here: Here) -> None:
    """Running vessels refuse all of one's own within seconds."""
    fleet.revoke_certificates(here.db, owner["id"])
    here.doorbell.ring(WORK)


@routes.delete("/certificates/{serial}", "keys:write", status_code=204)
def revoke(serial: Annotated[int, Path(ge=1, lt=2**63)], owner: Owner, here: Here) -> None:
    """Running vessels refuse it within seconds."""
    if not fleet.revoke_certificates(here.db, owner["id"], serial):
        raise NoSuchCertificate(f"You have no certificate {serial}.", hint="drc key certificates")
    here.doorbell.ring(WORK)
