"""Which roles people have: an operator's file, matched with what the identity provider says."""

import logging
import re
import threading
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict

from drc.auth import PEOPLE, granted
from drc.errors import Misconfigured

KEY_FILE = "key file"
"""What a session's claims say of whom the installation's own key file has vouched for."""

log = logging.getLogger("drc.api.roles")


class File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    claim: str = "groups"
    nobody: list[str] = []
    roles: dict[str, list[str]] = {}
    queues: dict[str, list[str]] = {}


@dataclass(frozen=True, slots=True)
class Rules:
    """`members`: for each role, e-mail addresses and groups; `*` stands for any letters."""

    members: Mapping[str, tuple[str, ...]]
    claim: str = "groups"
    nobody: tuple[str, ...] = ()
    """Who has no role, whatever else is said of them."""
    users: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """For queues that are not everybody's, likewise, who may use them."""

    @classmethod
    def parse(cls, text: str) -> "Rules":
        """Raises ValueError with what is wrong."""
        said = File.model_validate(tomllib.loads(text))
        for role in said.roles:
            if role not in PEOPLE:
                raise ValueError(f"there is no role {role}; there are {', '.join(sorted(PEOPLE))}")
        members = {role: lower(names) for role, names in said.roles.items()}
        users = {queue: lower(names) for queue, names in said.queues.items()}
        return cls(members, said.claim, lower(said.nobody), users)

    def of(self, claims: Mapping[str, Any]) -> list[str]:
        """The roles of whom these claims describe."""
        if KEY_FILE in claims:
            return sorted(PEOPLE & set(claims[KEY_FILE]))
        return self._among(claims, self.members)

    def queues_of(self, claims: Mapping[str, Any]) -> list[str]:
        """The queues that whom these claims describe may use, though they are not everybody's."""
        return self._among(claims, self.users)

    def _among(
        self, claims: Mapping[str, Any], members: Mapping[str, tuple[str, ...]]
    ) -> list[str]:
        """The keys of `members` whose values these claims match."""
        said: Any = claims.get(self.claim, [])
        groups = cast("list[Any]", said if isinstance(said, list) else [said])
        names = [group.lower() for group in groups if isinstance(group, str)]
        if claims.get("email_verified") is True and isinstance(claims.get("email"), str):
            names.append(claims["email"].lower())
        if is_among(names, self.nobody):
            return []
        return sorted(key for key, wanted in members.items() if is_among(names, wanted))


def lower(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name.lower() for name in names)


def is_among(names: Iterable[str], wanted: Iterable[str]) -> bool:
    """`*` stands for any letters; nothing else stands for anything."""
    patterns = [re.escape(one).replace(r"\*", ".*") for one in wanted]
    return any(re.fullmatch(one, name, re.DOTALL) for one in patterns for name in names)


class Roles:
    """The rules of a file, read again when it changes; a broken one leaves the last good ones."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rules = Rules({})
        self.seen: tuple[int, int] | None = None
        self.lock = threading.Lock()
        try:
            self._read()
        except (OSError, ValueError) as failed:
            raise Misconfigured(f"DRC_ROLES, {path}: {failed}") from None

    def of(self, claims: Mapping[str, Any]) -> list[str]:
        return self.now().of(claims)

    def queues(self, claims: Mapping[str, Any]) -> list[str]:
        return self.now().queues_of(claims)

    def permissions(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """Those of whom these claims describe, with the queues that they may use."""
        return granted(self.of(claims), self.queues(claims))

    def now(self) -> Rules:
        with self.lock:
            try:
                self._read()
            except (OSError, ValueError) as failed:
                log.error("DRC_ROLES, %s: %s. What it said before holds.", self.path, failed)
            return self.rules

    def _read(self) -> None:
        if self.path is None:
            return
        found = self.path.stat()
        if (found.st_mtime_ns, found.st_ino) != self.seen:
            self.rules = Rules.parse(self.path.read_text())
            self.seen = found.st_mtime_ns, found.st_ino
