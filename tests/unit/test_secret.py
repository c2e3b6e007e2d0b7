"""What follows from the API's one secret: the same each time, another for each purpose."""

from pathlib import Path

import pytest

from drc.errors import Misconfigured, NotSignedIn
from drc.secret import Secrets, openssh_public, token_hash


def test_a_missing_secret_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read"):
        Secrets.load(tmp_path / "secret")


def test_a_short_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x" * 31)
    with pytest.raises(Misconfigured, match="fewer than 32 bytes"):
        Secrets.load(tmp_path / "secret")


def test_all_that_follows_from_the_secret_is_the_same_each_time() -> None:
    one, again, other = Secrets(b"a" * 32), Secrets(b"a" * 32), Secrets(b"b" * 32)
    for derive in (
        lambda s: s.bespoke_token("id", 1),
        lambda s: s.jupyter_token("id"),
        lambda s: openssh_public(s.host_key("ada", "bert")),
    ):
        assert derive(one) == derive(again) != derive(other)


def test_each_purpose_and_each_subject_has_its_own_derivation() -> None:
    secrets = Secrets(b"a" * 32)
    tokens = [
        secrets.bespoke_token("id", 1),
        secrets.bespoke_token("id", 2),
        secrets.bespoke_token("other", 1),
        secrets.jupyter_token("id"),
        secrets.jupyter_token("other"),
        secrets.refresh_token("id", 1),
        secrets.refresh_token("id", 2),
        secrets.refresh_token("other", 1),
        openssh_public(secrets.access_key()),
        openssh_public(secrets.host_key("ada", "bert")),
        openssh_public(secrets.host_key("adab", "ert")),
        openssh_public(secrets.host_key("ada", "bert2")),
    ]
    assert len(set(tokens)) == len(tokens)
    assert len(token_hash(tokens[0])) == 32


def test_the_secret_does_not_show() -> None:
    assert "aaaa" not in repr(Secrets(b"a" * 32)) + str([Secrets(b"a" * 32)])


def test_a_refresh_token_says_whose_and_which_it_is() -> None:
    secrets = Secrets(b"a" * 32)
    token = secrets.refresh_token("7c9e6679-7425-40de-944b-e07fc1f90ae7", 12)
    assert token.startswith("drc_refresh_")
    assert secrets.read_refresh_token(token) == ("7c9e6679-7425-40de-944b-e07fc1f90ae7", 12)


@pytest.mark.parametrize(
    "token",
    ["", "drc_refresh_", "drc_refresh_id_1_", "drc_refresh_id_1", "drc_refresh_id_-1_x",
     "drc_refresh_id_²_x", "drc_refresh_id_99999999999_x", "x" * 200, "ü", "\ud800",
     Secrets(b"b" * 32).refresh_token("id", 1),
     Secrets(b"a" * 32).refresh_token("id", 1).replace("_1_", "_2_"),
     Secrets(b"a" * 32).refresh_token("id", 1).replace("_id_", "_other_"),
     " " + Secrets(b"a" * 32).refresh_token("id", 1)],
)  # fmt: skip
def test_a_refresh_token_of_nobody_is_refused(token: str) -> None:
    with pytest.raises(NotSignedIn):
        Secrets(b"a" * 32).read_refresh_token(token)
