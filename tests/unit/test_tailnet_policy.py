"""What drc writes into a tailnet's policy, and where."""

import json
import re
from typing import Any

import pytest

from drc.cli.policy import address_of, apart, fill, people_of, together
from drc.cli.tailnet import SHIPPED
from drc.errors import BadInput

TAG = "tag:vessel"
NONE: dict[str, list[str]] = {"tagOwners": [], "acls": [], "tests": []}
EMPTY = "".join(f"// drc: people in {part}\n// drc: end\n" for part in NONE)


def owner(login: str, called: str, uid: int = 20001) -> dict[str, Any]:
    return {"subject": login, "login": login, "uid": uid, "called": called}


ADA, BOB = owner("ada", "ada@example.org"), owner("bob", "bob@example.org", 20002)


def read(parts: dict[str, list[str]]) -> dict[str, Any]:
    """The parts as JSON has them."""
    text = {name: re.sub(r",$", "", "\n".join(lines)) for name, lines in parts.items()}
    return {
        "tagOwners": json.loads(f"{{{text['tagOwners']}}}"),
        "acls": json.loads(f"[{text['acls']}]"),
        "tests": json.loads(f"[{text['tests']}]"),
    }


def test_what_is_shipped_is_what_would_be_written_for_its_people() -> None:
    shipped = SHIPPED.read_text()
    assert fill(shipped, apart(people_of([ADA, BOB], TAG))) == shipped


def test_everybody_reaches_their_own_and_a_test_says_that_they_reach_no_others() -> None:
    found = read(apart(people_of([ADA, BOB], TAG)))
    assert found["tagOwners"] == {"tag:vessel-ada": ["tag:drc"], "tag:vessel-bob": ["tag:drc"]}
    assert [(rule["src"], rule["dst"]) for rule in found["acls"]] == [
        (["ada@example.org"], ["tag:vessel-ada:22,8888"]),
        (["bob@example.org"], ["tag:vessel-bob:22,8888"]),
    ]
    for test, own, other in zip(found["tests"], ("ada", "bob"), ("bob", "ada"), strict=True):
        assert test["src"] == f"{own}@example.org"
        assert test["accept"] == [f"tag:vessel-{own}:22", f"tag:vessel-{own}:8888"]
        assert f"tag:vessel-{other}:22" in test["deny"]


def test_nobody_is_tested_not_to_reach_what_is_their_own_by_another_account() -> None:
    again = owner("ada2", "Ada@example.org", 20003)
    first, second = read(apart(people_of([ADA, again], TAG)))["tests"]
    assert (first["deny"], second["deny"]) == (["tag:vessel-ada:80"], ["tag:vessel-ada2:80"])
    first, second, _ = read(apart(people_of([ADA, again, BOB], TAG)))["tests"]
    assert "tag:vessel-bob:22" in first["deny"]
    assert "tag:vessel-bob:22" in second["deny"]


def test_nobody_at_all_is_a_policy_still() -> None:
    assert read(apart([])) == {"tagOwners": {}, "acls": [], "tests": []}
    assert read(together([], TAG)) == {"tagOwners": {}, "acls": [], "tests": []}


def test_together_everybody_reaches_all() -> None:
    found = read(together(people_of([BOB, ADA, owner("eve", "eve")], TAG), TAG))
    (rule,) = found["acls"]
    assert rule["src"] == ["ada@example.org", "bob@example.org"]
    assert rule["dst"] == ["tag:vessel:22,8888"]
    assert found["tagOwners"] == {}


@pytest.mark.parametrize(
    "called",
    ["ada", "", "@", "ada@", "@example.org", "*@example.org", "*", "autogroup:member",
     "group:drc@x", "tag:vessel", 'ada"@example.org', 'ada@example.org"], "dst": ["*:*"]}, {"',
     "ada@example.org\n", "ada@example.org\r", "ada@exa mple.org", "ada,bob@example.org",
     "ada@example.org,bob@example.org", "ada@example..org", "ada@example.org.", "åda@example.org",
     "ada@例え.jp", "ada\u2028@example.org", "ada@@example.org", "//@example.org",
     "ada\\@example.org", "https://id.example.org|17", "-ada@example.org", f"{'a' * 250}@x.org"],
)  # fmt: skip
def test_what_is_no_plain_address_comes_into_no_policy(called: str) -> None:
    assert address_of(called) == ""
    parts = apart(people_of([owner("ada", called), BOB], TAG))
    found = read({**parts, "acls": [line for line in parts["acls"] if line[:2] != "//"]})
    assert [rule["src"] for rule in found["acls"]] == [["bob@example.org"]]
    assert "// tag:vessel-ada: its owner has no address" in parts["acls"]


@pytest.mark.parametrize(
    "called", ["ada@example.org", "Ada.Lovelace+gpu@sub.example.org", "ada_l@github", "1@x-y.org"]
)
def test_what_people_have_is_an_address(called: str) -> None:
    assert address_of(called) == called


# Where it is written --------------------------------------------------------------------------


def test_what_stands_between_the_markers_is_replaced_as_they_are_indented() -> None:
    text = EMPTY.replace("// drc: people in acls\n", "\t\t// drc: people in acls \nold\n  old\n")
    parts = {**NONE, "acls": ["one,", "two,"]}
    filled = fill(text, parts)
    assert "\t\t// drc: people in acls \n\t\tone,\n\t\ttwo,\n// drc: end\n" in filled
    assert "old" not in filled
    assert fill(filled, parts) == filled


def test_lines_may_end_as_on_windows() -> None:
    filled = fill(EMPTY.replace("\n", "\r\n"), {**NONE, "acls": ["one,"]})
    assert "acls\r\none,\r\n// drc: end\r\n" in filled


def test_the_last_line_need_not_end() -> None:
    assert fill(EMPTY.rstrip("\n"), NONE) == EMPTY.rstrip("\n")


@pytest.mark.parametrize("others", ["", "// 1\r{\x0b\x85 // drc: end\u2028\t}\r\n\n", "\ufeff{}\n"])
def test_all_else_stays_to_the_letter(others: str) -> None:
    assert fill(others + EMPTY + others, NONE) == others + EMPTY + others


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{}", "no place for drc's people in tagOwners and acls and tests"),
        (EMPTY.replace("acls", "ACLs"), "“people in ACLs” is no part"),
        (EMPTY.replace("// drc: people in acls\n// drc: end\n", ""), "no place .* in acls"),
        (EMPTY + EMPTY, "“people in tagOwners” is twice"),
        (EMPTY.replace("// drc: end\n", "", 1), "“people in acls” is in another part"),
        (EMPTY[: -len("// drc: end\n")], "“people in tests” has no end"),
        ("// drc: end\n" + EMPTY, "Line 1: drc's “end” ends nothing"),
        (EMPTY + "\t// drc: end", "“end” ends nothing"),
    ],
)  # fmt: skip
def test_markers_that_are_missing_twice_or_open_are_said(text: str, why: str) -> None:
    with pytest.raises(BadInput, match=why) as refused:
        fill(text, NONE)
    assert "drc tailnet policy" in refused.value.hint
