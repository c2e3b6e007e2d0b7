"""Who may do what, against a small model of it that is written down here and nowhere else."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drc.auth import Signer
from tests.wire.served import Api

OWN, ANYBODYS = "own", "anybody's"
PERSONS = {"researcher", "lead", "operator"}
ALL = PERSONS | {"service"}
MAY: dict[str, tuple[str, str, dict[str, Any] | None, str, set[str]]] = {
    # what: method, path, body, whose vessel it is about, and the roles of which one is needed
    "see mine": ("GET", "/v1/vessels/bert", None, OWN, ALL | {"auditor"}),
    "extend mine": ("POST", "/v1/vessels/bert/extend", {}, OWN, ALL),
    "enter mine": ("GET", "/v1/vessels/bert/jupyter", None, OWN, ALL),
    "stop mine": ("POST", "/v1/vessels/bert/stop", None, OWN, ALL),
    "stop by id": ("POST", "/v1/vessels-by-id/{id}/stop", {"reason": "x"}, ANYBODYS,
                   {"lead", "operator"}),
    "list everybody's": ("GET", "/v1/vessels?everybody=true", None, "",
                         {"lead", "operator", "auditor"}),
    "list mine": ("GET", "/v1/vessels", None, "", ALL | {"auditor"}),
    "see hosts": ("GET", "/v1/hosts", None, "", ALL | {"auditor"}),
    "change hosts": ("POST", "/v1/hosts/gpu1/uncordon", None, "", {"operator"}),
    "make queues": ("POST", "/v1/queues", {"name": "big"}, "", {"operator"}),
    "read the audit": ("GET", "/v1/audit", None, "", {"operator", "auditor"}),
    "read metrics": ("GET", "/v1/metrics", None, "", {"operator"}),
    "see what to scrape": ("GET", "/v1/targets/drc", None, "", {"operator"}),
    "list tokens": ("GET", "/v1/tokens", None, "", PERSONS),
    "list certificates": ("GET", "/v1/certificates", None, "", ALL | {"auditor"}),
    "revoke certificates": ("DELETE", "/v1/certificates", None, "", PERSONS),
    "report for a conductor": ("POST", "/v1/conduct/hosts/1/ill", {"reason": "x"}, "", set()),
}  # fmt: skip
PEOPLE = ["ada", "bob", "eve"]
"""The first two have a vessel called bert."""


class Town:
    def __init__(self, api: Api) -> None:
        self.api = api
        self.operator = api.token("op", "operator")
        api.create("all", subject="op", gpus=4)  # so that the others wait, and end at once
        self.ids: dict[str, str] = {}
        self.ensure()

    def ensure(self) -> None:
        """Ada and Bob have each a vessel called bert."""
        for person in PEOPLE[:2]:
            if person not in self.ids:
                self.ids[person] = self.api.create("bert", subject=person, gpus=4)["id"]

    def do(self, person: str, roles: set[str], what: str, whose: str) -> tuple[int, Any]:
        method, path, body, _, _ = MAY[what]
        token = self.token(person, roles)
        answer = self.api.raw(method, path.format(id=self.ids.get(whose)), body, token=token)
        if "stop" in what and answer.status_code == 200:
            del self.ids[person if what == "stop mine" else whose]
        kind = answer.headers.get("content-type", "")
        return answer.status_code, answer.json() if "json" in kind and answer.content else None

    def token(self, person: str, roles: set[str]) -> str:
        signer = Signer.load(self.api.keys / "api.pem")
        return signer.sign(person, sorted(roles), datetime.now(UTC), timedelta(minutes=5))


def expected(person: str, roles: set[str], what: str) -> int:
    _, _, _, whose, needed = MAY[what]
    if not roles & needed:
        return 403
    if whose == OWN and person not in PEOPLE[:2]:
        return 404
    return 200


@pytest.fixture
def town(api: Api, host: int) -> Town:
    return Town(api)


@settings(max_examples=400, deadline=None, database=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(
    person=st.sampled_from(PEOPLE),
    roles=st.sets(st.sampled_from(["service", "researcher", "lead", "operator", "auditor"])),
    what=st.sampled_from(sorted(MAY)),
    whose=st.sampled_from(PEOPLE[:2]),
)
def test_everybody_may_what_the_model_says_and_nothing_else(
    town: Town, person: str, roles: set[str], what: str, whose: str
) -> None:
    town.ensure()
    town.api.context.callers.left.clear()  # nobody is slowed down here
    status, said = town.do(person, roles, what, whose)
    # a vessel that waits has no end to move: that is about the vessel, not about who asks
    if what == "extend mine" and expected(person, roles, what) == 200:
        assert status == 409
    else:
        assert (200 if 200 <= status < 300 else status) == expected(person, roles, what), said
    if what == "list mine" and status == 200:
        assert {vessel["owner"] for vessel in said} <= {person}
    if what == "list everybody's" and status == 200:
        assert {"ada", "bob"} <= {vessel["owner"] for vessel in said}
    if what == "see mine" and status == 200:
        assert (said["owner"], said["id"]) == (person, town.ids[person])
