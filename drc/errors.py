"""Every error a person can meet, as one family.

DrcError
├─ Refused          understood and declined; the same again will not help   exit 1, 4xx
│  ├─ BadInput          a value that cannot be right
│  │  └─ NotAKey            text that is no OpenSSH public key
│  ├─ NothingFits       no host could ever hold this
│  │  └─ NoQueue            no host is in a queue that was asked for
│  ├─ NameTaken         the owner has a living vessel of that name
│  ├─ NoSuchVessel · NoSuchHost · NoSuchGpu · NoSuchKey · NoSuchQueue · NoSuchBuild
│  ├─ NoSuchToken · NoSuchCertificate · NoSuchJob
│  ├─ TokenTaken        the owner has a good token of that name
│  ├─ HostTaken         a host of that name, or with one of these GPUs, exists
│  ├─ WrongState        the vessel's state does not allow the verb
│  ├─ StaleAttempt      a callback of another attempt, vessel or time
│  ├─ RequestChanged    an idempotency key used again with another request
│  ├─ NotSignedIn
│  │  └─ ProofUsed          an identity provider's token that has begun a session already
│  ├─ Forbidden
│  ├─ TooLarge · TooSlow · TooMany      of one request; of one body; of one caller's requests
│  ├─ TailnetRefused    the control plane declined, and says why
│  ├─ AddressKept       it is another vessel's, which need not live now
│  └─ StartFailed       the vessel failed before anybody could enter it
├─ Unreachable      something we need does not answer; again may help        exit 4, 503
│  ├─ ApiUnreachable · DatabaseUnreachable · EngineFailed
│  ├─ ProviderUnreachable · MetricsUnreachable · TailnetUnreachable
│  ├─ HostUnreachable
│  │  └─ HostKeyChanged     it shows another host key than the pinned one
└─ Misconfigured    this program cannot start as configured                  exit 5, 500

A class's docstring is its message when none is given. `code` is the class's name in kebab case;
it travels in the API's problem details, and `of_code` finds the class again on the other side.
"""

import re


class DrcError(Exception):
    """Something went wrong."""

    http_status = 500
    exit_code = 1
    request_id = ""
    """Of the request that the API answered with it."""

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.hint = hint
        super().__init__(self.message)

    @property
    def code(self) -> str:
        return code_of(type(self))


class Refused(DrcError):
    """The request was understood and declined."""

    http_status = 400


class BadInput(Refused):
    """A value in the request cannot be right."""

    http_status = 422


class NotAKey(BadInput):
    """That is not an OpenSSH public key."""


class NothingFits(Refused):
    """No host could ever hold this vessel."""

    http_status = 422


class NoQueue(NothingFits):
    """No host is in any of these queues."""


class NameTaken(Refused):
    """You have a living vessel of that name."""

    http_status = 409


class NoSuchVessel(Refused):
    """You have no vessel of that name."""

    http_status = 404


class NoSuchHost(Refused):
    """There is no host of that name."""

    http_status = 404


class NoSuchGpu(Refused):
    """There is no such GPU."""

    http_status = 404


class NoSuchQueue(Refused):
    """There is no queue of that name."""

    http_status = 404


class NoSuchKey(Refused):
    """You have no key of that name."""

    http_status = 404


class NoSuchBuild(Refused):
    """There is no such build of an image."""

    http_status = 404


class NoSuchToken(Refused):
    """You have no token of that name."""

    http_status = 404


class NoSuchCertificate(Refused):
    """You have no certificate of that number, or it is good no more."""

    http_status = 404


class NoSuchJob(Refused):
    """Prometheus has no such job here."""

    http_status = 404


class TokenTaken(Refused):
    """You have a token of that name."""

    http_status = 409


class HostTaken(Refused):
    """A host of that name, or one with a GPU of the same UUID, is there already."""

    http_status = 409


class WrongState(Refused):
    """The vessel is in a state that does not allow this."""

    http_status = 409


class StaleAttempt(Refused):
    """That callback belongs to another vessel, attempt or time."""

    http_status = 409


class RequestChanged(Refused):
    """This idempotency key was used before, with another request."""

    http_status = 422


class NotSignedIn(Refused):
    """You are not signed in."""

    http_status = 401


class ProofUsed(NotSignedIn):
    """That proof of who you are has been used already."""


class Forbidden(Refused):
    """Your token does not carry the permission for this."""

    http_status = 403


class TooLarge(Refused):
    """That request is larger than any that the API takes."""

    http_status = 413


class TooSlow(Refused):
    """That request did not arrive in time."""

    http_status = 408


class TooMany(Refused):
    """You ask more often than the API answers one caller. Wait a few seconds."""

    http_status = 429


class AddressKept(Refused):
    """That address is kept for another vessel."""

    http_status = 409


class TailnetRefused(Refused):
    """The tailnet's control plane declined."""

    http_status = 409


class StartFailed(Refused):
    """The vessel could not be started."""

    http_status = 409


class Unreachable(DrcError):
    """Something that is needed does not answer."""

    http_status = 503
    exit_code = 4


class ApiUnreachable(Unreachable):
    """The API does not answer."""


class DatabaseUnreachable(Unreachable):
    """The database does not answer."""


class ProviderUnreachable(Unreachable):
    """The identity provider does not answer."""


class MetricsUnreachable(Unreachable):
    """Prometheus does not answer."""


class TailnetUnreachable(Unreachable):
    """The tailnet's control plane does not answer."""


class HostUnreachable(Unreachable):
    """The host does not answer over SSH."""


class HostKeyChanged(HostUnreachable):
    """The host shows another host key than the pinned one. Nothing is sent to it."""

    shown = ""
    """The public key that it shows."""


class EngineFailed(Unreachable):
    """The host's Docker Engine does not answer, or answered with an error."""


class Misconfigured(DrcError):
    """This program cannot start as it is configured."""

    exit_code = 5


def code_of(kind: type[DrcError]) -> str:
    """`NothingFits` → `nothing-fits`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower()


def family(kind: type[DrcError] = DrcError) -> dict[str, type[DrcError]]:
    """Every class of the family by its code."""
    found = {code_of(kind): kind}
    for child in kind.__subclasses__():
        found |= family(child)
    return found


def of_code(code: str, message: str, hint: str = "") -> DrcError:
    """The error that the API described by `code`; a plain `DrcError` for one we do not know."""
    return family().get(code, DrcError)(message, hint=hint)
