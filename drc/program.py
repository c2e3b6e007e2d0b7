"""How a program of ours gets its tokens: for a proof that it signs with a key for just that."""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from drc.auth import Signer
from drc.client import Client

PROOF_LIFE = timedelta(minutes=1)


class Program:
    """`subject`: `conductor:gpu-rack`, say. `clock`: the database's, since a machine's own may be
    minutes off.
    """

    def __init__(
        self, url: str, signer: Signer, subject: str, clock: Callable[[], datetime]
    ) -> None:
        self.signer = signer
        self.subject = subject
        self.clock = clock
        self._lock = threading.Lock()
        self._token = ""
        self._renew_at = 0.0
        self.client = Client(url, self.token)

    def token(self) -> str:
        """Raises NotSignedIn, Unreachable, Misconfigured."""
        with self._lock:
            if time.monotonic() > self._renew_at:
                self.signer = self.signer.again()
                proof = self.signer.sign(self.subject, [self.signer.kid], self.clock(), PROOF_LIFE)
                got = self.client.call_openly("POST", "/v1/login/program", {"proof": proof})
                self._token = got["access_token"]
                self._renew_at = time.monotonic() + got["expires_in"] / 2
            return self._token
