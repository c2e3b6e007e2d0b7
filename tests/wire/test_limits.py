"""What one request may weigh and take, how often somebody may ask, and what browsers are told."""

import json
import socket
import time
from urllib.parse import urlsplit

import pytest

from drc.api import limits
from drc.api.limits import Budget
from drc.errors import TooMany
from tests.wire.served import Api


def test_a_body_is_as_large_as_it_may_be_and_no_larger(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LARGEST", 1000)
    answer = api.raw("POST", "/v1/keys", {"key": "x" * 900})
    assert (answer.status_code, answer.json()["code"]) == (422, "not-a-key")
    answer = api.raw("POST", "/v1/keys", {"key": "x" * 1000})
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


def sent(api: Api, text: bytes) -> bytes:
    """What the API answers to these bytes, until it closes the connection or falls silent."""
    at = urlsplit(api.url)
    said = b""
    with socket.create_connection((at.hostname or "", at.port or 0), 10) as connection:
        connection.sendall(text)
        while chunk := connection.recv(65536):
            said += chunk
            if b"\r\n\r\n" in said:
                return said
    return said


def test_a_body_without_a_length_is_counted_as_it_comes(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LARGEST", 1000)
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
    head = b"POST /v1/keys HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert sent(api, head + chunk).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_does_not_come_is_not_waited_for(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SLOWEST", 0.1)
    head = b"POST /v1/keys HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx"
    assert sent(api, head).startswith(b"HTTP/1.1 408 ")


def test_a_header_of_ten_megabytes_is_not_read(api: Api) -> None:
    try:
        said = sent(
            api, b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 10_000_000 + b"\r\n\r\n"
        )
    except ConnectionError:  # it hung up while we were still sending
        return
    assert said.startswith(b"HTTP/1.1 4")


def test_somebody_who_asks_without_end_is_slowed_down_and_nobody_else(api: Api, host: int) -> None:
    api.context.callers = Budget(rate=0.001, most=3)
    ada, bob = api.token("ada"), api.token("bob")
    found = [api.raw("GET", "/v1/vessels", token=ada).status_code for _ in range(5)]
    assert found == [200, 200, 200, 429, 429]
    answer = api.raw("GET", "/v1/vessels", token=ada)
    assert (answer.headers["retry-after"], answer.json()["code"]) == ("1", "too-many")
    assert api.raw("GET", "/v1/vessels", token=bob).status_code == 200


def test_a_conductor_is_never_slowed_down(api: Api, host: int) -> None:
    api.context.callers = Budget(rate=0.001, most=1)
    for _ in range(3):
        answer = api.raw(
            "POST", f"/v1/conduct/hosts/{host}/ill", {"reason": "x"},
            token=api.token("c", "conductor"),
        )  # fmt: skip
        assert answer.status_code == 204


def test_an_address_that_guesses_tokens_is_turned_away_and_who_has_one_there_is_not(
    api: Api,
) -> None:
    api.context.strangers = Budget(rate=0.001, most=3)
    found = [api.raw("GET", "/v1/vessels", token=f"guess-{n}").status_code for n in range(5)]
    assert found == [401, 401, 401, 429, 429]
    elsewhere = {"X-Forwarded-For": "10.1.2.3"}
    assert api.raw("GET", "/v1/vessels").status_code == 200
    assert api.raw("GET", "/v1/vessels", token="guess", headers=elsewhere).status_code == 401


def test_so_is_one_that_guesses_refresh_tokens(api: Api) -> None:
    api.context.strangers = Budget(rate=0.001, most=2)
    body = {"refresh_token": "x"}
    found = [api.raw("POST", "/v1/login/refresh", body, token=None).status_code for _ in range(3)]
    assert found == [401, 401, 429]


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, True),  # a program
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://drc.example.org"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, False),
        ({"Sec-Fetch-Site": "same-site", "Origin": "https://blog.example.org"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://drc.test", "Host": "drc.test"}, True),  # an old browser
    ],
)
def test_a_page_of_another_site_changes_nothing(
    api: Api, headers: dict[str, str], passes: bool
) -> None:
    before = api.raw("GET", "/v1/tokens", headers=headers)
    assert before.status_code == 200  # whose answer the browser keeps from that page
    answer = api.raw("POST", "/v1/tokens", {"name": "ci"}, headers=headers)
    assert (answer.status_code == 201) == passes
    if not passes:
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert api.raw("GET", "/v1/tokens").json() == []


def test_whatever_method_somebody_invents_is_counted_as_one(api: Api) -> None:
    for n in range(5):
        api.raw(f"METHOD{n}", "/v1/vessels")
    text = api.raw("GET", "/v1/metrics", token=api.token("op", "operator")).text
    assert 'method="other"' in text
    assert "METHOD" not in text


def test_a_budget_fills_again_and_forgets_the_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    budget = Budget(rate=2, most=3)
    for _ in range(3):
        budget.take("ada")
    with pytest.raises(TooMany):
        budget.take("ada")
    now[0] += 0.5
    budget.take("ada")
    with pytest.raises(TooMany):
        budget.take("ada")
    now[0] += 100
    for _ in range(3):
        budget.take("ada")
    monkeypatch.setattr(limits, "MOST_NAMES", 10)
    for n in range(20):
        budget.take(f"somebody-{n}")
    assert len(budget.left) == 10


@pytest.mark.parametrize("path", ["/health", "/v1/vessels", "/nowhere", "/v1/audit"])
def test_browsers_are_told_to_trust_nothing(api: Api, path: str) -> None:
    headers = api.raw("GET", path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "strict-transport-security" not in headers
    behind_tls = api.raw("GET", path, headers={"X-Forwarded-Proto": "https"}).headers
    assert "max-age" in behind_tls["strict-transport-security"]


def test_a_bug_says_nothing_of_what_is_inside(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from drc import fleet

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the secret is 12345")

    monkeypatch.setattr(fleet, "read_gpus", broken)
    answer = api.raw("GET", "/v1/gpus")
    assert answer.status_code == 500
    assert "12345" not in answer.text
    assert json.loads(answer.text)["code"] == "bug"
    assert answer.headers["x-content-type-options"] == "nosniff"
