"""The API does as its OpenAPI document says, whatever it is asked. `CASES=` says how often."""

import os
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from drc.api import logs
from tests.wire.served import Api

CASES = int(os.environ.get("CASES", "1000"))
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance,
    response_schema_conformance, response_headers_conformance,
]  # fmt: skip


def operations(api: Api) -> list[Any]:
    schema = schemathesis.openapi.from_dict(api.raw("GET", "/openapi.json").json())
    schema.config.update(base_url=api.url)
    return [found.ok() for found in schema.get_all_operations()]


def try_everything(api: Api, cases: int, check: Any) -> int:
    """Ask each operation in its share of many ways. Returns how many there were in all."""
    asked = 0
    found = operations(api)
    for operation in found:

        @settings(
            max_examples=max(1, cases // len(found)), deadline=None, database=None,
            phases=[Phase.explicit, Phase.generate], derandomize=True,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            nonlocal asked
            asked += 1
            if case.path == "/v1/events":
                case.query = {**(case.query or {}), "follow": "false"}  # else it has no end
            check(case)

        ask()
    return asked


def test_with_a_token_nothing_breaks_and_all_is_as_documented(
    api: Api, host: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "PATIENCE", 0.0)
    api.create("bert")
    tokens = {False: api.token("ada", "operator"), True: api.token("c", "conductor")}

    def check(case: Any) -> None:
        case.headers = {"Authorization": f"Bearer {tokens['/conduct/' in case.path]}"}
        case.call_and_validate(checks=CHECKS)

    assert try_everything(api, CASES, check) >= CASES / 2


def test_without_a_token_there_is_nothing_but_401(api: Api, host: int) -> None:
    def check(case: Any) -> None:
        case.headers = {}
        answer = case.call()
        if case.path == "/health" or case.path.startswith(("/v1/login", "/v1/logout")):
            assert answer.status_code < 500
        else:
            assert answer.status_code in (401, 429), case.path

    try_everything(api, CASES // 5, check)
