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
from drc.errors import NotSignedIn, ProviderUnreachable

ALGORITHMS = ["RS256", "ES256", "EdDSA"]
LARGEST = 2**18  # bytes of a document of the provider's; the largest we know of have 20 kB
PATIENCE = 10.0
LIFESPAN = 300.0  # seconds for which keys are kept
COOLDOWN = 30.0  # seconds between two looks for keys that we do not know
AGAIN = "drc login"


class Provider:
    """`client_id` is ours with it. Thread-safe; fetches when first asked."""

    def __init__(self, issuer: str, client_id: str) -> None:
        self.issuer = issuer
        self.client_id = client_id
        self.lock = threading.Lock()
        self.keys: Keys | None = None

    def verify(self, id_token: str, nonce: str | None) -> dict[str, Any]:
        """The claims of an ID token that was made for us.

        `nonce`: what the login began with, for those that have one. Raises NotSignedIn,
        ProviderUnreachable.
        """
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
        audience = claims["aud"]
        if isinstance(audience, list) and claims.get("azp", self.client_id) != self.client_id:
            raise NotSignedIn("The identity provider's token is another program's.", hint=AGAIN)
        if claims.get("nonce") != nonce:
            raise NotSignedIn("The identity provider's token is of another login.", hint=AGAIN)
        return claims

    def _keys(self) -> "Keys":
        with self.lock:
            if self.keys is None:
                document = fetch(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
                if document.get("issuer") != self.issuer:
                    raise ProviderUnreachable(
                        f"{self.issuer} says that it is {document.get('issuer')}.",
                        hint="DRC_OIDC_ISSUER must be written exactly as the provider does.",
                    )
                uri = str(document.get("jwks_uri"))
                self.keys = Keys(uri, lifespan=LIFESPAN, cooldown_duration=COOLDOWN)
            return self.keys


class Keys(jwt.PyJWKClient):
    """PyJWT's own, but that it takes no more than a provider has reason to send."""

    def fetch_data(self) -> Any:
        try:
            found = fetch(self.uri)
        except ProviderUnreachable as failed:
            raise jwt.PyJWKClientConnectionError(failed.message) from failed
        self._last_successful_fetch = time.monotonic()
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
