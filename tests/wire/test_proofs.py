"""What begins a session and what does not: every way to lie about who one is."""

import base64
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from drc.api import provider
from drc.auth import LEEWAY, Signer
from drc.config import LoginSettings
from drc.db import Database
from drc.up.postgres import Postgres
from tests.fleets import run_sql
from tests.wire.identity import Issuer
from tests.wire.served import Api, Door, serving

NONCE = "a nonce"
HOUR = timedelta(hours=1)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture
def api(
    door: Door, postgres: Postgres, database: str, tmp_path: Path, issuer: Issuer
) -> Iterator[Api]:
    folder = tmp_path / "keys"
    folder.mkdir()
    roles = tmp_path / "roles.toml"
    roles.write_text('[roles]\nresearcher = ["*@example.org", "staff"]\n')
    login = LoginSettings(issuer=issuer.url, client_id="drc", roles=roles)
    with serving(door, postgres, database, folder, login) as api:
        yield api


Begin = Callable[..., httpx.Response]


@pytest.fixture
def begin(api: Api) -> Begin:
    def ask(id_token: str, nonce: str | None = None) -> httpx.Response:
        proof = {"id_token": id_token, **({"nonce": nonce} if nonce else {})}
        return api.raw("POST", "/v1/login", proof, token=None)

    return ask


def test_a_good_proof_begins_a_session(api: Api, issuer: Issuer, begin: Begin) -> None:
    answer = begin(issuer.token(nonce=NONCE), NONCE)
    assert answer.status_code == 201, answer.text
    got = answer.json()
    assert (got["token_type"], got["expires_in"]) == ("Bearer", 600)
    me = api.raw("GET", "/v1/whoami", token=got["access_token"]).json()
    assert (me["subject"], me["name"]) == (f"{issuer.url}|ada-1", "ada@example.org")
    assert (me["login"], me["roles"]) == ("ada", ["researcher"])


def test_a_proof_is_good_once(issuer: Issuer, begin: Begin, db: Database) -> None:
    token = issuer.token()
    assert begin(token).status_code == 201
    again = begin(token)
    assert (again.status_code, again.json()["code"]) == (401, "proof-used")
    assert len(run_sql(db, "SELECT id FROM session")) == 1


@pytest.mark.parametrize("tail", ["=", "==", "\n"])
def test_a_proof_that_is_spelled_in_another_way_is_the_same(
    tail: str, issuer: Issuer, begin: Begin, db: Database
) -> None:
    token = issuer.token()
    assert begin(token).status_code == 201
    assert begin(token + tail).status_code == 401
    assert len(run_sql(db, "SELECT id FROM session")) == 1


def part(said: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()


def plain(issuer: Issuer) -> dict[str, Any]:
    said = issuer.claims()
    return {**said, "iat": said["iat"].timestamp(), "exp": said["exp"].timestamp()}


def unsigned(issuer: Issuer) -> str:
    return f"{part({'alg': 'none', 'kid': 'good'})}.{part(plain(issuer))}."


def confused(issuer: Issuer) -> str:
    """HS256 with the public key as its secret."""
    pem = issuer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    body = f"{part({'alg': 'HS256', 'kid': 'good'})}.{part(plain(issuer))}"
    mac = hmac.digest(pem, body.encode(), "sha256")
    return f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def tampered(issuer: Issuer) -> str:
    head, _, signature = issuer.token().split(".")
    return f"{head}.{part({**plain(issuer), 'email': 'root@example.org'})}.{signature}"


def with_its_own_key(issuer: Issuer) -> str:
    """The key is in the token's own header, and at an address that it names."""
    mine = rsa.generate_private_key(65537, 2048)
    public = jwt.algorithms.RSAAlgorithm.to_jwk(mine.public_key(), as_dict=True)
    headers = {"kid": "good", "jwk": public, "jku": f"{issuer.url}/mine"}
    return jwt.encode(issuer.claims(), mine, "RS256", headers=headers)


LIES: dict[str, Callable[[Issuer], str]] = {
    "unsigned": unsigned,
    "signed with the public key": confused,
    "tampered with": tampered,
    "with a key of its own": with_its_own_key,
    "expired": lambda i: i.token(
        exp=datetime.now(UTC) - LEEWAY - HOUR, iat=datetime.now(UTC) - HOUR
    ),
    "begun tomorrow": lambda i: i.token(iat=datetime.now(UTC) + HOUR),
    "not good before tomorrow": lambda i: i.token(nbf=datetime.now(UTC) + HOUR),
    "for another program": lambda i: i.token(aud="another"),
    "for us, made for another": lambda i: i.token(azp="another"),
    "for several, made for nobody": lambda i: i.token(aud=["drc", "another"]),
    "for several, made for another": lambda i: i.token(aud=["drc", "another"], azp="another"),
    "of another issuer": lambda i: i.token(iss="https://accounts.example"),
    "of this issuer with a slash": lambda i: i.token(iss=f"{i.url}/"),
    "without a subject": lambda i: i.token(sub=None),
    "without an end": lambda i: i.token(exp=None),
    "without a beginning": lambda i: i.token(iat=None),
    "without an audience": lambda i: i.token(aud=None),
    "of a key that nobody knows": lambda i: i.token(kid="unknown"),
    "of a login with a nonce": lambda i: i.token(nonce="another"),
    "no token": lambda _: "hello",
    "empty": lambda _: "",
    "of other letters": lambda _: "ü.ü.ü",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_begins_nothing(lie: str, issuer: Issuer, begin: Begin, db: Database) -> None:
    answer = begin(LIES[lie](issuer))
    assert (answer.status_code, answer.json()["code"]) == (401, "not-signed-in"), answer.text
    assert run_sql(db, "SELECT id FROM session") == []
    assert run_sql(db, "SELECT id FROM owner") == []
    assert "/mine" not in issuer.asked


def test_clocks_may_differ_by_the_leeway(issuer: Issuer, begin: Begin) -> None:
    late = datetime.now(UTC) - LEEWAY / 2
    assert begin(issuer.token(exp=late, iat=late - HOUR)).status_code == 201
    early = datetime.now(UTC) + LEEWAY / 2
    assert begin(issuer.token(iat=early, nbf=early)).status_code == 201


def test_a_nonce_must_be_the_one_of_this_login(issuer: Issuer, begin: Begin) -> None:
    assert begin(issuer.token(nonce=NONCE), "another").status_code == 401
    assert begin(issuer.token(nonce=NONCE)).status_code == 401
    assert begin(issuer.token(), NONCE).status_code == 401


def test_who_may_do_nothing_here_is_not_signed_in(
    issuer: Issuer, begin: Begin, db: Database
) -> None:
    for stranger in (
        {"email": "ada@elsewhere.org"},
        {"email_verified": False},
        {"email_verified": "true"},
        {"email": ["ada@example.org"]},
        {"email": None},
        {"groups": "guests", "email": None},
        {"groups": {"staff": True}, "email": None},
    ):
        answer = begin(issuer.token(**stranger))
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), stranger
    assert run_sql(db, "SELECT id FROM session") == []
    assert begin(issuer.token(email=None, groups=["Staff"])).status_code == 201


def test_two_people_of_one_name_are_two(api: Api, issuer: Issuer, begin: Begin) -> None:
    logins: list[str] = []
    for n, sub in enumerate(("ada-1", "ada-2", "ada-1")):
        answer = begin(issuer.token(sub=sub, jti=str(n)))
        assert answer.status_code == 201, answer.text
        token = answer.json()["access_token"]
        logins.append(api.raw("GET", "/v1/whoami", token=token).json()["login"])
    assert logins == ["ada", "ada2", "ada"]


def test_unknown_keys_make_the_provider_be_asked_once(issuer: Issuer, begin: Begin) -> None:
    begin(issuer.token())
    asked = len(issuer.asked)
    for n in range(20):
        assert begin(issuer.token(kid=f"unknown-{n}")).status_code == 401
    assert len(issuer.asked) == asked


def test_a_new_key_is_fetched_when_it_is_first_met(
    issuer: Issuer, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "COOLDOWN", 0.0)
    assert begin(issuer.token()).status_code == 201
    issuer.key = rsa.generate_private_key(65537, 2048)
    issuer.jwks = {"keys": [issuer.jwk("fresh")]}
    assert begin(issuer.token(kid="fresh")).status_code == 201


@pytest.mark.parametrize("jwks", [{"keys": []}, {}, {"keys": "many"}, [], {"keys": [{}]}])
def test_a_provider_that_says_nothing_of_use_is_not_believed(
    jwks: Any, issuer: Issuer, begin: Begin
) -> None:
    issuer.jwks = jwks
    assert begin(issuer.token()).status_code in (401, 503)


def test_ten_thousand_keys_are_not_read(issuer: Issuer, begin: Begin) -> None:
    issuer.jwks = {"keys": [issuer.jwk(f"key-{n}") for n in range(10_000)]}
    answer = begin(issuer.token(kid="key-9999"))
    assert answer.status_code == 503
    assert "larger than" in answer.json()["title"]


def test_a_provider_that_is_away_is_said_to_be(issuer: Issuer, begin: Begin) -> None:
    token = issuer.token()
    issuer.close()
    answer = begin(token)
    assert (answer.status_code, answer.json()["code"]) == (503, "provider-unreachable")


def test_a_provider_that_hangs_holds_up_a_few_logins_and_nobody_else(
    api: Api, issuer: Issuer, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "PATIENCE", 0.5)
    hung = threading.Event()
    monkeypatch.setattr(issuer, "answer", lambda: hung.wait(10))
    token = issuer.token()
    with ThreadPoolExecutor(60) as pool:
        logins = [pool.submit(begin, token) for _ in range(60)]
        assert api.raw("GET", "/v1/vessels").status_code == 200
        assert {login.result().status_code for login in logins} <= {503, 429}
    asked = len(issuer.asked)
    assert begin(token).status_code == 503  # at once, and without asking
    assert len(issuer.asked) == asked <= 2
    hung.set()


def test_keys_are_not_fetched_where_others_could_change_them(
    issuer: Issuer, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer, "jwks_uri", "http://10.0.0.1/jwks")
    answer = begin(issuer.token())
    assert (answer.status_code, "no https" in answer.json()["title"]) == (503, True)


@pytest.mark.parametrize("kid", ["conductor", "undertaker", "session"])
def test_no_other_token_of_ours_begins_a_session(
    kid: str, api: Api, begin: Begin, issuer: Issuer
) -> None:
    """Least of all an access token: sessions would never end."""
    if kid == "session":
        token = begin(issuer.token()).json()["access_token"]
    else:
        token = api.token(kid, kid)
    assert begin(token).status_code == 401


def test_the_key_file_of_the_installation_does_and_its_session_has_the_roles_it_said(
    api: Api, begin: Begin
) -> None:
    got = begin(api.token("root", "operator")).json()
    fresh = refresh(api, got["refresh_token"]).json()
    me = api.raw("GET", "/v1/whoami", token=fresh["access_token"]).json()
    assert (me["subject"], me["roles"]) == ("root", ["operator"])


# Refreshing --------------------------------------------------------------------------------------


def refresh(api: Api, token: str) -> httpx.Response:
    return api.raw("POST", "/v1/login/refresh", {"refresh_token": token}, token=None)


def test_a_lost_answer_is_given_again(api: Api, issuer: Issuer, begin: Begin) -> None:
    first = begin(issuer.token()).json()["refresh_token"]
    second = refresh(api, first).json()["refresh_token"]
    assert refresh(api, first).json()["refresh_token"] == second != first
    assert refresh(api, second).status_code == 200


def test_a_copy_that_is_used_later_ends_the_session(
    api: Api, issuer: Issuer, begin: Begin, db: Database
) -> None:
    first = begin(issuer.token()).json()["refresh_token"]
    second = refresh(api, first).json()["refresh_token"]
    run_sql(db, "UPDATE session SET renewed_at = now() - interval '2 minutes' RETURNING id")
    answer = refresh(api, first)
    assert (answer.status_code, "may have a copy" in answer.json()["title"]) == (401, True)
    assert refresh(api, second).status_code == 401


def test_an_old_copy_ends_the_session_at_once(api: Api, issuer: Issuer, begin: Begin) -> None:
    first = begin(issuer.token()).json()["refresh_token"]
    third = refresh(api, refresh(api, first).json()["refresh_token"]).json()["refresh_token"]
    assert refresh(api, first).status_code == 401
    assert refresh(api, third).status_code == 401


def test_who_had_no_role_for_a_while_goes_on_when_there_is_one_again(
    api: Api, issuer: Issuer, begin: Begin, db: Database
) -> None:
    token = begin(issuer.token()).json()["refresh_token"]
    path = api.context.roles.path
    assert path is not None
    rules = path.read_text()
    path.write_text("[roles]\n")
    assert [refresh(api, token).status_code for _ in range(2)] == [403, 403]
    run_sql(db, "UPDATE session SET renewed_at = now() - interval '1 hour' RETURNING id")
    path.write_text(rules)
    assert refresh(api, token).status_code == 200


def test_sessions_do_not_touch_each_other(api: Api, issuer: Issuer, begin: Begin) -> None:
    one, other = (begin(issuer.token(jti=n)).json()["refresh_token"] for n in "12")
    assert api.raw("POST", "/v1/logout", {"refresh_token": one}, token=None).status_code == 204
    assert refresh(api, one).status_code == 401
    assert refresh(api, other).status_code == 200


@pytest.mark.parametrize("path", ["/v1/login/refresh", "/v1/logout"])
@pytest.mark.parametrize("token", ["", "hello", "drc_refresh_x_0_y"])
def test_a_refresh_token_of_nobody_is_refused(api: Api, path: str, token: str) -> None:
    answer = api.raw("POST", path, {"refresh_token": token}, token=None)
    assert answer.status_code in (401, 422)


# Programs ----------------------------------------------------------------------------------------


def program_proof(
    api: Api, kid: str, role: str = "", life: timedelta = timedelta(minutes=1)
) -> str:
    signer = Signer.load(api.keys / f"{kid}.pem")
    return signer.sign(
        f"{kid}:x", [role or kid], datetime.now(UTC) + min(life, timedelta(0)) * 2, abs(life)
    )


@pytest.mark.parametrize("kid", ["conductor", "undertaker"])
def test_a_programs_proof_gets_it_a_token_of_the_apis_own(api: Api, kid: str) -> None:
    proof = program_proof(api, kid)
    answer = api.raw("POST", "/v1/login/program", {"proof": proof}, token=None)
    assert answer.status_code == 201
    token = answer.json()["access_token"]
    assert jwt.get_unverified_header(token)["kid"] == "program"
    assert api.context.verifier.verify(token).roles == (kid,)
    assert api.raw("GET", "/v1/whoami", token=token).status_code == 403  # it is nobody
    assert api.raw("GET", "/v1/whoami", token=proof).status_code == 401  # no token itself


@pytest.mark.parametrize(
    "proof",
    [
        lambda api: program_proof(api, "api", "operator"),
        lambda api: program_proof(api, "conductor", life=-timedelta(minutes=2)),
        lambda api: api.token("c", "conductor"),
        lambda api: "x.y.z",
        lambda api: "",
    ],
)
def test_nothing_else_does(api: Api, proof: Callable[[Api], str]) -> None:
    answer = api.raw("POST", "/v1/login/program", {"proof": proof(api)}, token=None)
    assert answer.status_code == 401


def test_a_programs_key_gives_it_nobody_elses_name(api: Api) -> None:
    """Which would stand in the audit."""
    signer = Signer.load(api.keys / "undertaker.pem")
    now = datetime.now(UTC)
    for subject in ("grace@example.org", "conductor:x", "undertakers", ""):
        proof = signer.sign(subject, ["undertaker"], now, timedelta(minutes=1))
        answer = api.raw("POST", "/v1/login/program", {"proof": proof}, token=None)
        assert answer.status_code == 401


def test_a_programs_key_gives_it_no_other_role(api: Api) -> None:
    proof = program_proof(api, "conductor", "undertaker")
    answer = api.raw("POST", "/v1/login/program", {"proof": proof}, token=None)
    assert api.context.verifier.verify(answer.json()["access_token"]).roles == ()
