"""Which way vessels are reached, as the environment says."""

import re
from collections.abc import Mapping

import httpx

from conductor.reach import Reach
from conductor.reach.headscale import Headscale
from conductor.reach.local import Local
from conductor.reach.plane import Plane
from conductor.reach.tailnet import Tailnet
from conductor.reach.tailscale import API, Tailscale
from drc.config import need, secret
from drc.errors import Misconfigured
from drc.tailnet import are_apart, tag_of

GUIDE = "docs/tailscale.md"
SECRETS = ("DRC_TAILNET_TOKEN", "DRC_TAILNET_CLIENT_SECRET")


def reach_of(environ: Mapping[str, str]) -> Reach:
    """`DRC_TAILNET`: empty or `local`; `tailscale`, `headscale`. Raises Misconfigured."""
    kind = environ.get("DRC_TAILNET") or "local"
    if kind == "local":
        return Local()
    if kind not in PLANES:
        raise Misconfigured(
            f"DRC_TAILNET is “{kind}”, which is none.",
            hint=f"local, tailscale or headscale: {GUIDE}",
        )
    plane, wait = (
        PLANES[kind](environ, tag_of(environ)),
        environ.get("DRC_TAILNET_BERTHS") or "unjoined",
    )
    if wait not in ("joined", "unjoined") or (wait == "joined" and not plane.can_move):
        raise Misconfigured(
            f"DRC_TAILNET_BERTHS is “{wait}”, which is none, or none that {plane.name} can serve.",
            hint=f"unjoined; or joined, with Tailscale: {GUIDE}",
        )
    return Tailnet(plane, joined=wait == "joined", apart=are_apart(environ))


def tailscale(environ: Mapping[str, str], tag: str) -> Plane:
    token, client = (hidden(environ, name) for name in SECRETS)
    if bool(token) == bool(client):
        raise Misconfigured(f"One of {' and '.join(SECRETS)} must be set.", hint=GUIDE)
    known = (need(environ, "DRC_TAILNET_CLIENT_ID"), client) if client else None
    return Tailscale(
        tag,
        token=token,
        client=known,
        url=address(environ, "DRC_TAILNET_URL") or API,
        login_server=address(environ, "DRC_TAILNET_LOGIN_SERVER"),
    )


def headscale(environ: Mapping[str, str], tag: str) -> Plane:
    need(environ, "DRC_TAILNET_URL")
    token = hidden(environ, "DRC_TAILNET_TOKEN")
    if not token:
        raise Misconfigured("DRC_TAILNET_TOKEN is not set.", hint=GUIDE)
    return Headscale(tag, token=token, url=address(environ, "DRC_TAILNET_URL"))


PLANES = {"tailscale": tailscale, "headscale": headscale}


def hidden(environ: Mapping[str, str], name: str) -> str:
    """A secret that can go into a header; empty where none is set. Raises Misconfigured."""
    found = secret(environ, name)
    if found and not re.fullmatch(r"[!-~]+", found.shown):
        raise Misconfigured(f"{name} has a space or a character in it that no such key has.")
    return found.shown if found else ""


def address(environ: Mapping[str, str], name: str) -> str:
    """Without the slash at its end; empty where none is set. Raises Misconfigured."""
    value = environ.get(name, "")
    try:
        url = httpx.URL(value)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if value and (url.scheme not in ("http", "https") or not url.host):
        raise Misconfigured(f"{name} is “{value}”, which is no http or https address.")
    return value.rstrip("/")
