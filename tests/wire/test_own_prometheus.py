"""The Prometheus of `drc up --metrics`: the deployed configuration, and a token of its own."""

import os
import stat
from pathlib import Path

import pytest
import yaml

from drc.up import prometheus
from drc.up.state import Choices, State
from tests.wire.served import Api
from tests.wire.test_monitoring import promtool

CHOICES = Choices(port=9787, metrics=True)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    """Whose programs run as a user that every machine has."""
    monkeypatch.setattr(prometheus, "USER", "nobody")
    state = State(tmp_path / "state")
    state.make()
    prometheus.configure(state, CHOICES, every="200ms")
    return state


def test_it_is_configured_as_one_elsewhere_but_for_this_machine(state: State) -> None:
    state.path("prometheus", "drc.token").write_text("drc_x")
    promtool("check", "config", state.path("prometheus", "prometheus.yml"))
    text = state.path("prometheus", "prometheus.yml").read_text()
    jobs = {job["job_name"]: job for job in yaml.safe_load(text)["scrape_configs"]}
    assert jobs["dcgm"]["static_configs"] == [{"targets": ["127.0.0.1:9789"]}]
    assert jobs["dcgm"]["scrape_interval"] == "200ms"
    assert jobs["prometheus"]["static_configs"] == [{"targets": ["127.0.0.1:9788"]}]
    for name in ("dcgm", "drc-api", "drc-conductor"):
        (discovery,) = jobs[name]["http_sd_configs"]
        assert discovery["url"].startswith("http://127.0.0.1:9787/v1/targets/")


def test_its_token_opens_two_routes_is_its_alone_and_is_kept_while_it_is_good(
    state: State, api: Api
) -> None:
    file = state.path("prometheus", "drc.token")
    with api.client("root", "operator") as client:
        prometheus.ensure_token(state, client)
        token = file.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert os.geteuid() != 0 or file.owner() == "nobody"
        for path, status in (("/v1/targets/dcgm", 200), ("/v1/metrics", 200), ("/v1/gpus", 403)):
            assert api.raw("GET", path, token=token).status_code == status
        prometheus.ensure_token(state, client)
        assert file.read_text() == token
        client.call("DELETE", f"/v1/tokens/{prometheus.TOKEN}")
        prometheus.ensure_token(state, client)
        assert file.read_text() != token
        assert api.raw("GET", "/v1/metrics", token=file.read_text()).status_code == 200
        file.unlink()  # lost, while one of that name is there
        prometheus.ensure_token(state, client)
        assert api.raw("GET", "/v1/metrics", token=file.read_text()).status_code == 200
