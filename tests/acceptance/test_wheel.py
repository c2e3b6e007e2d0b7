"""The wheel, in an environment that has nothing else of ours."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from drc.up.postgres import Postgres
from tests.acceptance.conftest import CACHE, ROOT


@pytest.fixture(scope="module")
def uv() -> str:
    found = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    assert Path(found).exists(), "make dev  brings uv"
    return found


@pytest.fixture(scope="module")
def wheel(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    env = {**os.environ, "UV_CACHE_DIR": str(CACHE / "uv")}
    subprocess.run([uv, "build", "-q", "--wheel", "-o", out, ROOT], check=True, env=env)
    return next(out.glob("drc-*.whl"))


def environment(uv: str, folder: Path, wanted: str) -> Path:
    """A new environment with one thing installed; its Python."""
    env = {**os.environ, "UV_CACHE_DIR": str(CACHE / "uv")}
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, folder], check=True, env=env)
    python = folder / "bin" / "python"
    subprocess.run([uv, "pip", "install", "-q", "--python", python, wanted], check=True, env=env)
    return python


def run(python: Path, code: str) -> str:
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_wheel_in_an_empty_environment_migrates_a_database(
    uv: str, wheel: Path, tmp_path: Path, postgres: Postgres
) -> None:
    python = environment(uv, tmp_path / "server", f"drc[server] @ file://{wheel}")
    with psycopg.connect(postgres.url(database="postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE empty")
    url = postgres.url(database="empty")
    said = run(python, f"from drc.db import migrate; print(migrate({url!r}))")
    assert said.startswith("['0001_begin.sql'")
    code = "from drc.config import package_folder; print(*package_folder('image').iterdir())"
    assert "/image/build" in run(python, code)


def test_a_client_installation_brings_no_server(uv: str, wheel: Path, tmp_path: Path) -> None:
    python = environment(uv, tmp_path / "client", str(wheel))
    absent = run(
        python,
        "from importlib.util import find_spec as f;"
        "print([m for m in ('psycopg', 'docker', 'paramiko', 'fastapi') if f(m)])",
    )
    assert absent == "[]"
    program = python.with_name("drc")
    said = subprocess.run([program, "--help"], capture_output=True, text=True)
    assert "create" in said.stdout
    up = subprocess.run([program, "up"], capture_output=True, text=True)
    assert up.returncode == 5
    assert "pip install 'drc[server]'" in up.stderr
