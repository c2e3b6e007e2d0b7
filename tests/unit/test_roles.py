"""Who has which role, by an operator's file and what an identity provider says."""

import os
from pathlib import Path

import pytest

from drc.api.roles import KEY_FILE, Roles, Rules
from drc.errors import Misconfigured

RULES = Rules.parse("""
[roles]
researcher = ["*@Example.org", "students"]
lead = ["ml-*"]
operator = ["gpu-admins", "root@example.org"]
""")
ADA = {"email": "Ada@Example.org", "email_verified": True}


@pytest.mark.parametrize(
    ("claims", "roles"),
    [
        (ADA, ["researcher"]),
        ({**ADA, "groups": ["ML-vision", "GPU-admins"]}, ["lead", "operator", "researcher"]),
        ({"groups": ["students"]}, ["researcher"]),
        ({"groups": "students"}, ["researcher"]),
        ({"groups": ["student"]}, []),
        ({**ADA, "email_verified": False}, []),
        ({**ADA, "email_verified": "true"}, []),
        ({"email": "ada@example.org"}, []),
        ({**ADA, "email": "ada@example.org.evil.com"}, []),
        ({**ADA, "email": "root@example.org"}, ["operator", "researcher"]),
        ({"groups": [1, None, ["students"], {"students": 1}]}, []),
        ({"groups": {"students": True}}, []),
        ({KEY_FILE: ["operator"]}, ["operator"]),
        ({KEY_FILE: ["conductor"]}, []),
        ({}, []),
    ],
)
def test_roles_follow_from_what_was_verified(claims: dict[str, object], roles: list[str]) -> None:
    assert RULES.of(claims) == roles


def test_nobody_wins() -> None:
    rules = Rules.parse('nobody = ["Eve@example.org", "left"]\n[roles]\noperator = ["*"]')
    verified = {"email_verified": True}
    assert rules.of({"email": "eve@Example.org", **verified}) == []
    assert rules.of({"email": "ada@example.org", "groups": ["left"], **verified}) == []
    assert rules.of({"email": "ada@example.org", **verified}) == ["operator"]


def test_only_an_asterisk_stands_for_anything() -> None:
    rules = Rules.parse('[roles]\nlead = ["[IT] admins", "a?c"]')
    assert rules.of({"groups": ["[IT] admins"]}) == ["lead"]
    assert rules.of({"groups": ["I admins", "abc"]}) == []


def test_groups_may_be_in_another_claim() -> None:
    rules = Rules.parse('claim = "https://drc.example/roles"\n[roles]\nlead = ["boss"]')
    assert rules.of({"https://drc.example/roles": ["boss"], "groups": []}) == ["lead"]
    assert rules.of({"groups": ["boss"]}) == []


def test_queues_are_said_of_people_like_roles_and_of_nobody_else() -> None:
    rules = Rules.parse("""
        nobody = ["eve@example.org"]
        [queues]
        big = ["ml-*", "ada@example.org"]
        small = ["*@example.org"]
    """)
    assert rules.queues_of(ADA) == ["big", "small"]
    assert rules.queues_of({"groups": ["ml-vision"]}) == ["big"]
    assert rules.queues_of({**ADA, "email_verified": False}) == []
    assert rules.queues_of({**ADA, "email": "eve@example.org"}) == []
    assert rules.queues_of({KEY_FILE: ["operator"]}) == []
    assert rules.of(ADA) == []


def test_without_a_file_nobody_has_a_role() -> None:
    assert Roles(None).of(ADA) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("roles", "Expected"),
        ('[roles]\nking = ["ada"]', "there is no role king"),
        ('[roles]\nconductor = ["ada"]', "there is no role conductor"),
        ('[roles]\noperator = "ada"', "operator"),
        ("[roles]\noperator = [1]", "operator"),
        ('role = "x"', "role"),
        ("claim = 1", "claim"),
    ],
)
def test_a_broken_file_is_a_sentence(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "roles.toml"
    path.write_text(text)
    with pytest.raises(Misconfigured, match=why):
        Roles(path)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="DRC_ROLES"):
        Roles(tmp_path / "roles.toml")


def test_a_change_holds_at_once_and_a_broken_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / "roles.toml"

    def write(text: str, at: int) -> None:
        path.write_text(text)
        os.utime(path, (at, at))

    write('[roles]\nresearcher = ["*"]', 1)
    roles = Roles(path)
    assert roles.of(ADA) == ["researcher"]
    write('[roles]\nlead = ["*"]', 2)
    assert roles.of(ADA) == ["lead"]
    write("[roles", 3)
    assert roles.of(ADA) == ["lead"]
    path.unlink()
    assert roles.of(ADA) == ["lead"]
    write("", 4)
    assert roles.of(ADA) == []
