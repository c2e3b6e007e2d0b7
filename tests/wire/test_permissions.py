"""Every route needs a token, and every permission that it declares; no route can declare none."""

import uuid
from collections.abc import Iterator

import pytest
from fastapi.routing import APIRoute

from drc.api.access import Routes
from drc.api.app import MODULES
from drc.api.app import operations as own
from drc.auth import PERMISSIONS, Caller, Verifier
from tests.wire.served import Api


class Spelled(Verifier):
    """Reads the permissions from the token itself, so that any set of them can be tried."""

    def __init__(self) -> None:
        super().__init__({})

    def verify(self, token: str) -> Caller:
        return Caller("ada", (), frozenset(token.split(",")))


def operations(api: Api) -> Iterator[tuple[str, str, list[str]]]:
    """Method, path and declared permissions of every operation, from the API's own document."""
    document = api.raw("GET", "/openapi.json", token=None).json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation.get("x-permissions", [])


def filled(path: str) -> str:
    """With something in each place; `follow` ends the one stream there is."""
    number = any(f"/{what}/{{id}}" in path for what in ("hosts", "builds", "messages"))
    path = path.replace("{id}", "1" if number else str(uuid.uuid4()))
    return path.replace("{name}", "bert").replace("{attempt}", "1").replace("{key}", "k")


def ask(api: Api, method: str, path: str, token: str | None) -> int:
    answer = api.raw(method, filled(path), {}, token=token, params={"follow": "false"})
    assert answer.status_code < 500 or answer.status_code == 503
    return answer.status_code


OPEN = {"GET /health", "GET /v1/login", "POST /v1/login", "POST /v1/login/refresh",
        "POST /v1/login/program", "POST /v1/logout"}  # fmt: skip
"""What needs no token: all else does."""


def test_every_operation_but_health_and_login_declares_permissions_that_exist(api: Api) -> None:
    declared = {f"{method} {path}": set(needed) for method, path, needed in operations(api)}
    assert {name for name, needed in declared.items() if not needed} == OPEN
    assert set().union(*declared.values()) <= set(PERMISSIONS)
    assert len(declared) > 40


def test_every_route_stands_in_the_document(api: Api) -> None:
    """So that walking the document is walking the routes."""

    routers = [*(module.routes.router for module in MODULES), own.router]
    routes = {
        (method, route.path.replace(":path", ""))
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    assert routes == {(m, p) for m, p, _ in operations(api)} - {("GET", "/health")}


@pytest.mark.parametrize("header", [None, "Bearer", "Basic YWRhOmFkYQ==", "Bearer hello"])
def test_no_operation_answers_without_a_token(api: Api, header: str | None) -> None:
    headers = {"Authorization": header} if header else {}
    for method, path, needed in operations(api):
        if not needed:
            continue
        answer = api.raw(method, filled(path), {}, token=None, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
        assert answer.json()["code"] == "not-signed-in"


def test_no_operation_answers_with_one_permission_missing(api: Api) -> None:
    api.context.verifier = Spelled()
    for method, path, needed in operations(api):
        for missing in needed:
            others = ",".join(sorted(set(PERMISSIONS) - {missing}))
            answer = api.raw(method, filled(path), {}, token=others)
            assert answer.status_code == 403, (method, path)
            assert answer.json()["code"] == "forbidden"
            assert missing in answer.json()["title"]


def test_what_is_declared_is_enough(api: Api) -> None:
    """With just those permissions nobody is turned away; what is asked for is not there."""
    api.context.verifier = Spelled()
    for method, path, needed in operations(api):
        if needed and not path.endswith("/logs"):
            assert ask(api, method, path, ",".join(needed)) not in (401, 403), (method, path)


@pytest.mark.parametrize("permissions", [(), ("vessels:fly",), ("vessels:read", "vessels:fly")])
def test_a_route_without_permissions_cannot_be_registered(permissions: tuple[str, ...]) -> None:
    for register in (Routes("x").get, Routes("x").post, Routes("x").delete):
        with pytest.raises(TypeError, match="must declare permissions"):
            register("/y", *permissions)


@pytest.mark.parametrize("path", ["/v1/vessels?everybody=true", "/v1/events?everybody=true"])
def test_everybodys_needs_its_own_permission(api: Api, path: str) -> None:
    assert api.raw("GET", path).status_code == 403
    operator = api.token("op", "operator")
    assert api.raw("GET", path + "&follow=false", token=operator).status_code == 200


def test_how_hosts_are_reached_is_for_those_who_may_change_it(api: Api, host: int) -> None:
    private = {"ssh_user", "ssh_address", "ssh_port", "address"}
    shown = api.raw("GET", "/v1/hosts").json()[0]
    assert not private & set(shown)
    assert private <= set(api.raw("GET", "/v1/hosts", token=api.token("op", "operator")).json()[0])


def test_the_document_is_openapi_3_1(api: Api) -> None:
    document = api.raw("GET", "/openapi.json", token=None).json()
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["title"] == "drc"
    vessel = document["components"]["schemas"]["VesselRequest"]
    assert vessel["additionalProperties"] is False
    assert "gpu_memory" in vessel["properties"]


def test_health_needs_no_token_and_says_nothing_secret(api: Api) -> None:
    answer = api.raw("GET", "/health", token=None)
    assert (answer.status_code, set(answer.json())) == (200, {"status", "version"})
