"""Staying signed in: tokens live for minutes, and are renewed before anybody waits for one.

The refresh token is in the system's keyring, or in the account file (0600) where there is none. The
access token is always in the file: it is good for ten minutes, and a keyring takes long to ask.
"""

import contextlib
import fcntl
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from drc.client import Client
from drc.config import Account, account_file, load_account, save_account
from drc.errors import NotSignedIn, Unreachable

MARGIN = 60.0  # seconds before its end at which a token is renewed
SERVICE = "drc"


class Session:
    """The tokens of one account, which several programs may renew: one does, the others wait."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def token(self) -> str | None:
        """Raises NotSignedIn, and Unreachable where the token has run out."""
        account = self.account
        if account.expires_at is not None and time.time() > account.expires_at - MARGIN:
            try:
                self.renew()
            except Unreachable:
                if time.time() > account.expires_at:
                    raise
        return self.account.token

    def renew(self) -> bool:
        """Whether there is another token than before. Raises NotSignedIn, Unreachable."""
        if not self.account.stays:
            return False
        with locked():
            now = load_account()
            if now.url != self.account.url or now.token is None:
                raise NotSignedIn("You signed out meanwhile, or in elsewhere.", hint="drc login")
            if now != self.account:
                self.account = now  # another drc did it meanwhile
                return True
            refresh = self.account.refresh or from_keyring(self.account.url)
            if not refresh:
                raise NotSignedIn("Your sign-in has run out.", hint="drc login")
            client = Client(self.account.url, lambda: None)  # patient: an answer must not be lost
            try:
                got = client.call_openly("POST", "/v1/login/refresh", {"refresh_token": refresh})
            finally:
                client.close()
            self.account = keep(self.account.url, got)
        return True


def client_of(account: Account, *, timeout: float | None = None) -> Client:
    """A client that stays signed in."""
    session = Session(account)
    return Client(account.url, session.token, renew=session.renew, timeout=timeout)


def keep(url: str, got: dict[str, Any]) -> Account:
    """Store what signing in or renewing gave, and return it as the account."""
    refresh: str | None = got["refresh_token"]
    if to_keyring(url, got["refresh_token"]):
        refresh = None
    account = Account(url, got["access_token"], time.time() + got["expires_in"], refresh)
    save_account(account)
    return account


def forget(url: str) -> None:
    """Nobody is signed in at this API any more, on this machine."""
    account_file().unlink(missing_ok=True)
    with contextlib.suppress(*keyring_errors()):
        import keyring

        keyring.delete_password(SERVICE, url)


@contextmanager
def locked() -> Generator[None]:
    """One program at a time."""
    file = account_file().with_suffix(".lock")
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def to_keyring(url: str, refresh: str) -> bool:
    """Whether the system has a keyring that took it."""
    try:
        import keyring

        keyring.set_password(SERVICE, url, refresh)
    except keyring_errors():
        return False
    return True


def from_keyring(url: str) -> str | None:
    try:
        import keyring

        return keyring.get_password(SERVICE, url)
    except keyring_errors():
        return None


def keyring_errors() -> tuple[type[Exception], ...]:
    """What a keyring that is locked, absent or broken raises."""
    import keyring.errors

    return keyring.errors.KeyringError, keyring.errors.InitError, RuntimeError, OSError
