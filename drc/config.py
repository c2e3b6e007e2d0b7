"""What the programs are told by their environment and by files, as values."""

import json
import os
import shlex
import socket
import ssl
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from drc import __version__
from drc.errors import Misconfigured

DEFAULT_URL = "http://127.0.0.1:8787"
DEFAULT_IMAGE = f"drc/vessel:{__version__}"
NET_IMAGE = f"drc/net:{__version__}"
BUILD_ENVIRONMENT = (
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT"),
)
"""What image/build passes on from the environment; what is built upon it elsewhere must, too."""


COMMAND_PATIENCE = 10.0  # seconds for a command that fetches a secret


def package_folder(name: str) -> Path:
    """Where one of our top-level packages is: in a checkout, an editable install or a wheel.

    Raises Misconfigured.
    """
    import importlib.util  # 10 ms that the command line does not need

    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise Misconfigured(f"The folder {name}/ is missing from this installation of drc.")
    return Path(next(iter(spec.submodule_search_locations)))


def need(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise Misconfigured(f"{name} is not set.", hint="See docs/configuration.md.")
    return value


@dataclass(frozen=True, slots=True)
class Hidden:
    """A secret; whatever prints it, or what holds it, says only that there is one."""

    shown: str

    def __repr__(self) -> str:
        return "[REDACTED]"


def secret(environ: Mapping[str, str], name: str) -> Hidden | None:
    """A secret that is in the variable, in the file that `<name>_FILE` names, or in what the
    command in `<name>_COMMAND` prints; without the line end. None where none is set.

    Raises Misconfigured.
    """
    ways = [way for way in (name, f"{name}_FILE", f"{name}_COMMAND") if environ.get(way)]
    if len(ways) > 1:
        raise Misconfigured(f"{ways[0]} and {ways[1]} are both set.", hint="One of them is enough.")
    if not ways:
        return None
    (way,) = ways
    try:
        if way == name:
            found = environ[way]
        elif way.endswith("_FILE"):
            found = Path(environ[way]).read_text()
        else:
            done = subprocess.run(
                shlex.split(environ[way]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                text=True, timeout=COMMAND_PATIENCE, check=True,
            )  # fmt: skip
            found = done.stdout
    except (OSError, ValueError, subprocess.SubprocessError) as failed:
        # not the error itself: it has the command's output in it
        raise Misconfigured(f"{way} gave nothing: {type(failed).__name__}.") from None
    if not found.strip():
        raise Misconfigured(f"{way} gave nothing: it is empty.")
    return Hidden(found.rstrip("\r\n"))


def need_secret(environ: Mapping[str, str], name: str) -> Hidden:
    """As `secret`, of one that must be set."""
    found = secret(environ, name)
    if found is None:
        raise Misconfigured(f"{name} is not set.", hint="See docs/configuration.md.")
    return found


def is_heard(environ: Mapping[str, str]) -> bool:
    """Whether `undertaker listen` has a way to hear what people answer by buttons."""
    names = ("DRC_SLACK_APP_TOKEN", "DRC_SLACK_SIGNING_SECRET")
    return any(environ.get(name + way) for name in names for way in ("", "_FILE", "_COMMAND"))


def count(environ: Mapping[str, str], name: str, default: int) -> int:
    value = environ.get(name, str(default))
    if not value.isascii() or not value.isdigit():
        raise Misconfigured(f"{name} is “{value}”, which is not a number.")
    return int(value)


def address_and_port(environ: Mapping[str, str], name: str) -> tuple[str, int] | None:
    """`127.0.0.1:9410`, `[::1]:9410`; None where it is not set. Raises Misconfigured."""
    said = environ.get(name, "")
    if not said:
        return None
    address, _, port = said.rpartition(":")
    bare = address.removeprefix("[").removesuffix("]")
    number = int(port) if port.isascii() and port.isdigit() else 0
    if not bare or not 0 < number < 65536 or (":" in bare) is not address.startswith("["):
        raise Misconfigured(f"{name} is “{said}”, which is not ADDRESS:PORT.")
    return bare, number


EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104


def metrics_at(
    environ: Mapping[str, str], listens: str, port: int, *, tls: bool = False
) -> tuple[str, bool] | None:
    """Where Prometheus finds the metrics of a program that listens there, and whether over TLS.

    DRC_METRICS_ADDRESS says so where that is another place; `none`: it is not to look for them.
    """
    said = environ.get("DRC_METRICS_ADDRESS", "")
    if said == "none":
        return None
    if said:
        scheme, separator, rest = said.rpartition("://")
        named = address_and_port({"DRC_METRICS_ADDRESS": rest}, "DRC_METRICS_ADDRESS")
        if named is None or scheme not in ("", "http", "https"):
            raise Misconfigured(
                f"DRC_METRICS_ADDRESS is “{said}”, which is no place to scrape.",
                hint="10.0.0.5:8787, or https://drc.example.org:443",
            )
        (listens, port), tls = named, scheme == "https" if separator else tls
    elif listens in EVERYWHERE:
        listens = socket.gethostname()
    return (f"[{listens}]:{port}" if ":" in listens else f"{listens}:{port}"), tls


SCOPE = "openid email profile"
LOCAL = ("http://127.0.0.1:", "http://localhost:", "http://[::1]:")
"""What needs no TLS, since it does not leave the machine."""


@dataclass(frozen=True, slots=True)
class LoginSettings:
    """The identity provider, and who has which role."""

    issuer: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    """Of a program on people's machines, so that it is none; Google wants it nevertheless."""
    scope: str = SCOPE
    ports: tuple[int, ...] = ()
    roles: Path | None = None


def login_settings(environ: Mapping[str, str]) -> LoginSettings:
    """Raises Misconfigured."""
    issuer = environ.get("DRC_OIDC_ISSUER") or None
    if issuer and not issuer.startswith(("https://", *LOCAL)):
        raise Misconfigured(f"DRC_OIDC_ISSUER is “{issuer}”, which is no https address.")
    ports = environ.get("DRC_OIDC_PORTS", "").replace(",", " ").split()
    if not all(port.isascii() and port.isdigit() and 0 < int(port) < 65536 for port in ports):
        raise Misconfigured(f"DRC_OIDC_PORTS is “{' '.join(ports)}”, not a list of ports.")
    roles = environ.get("DRC_ROLES")
    found = secret(environ, "DRC_OIDC_CLIENT_SECRET")
    return LoginSettings(
        issuer=issuer,
        client_id=need(environ, "DRC_OIDC_CLIENT_ID") if issuer else None,
        client_secret=found.shown if found else None,
        scope=environ.get("DRC_OIDC_SCOPE", SCOPE),
        ports=tuple(map(int, ports)),
        roles=Path(roles) if roles else None,
    )


@dataclass(frozen=True, slots=True)
class ApiSettings:
    database_url: Hidden
    keys: Path
    secret: Path
    host: str
    port: int
    image: str
    migrate_url: Hidden | None
    login: LoginSettings = field(default_factory=LoginSettings)
    tls: tuple[Path, Path] | None = None
    metrics_at: tuple[str, bool] | None = None
    """Where Prometheus finds its metrics, and whether over TLS."""
    proxy: str | None = None
    """Whose word on where a request came from is believed."""
    prometheus: str | None = None
    """Where what GPUs and vessels do is measured."""


LOOPBACK = ("127.0.0.1", "::1", "localhost")


def api_settings(environ: Mapping[str, str]) -> ApiSettings:
    host, login = environ.get("DRC_HOST", "127.0.0.1"), login_settings(environ)
    tls = tls_files(environ)
    if host not in LOOPBACK and tls is None:
        raise Misconfigured(
            f"The API would listen on {host} without TLS.",
            hint="Set DRC_TLS_CERT and DRC_TLS_KEY, or let it listen on 127.0.0.1 behind a proxy.",
        )
    if host not in LOOPBACK and login.issuer is None:
        raise Misconfigured(
            f"The API would listen on {host} with nobody who could sign in.",
            hint="Set DRC_OIDC_ISSUER first: docs/access.md.",
        )
    port = count(environ, "DRC_PORT", 8787)
    return ApiSettings(
        database_url=need_secret(environ, "DRC_DATABASE_URL"),
        keys=Path(need(environ, "DRC_KEYS")),
        secret=Path(need(environ, "DRC_SECRET")),
        host=host,
        port=port,
        image=environ.get("DRC_IMAGE", DEFAULT_IMAGE),
        migrate_url=secret(environ, "DRC_MIGRATE_URL"),
        login=login,
        tls=tls,
        metrics_at=metrics_at(environ, host, port, tls=tls is not None),
        proxy=environ.get("DRC_PROXY") or None,
        prometheus=environ.get("DRC_PROMETHEUS_URL") or None,
    )


def tls_files(environ: Mapping[str, str]) -> tuple[Path, Path] | None:
    """Certificate chain and key, in PEM; None: no TLS of its own. Raises Misconfigured."""
    found = [environ.get(name) for name in ("DRC_TLS_CERT", "DRC_TLS_KEY")]
    if not any(found):
        return None
    cert, key = (Path(need(environ, name)) for name in ("DRC_TLS_CERT", "DRC_TLS_KEY"))
    try:
        if key.stat().st_mode & 0o077:
            raise Misconfigured(f"{key} can be read by others.", hint=f"chmod 600 {key}")
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as failed:
        raise Misconfigured(f"{cert} and {key} are no certificate and its key: {failed}") from None
    return cert, key


@dataclass(frozen=True, slots=True)
class Account:
    """Which API the command line talks to, as whom, and how it stays signed in."""

    url: str
    token: str | None
    expires_at: float | None = None
    """By this machine's clock; None: of a token that is not renewed."""
    refresh: str | None = None
    """What renews the token, where the system has no keyring to keep it."""

    def __repr__(self) -> str:
        return f"Account({self.url!r}, [REDACTED])"

    @property
    def stays(self) -> bool:
        """Whether its token is renewed."""
        return self.expires_at is not None


def account_file(environ: Mapping[str, str] = os.environ) -> Path:
    home = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(home) / "drc" / "account.json"


def load_account(environ: Mapping[str, str] = os.environ) -> Account:
    """DRC_URL and DRC_TOKEN, else the file that signing in wrote. Raises Misconfigured."""
    saved: dict[str, Any] = {}
    file = account_file(environ)
    try:
        saved = dict(json.loads(file.read_text()))
        expires_at, refresh = saved.get("expires_at"), saved.get("refresh")
        if not isinstance(expires_at, float | None) or not isinstance(refresh, str | None):
            raise ValueError("it is not as drc writes it")
    except FileNotFoundError:
        expires_at = refresh = None
    except (OSError, ValueError, TypeError) as failed:
        raise Misconfigured(
            f"{file} cannot be read: {failed}", hint="drc login, or drc up, writes it anew."
        ) from None
    url = (environ.get("DRC_URL") or saved.get("url") or DEFAULT_URL).rstrip("/")
    if environ.get("DRC_TOKEN"):
        return Account(url, environ["DRC_TOKEN"])
    if url != str(saved.get("url", url)).rstrip("/"):
        return Account(url, None)  # what one API gave is not shown to another
    return Account(url, saved.get("token"), expires_at, refresh)


def save_account(account: Account, environ: Mapping[str, str] = os.environ) -> None:
    """Written whole or not at all, readable by its owner only."""
    file = account_file(environ)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump(asdict(account), out)
    fresh.replace(file)
