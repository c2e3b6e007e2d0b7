"""The tags of vessels in a tailnet: conductors give them to nodes, and its policy names them."""

import re
from collections.abc import Mapping

from drc.errors import Misconfigured

TAG = "tag:vessel"
"""Every vessel's, where DRC_TAILNET_TAG says no other."""
TAGS = "tag:[A-Za-z][A-Za-z0-9-]*"
"""What control planes take for one."""
APART, TOGETHER = "apart", "together"
"""DRC_TAILNET_OWNERS: each owner's vessels have a tag of their own, or all have the same one."""


def tag_of(environ: Mapping[str, str]) -> str:
    """Raises Misconfigured."""
    tag = environ.get("DRC_TAILNET_TAG") or TAG
    if not re.fullmatch(TAGS, tag):
        raise Misconfigured(f"DRC_TAILNET_TAG is “{tag}”, which is no tag.", hint=TAG)
    return tag


def are_apart(environ: Mapping[str, str]) -> bool:
    """Raises Misconfigured."""
    owners = environ.get("DRC_TAILNET_OWNERS") or APART
    if owners not in (APART, TOGETHER):
        raise Misconfigured(
            f"DRC_TAILNET_OWNERS is “{owners}”, which is none.", hint=f"{APART}, or {TOGETHER}"
        )
    return owners == APART


def owner_tag(tag: str, login: str, uid: int) -> str:
    """The tag of one owner's vessels: `tag:vessel-ada`; `tag:vessel-20001` where the login has
    letters that a tag may not have. No login begins with a digit, so no two owners have the same.
    """
    return f"{tag}-{login if re.fullmatch('[a-z][a-z0-9-]*', login) else uid}"
