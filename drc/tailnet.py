"""The tags of vessels in a tailnet: conductors give them to nodes, and its policy names them."""

import re

TAG = "tag:vessel"
"""Every vessel's, where DRC_TAILNET_TAG says no other."""
TAGS = "tag:[A-Za-z][A-Za-z0-9-]*"
"""What control planes take for one."""
APART, TOGETHER = "apart", "together"
"""DRC_TAILNET_OWNERS: each owner's vessels have a tag of their own, or all have the same one."""


def owner_tag(tag: str, login: str, uid: int) -> str:
    """The tag of one owner's vessels: `tag:vessel-ada`; `tag:vessel-20001` where the login has
    letters that a tag may not have. No login begins with a digit, so no two owners have the same.
    """
    return f"{tag}-{login if re.fullmatch('[a-z][a-z0-9-]*', login) else uid}"
