"""The identity provider: an OpenID Connect issuer, as its discovery document describes it.

OpenID Connect Core 1.0, section 3.1.3.7, says what is checked of an ID token.
"""

import json
import threading
import time
from typing import Any, cast

import httpx
import jwt

from drc.auth import LEEWAY
from drc.config import LOCAL
from drc.errors import NotSignedIn, ProviderUnreachable

ALGORITHMS = ["RS256", "ES256", "EdDSA"]
LARGEST = 2**18  # bytes of a document of the provider's; the largest we know of have 20 kB
PATIENCE = 5.0
QUIET = 5.0  # seconds after a failure in which nobody waits for the provider again
AT_ONCE = 8  # logins that may wait for it; the others' threads are for everybody else
QUEUE = 2.0
LIFESPAN = 300.0  # seconds for which keys are kept
COOLDOWN = 30.0  # seconds between two looks for keys that we do not know
AGAIN = "drc login"


class Provider:
    """`client_id` is ours with it. Thread-safe; fetches when first asked."""

    def __init__(self, issuer: str, client_id: str) -> None:
        self.issuer = issuer
        self.client_id = client_id
        self.lock = threading.Lock()
        self.fetcher = Fetcher()
        self.keys: Keys | None = None
        self.waiting = threading.BoundedSemaphore(AT_ONCE)

    def verify(self, id_token: str, nonce: str | None) -> dict[str, Any]:
        """The claims of an ID token that was made for us.

        `nonce`: what the login began with, for those that have one. Raises NotSignedIn,
        ProviderUnreachable.
        """
        if not self.waiting.acquire(timeout=QUEUE):
            raise ProviderUnreachable(f"{self.issuer} is slow to answer. Try again in a moment.")
        try:
            key = self._keys().get_signing_key_from_jwt(id_token)
            claims: dict[str, Any] = jwt.decode(
                id_token,
                key,
                algorithms=ALGORITHMS,
                audience=self.client_id,
                issuer=self.issuer,
                leeway=LEEWAY,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.PyJWKClientConnectionError as failed:
            raise ProviderUnreachable(f"{self.issuer} does not answer: {failed}") from None
        except jwt.ExpiredSignatureError:
            raise NotSignedIn("The identity provider's token has run out.", hint=AGAIN) from None
        except jwt.PyJWTError as failed:
            raise NotSignedIn(
                f"The identity provider's token is not valid: {failed}.", hint=AGAIN
            ) from None
        finally:
            self.waiting.release()
        audience: Any = claims["aud"]
        several = isinstance(audience, list) and audience != [self.client_id]
        if claims.get("azp", None if several else self.client_id) != self.client_id:
            raise NotSignedIn("The identity provider's token is another program's.", hint=AGAIN)
        if claims.get("nonce") != nonce:
            raise NotSignedIn("The identity provider's token is of another login.", hint=AGAIN)
        return claims

    def _keys(self) -> "Keys":
        with self.lock:
            if self.keys is None:
                document = self.fetcher(
                    f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
                )
                if document.get("issuer") != self.issuer:
                    raise ProviderUnreachable(
                        f"{self.issuer} says that it is {document.get('issuer')}.",
                        hint="DRC_OIDC_ISSUER must be written exactly as the provider does.",
                    )
                uri = str(document.get("jwks_uri"))
                if not uri.startswith(("https://", *LOCAL)):
                    raise ProviderUnreachable(f"{self.issuer} has its keys at {uri}: no https.")
                self.keys = Keys(uri, lifespan=LIFESPAN, cooldown_duration=COOLDOWN)
                self.keys.fetcher = self.fetcher
            return self.keys


class Keys(jwt.PyJWKClient):
    """PyJWT's own, but that it takes no more than a provider has reason to send."""

    fetcher: "Fetcher"

    def fetch_data(self) -> Any:
        try:
            found = self.fetcher(self.uri)
        except ProviderUnreachable as failed:
            raise jwt.PyJWKClientConnectionError(failed.message) from failed
        self._last_successful_fetch = time.monotonic()
        return found


class Fetcher:
    """Fetches, and for a while after a failure says the same again without asking."""

    def __init__(self) -> None:
        self.failed_at = 0.0
        self.words = ""

    def __call__(self, url: str) -> dict[str, Any]:
        if self.words and time.monotonic() < self.failed_at + QUIET:
            raise ProviderUnreachable(self.words)
        try:
            found = fetch(url)
        except ProviderUnreachable as failed:
            self.failed_at, self.words = time.monotonic(), failed.message
            raise
        self.words = ""
        return found


def fetch(url: str) -> dict[str, Any]:
    """A JSON document. Raises ProviderUnreachable."""
    said = b""
    try:
        with httpx.stream("GET", url, timeout=PATIENCE, follow_redirects=False) as answer:
            answer.raise_for_status()
            for chunk in answer.iter_bytes():
                said += chunk
                if len(said) > LARGEST:
                    raise ProviderUnreachable(f"{url} is larger than {LARGEST} bytes.")
        document: Any = json.loads(said)
        if not isinstance(document, dict):
            raise ValueError("not an object")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as failed:
        raise ProviderUnreachable(f"{url}: {failed}") from None
    return cast(dict[str, Any], document)
