"""Bringing a machine up and down: the part that needs root."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests.exceptions

from drc import fleet
from drc.auth import Signer
from drc.client import Client
from drc.db import Database, migrate, prune_audit
from drc.errors import ApiUnreachable, DrcError, HostUnreachable, Misconfigured
from drc.up import images, machine, prometheus, secrets
from drc.up.content import digest
from drc.up.postgres import Postgres
from drc.up.state import USER, Choices, Made, State, is_alive, read_pid

SIGN_IN = timedelta(minutes=10)
API_TIMEOUT = 30.0
HOST_TIMEOUT = 60.0
PROGRAMS = {
    "sshd": "openssh-server",
    "ssh-keygen": "openssh-client",
    "iptables": "iptables",
}
METRICS = {"prometheus": "prometheus"}


def say(what: str, detail: str = "", since: float | None = None) -> None:
    """One line of progress on stderr, with its seconds where they are worth saying."""
    took = f"{time.monotonic() - since:5.1f} s" if since is not None else ""
    print(f"  ✓ {what:<14}{took:>8}   {detail}".rstrip(), file=sys.stderr, flush=True)  # noqa: T201


def up(state: State, person: str, told: dict[str, Any]) -> dict[str, Any]:
    """Everything that is missing, in order; quick when nothing is.

    Returns `url`, `tokens` (a session of the person who asked), `host` and `simulated`.
    """
    state.make()
    with state.locked():
        choices, made = state.choices(**told), state.made()
        install({**PROGRAMS, **(METRICS if choices.metrics else {})}, made)
        if machine.add_user(made):
            say("user", f"{USER}, for Postgres, API and conductor")
        state.note(made)
        machine.check_reachable()

        ensure_engine(state, choices, made)
        ensure_images(state, choices, made)

        begun = time.monotonic()
        secrets.make_secrets(state)
        host_key = secrets.configure_sshd(state, choices.sshd_port)
        postgres = Postgres(state.path("postgres"), USER)
        postgres.start()
        migrate(postgres.url())
        database = Database(postgres.url(), size=1)
        state.path("installation").write_text(fleet.read_installation(database))
        database.close()
        say("postgres", "embedded", begun)

        begun = time.monotonic()
        if choices.metrics:
            prometheus.configure(state, choices)
        start_programs(state, choices)
        url = f"http://127.0.0.1:{choices.port}"
        token = sign(state, person)
        client = Client(url, lambda: token)
        wait_for_api(state, client)
        say("programs", "API, conductor, undertaker's timer", begun)
        if choices.metrics:
            begun = time.monotonic()
            prometheus.ensure_token(state, client)
            prometheus.wait_for(state, choices)
            say("metrics", f"Prometheus at {prometheus.url(choices)}", begun)

        begun = time.monotonic()
        host = ensure_host(client, choices, host_key, told.get("simulate") is not None)
        cards = f"{host['n_gpus']} GPUs" + (" (simulated)" if host["simulated"] else "")
        say("host", f"{host['name']}: {host['cpus']} CPUs, {cards}", begun)
        proof = {"id_token": token, "client": "drc up"}
        tokens = client.call_openly("POST", "/v1/login", proof)
        return {"url": url, "tokens": tokens, "host": host["name"], "simulated": host["simulated"]}


def install(programs: dict[str, str], made: Made) -> None:
    begun = time.monotonic()
    installed = machine.install(programs, made)
    if installed:
        say("packages", ", ".join(installed), begun)


def ensure_engine(state: State, choices: Choices, made: Made) -> None:
    begun = time.monotonic()
    if machine.engine_version(choices.docker_socket) is None:
        install({"dockerd": "docker.io", "iptables": "iptables"}, made)
    version = machine.start_engine(state, choices.docker_socket, made)
    state.note(made)
    say("docker", f"Engine {version}", begun)


def ensure_images(state: State, choices: Choices, made: Made) -> None:
    begun = time.monotonic()
    missing = images.missing(choices.docker_socket)
    if not missing:
        return
    install({"docker": "docker.io", "debootstrap": "debootstrap"}, made)
    state.note(made)
    images.build(state, choices.docker_socket)
    made.images = sorted({*made.images, *missing, images.BASE})
    state.note(made)
    say("images", f"{images.DEFAULT_IMAGE}, {images.NET_IMAGE}", begun)


def engine_and_images(state: State) -> dict[str, Any]:
    """What tests and benches start from: an engine that answers, with our images on it."""
    state.make()
    with state.locked():
        ensure_engine(state, state.choices(), state.made())
        ensure_images(state, state.choices(), state.made())
    return {}


def sign(state: State, person: str) -> str:
    """The first token is signed with the key file itself, which only root can read. It is for these
    few requests, and the proof that a session begins with.
    """
    signer = Signer.load(state.path("keys", "api.pem"))
    return signer.sign(person, ["operator"], datetime.now(UTC), SIGN_IN)


def start_programs(state: State, choices: Choices) -> None:
    """The supervisor; a running one is replaced when code or choices are others than its own."""
    code = digest("drc", "conductor", "undertaker", "sql")
    login = hashlib.sha256(
        repr((state.login(), state.idle(), state.tailnet())).encode()
    ).hexdigest()
    wanted = {"code": code, "login": login, **asdict(choices)}
    running = read_pid(state.path("run", "supervisor.pid"))
    if running and state.read("programs.json") == wanted:
        return
    if running:
        end(running, 20)
    wants = [(choices.port, "--port"), (choices.sshd_port, "--sshd-port")]
    wants.append((prometheus.conductor_port(choices), "--port"))
    if choices.metrics:
        wants += [(port, "--port") for port in prometheus.ports(choices)]
    for port, option in wants:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                raise Misconfigured(
                    f"Port {port} of this machine is taken by another program.",
                    hint=f"drc up {option} {port + 1}",
                ) from None
    state.write("programs.json", wanted)
    with state.path("log", "supervisor.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "drc.up.supervise", str(state.folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )


def wait_for_api(state: State, client: Client) -> None:
    deadline = time.monotonic() + API_TIMEOUT
    while True:
        try:
            client.call("GET", "/health")
        except DrcError as failed:
            if time.monotonic() > deadline:
                log = state.path("log", "api.log")
                raise ApiUnreachable(
                    f"The API did not come up: {failed.message}", hint=f"See {log}."
                ) from failed
            time.sleep(0.05)
        else:
            return


def ensure_host(client: Client, choices: Choices, host_key: str, changed: bool) -> dict[str, Any]:
    """This machine as a host, looked at by the conductor."""
    name = secrets.host_name()

    def mine() -> dict[str, Any] | None:
        return next((h for h in client.call("GET", "/v1/hosts") if h["name"] == name), None)

    host = mine()
    if host and host["open"] and host["ssh_port"] == choices.sshd_port and not changed:
        return host
    client.call(
        "POST",
        "/v1/hosts",
        {
            "name": name,
            "ssh_user": "root",
            "ssh_address": "127.0.0.1",
            "ssh_port": choices.sshd_port,
            "ssh_host_key": host_key,
            "docker_socket": choices.docker_socket,
            "address": "127.0.0.1",
            "ports_from": choices.ports_from,
            "simulate": choices.simulate,
            "committed": True,
        },
    )
    deadline = time.monotonic() + HOST_TIMEOUT
    while time.monotonic() < deadline:
        host = mine()
        if host and host["open"] and not host["ill"]:
            return host
        time.sleep(0.05)
    why = (host or {}).get("ill") or "no conductor looked at it"
    raise HostUnreachable(f"This machine did not become a host: {why}")


def down(state: State) -> dict[str, Any]:
    """Stop the programs. Vessels, and an engine that we started, go on without them."""
    if not state.path("run").is_dir():
        return {"stopped": False}
    with state.locked():
        stopped = stop_programs(state)
        return {"stopped": stopped, "vessels": len(containers(state, "drc.vessel"))}


def stop_programs(state: State) -> bool:
    pid = read_pid(state.path("run", "supervisor.pid"))
    if pid:
        end(pid, 20)
    with contextlib.suppress(KeyError):
        Postgres(state.path("postgres"), USER).stop()
    return pid is not None


def end(pid: int, seconds: float) -> None:
    """Ask a process to end, and end it after a while."""
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    if is_alive(pid):
        os.kill(pid, signal.SIGKILL)


def prune(state: State, keep: int) -> dict[str, Any]:
    """Drop the audit of more than `keep` months ago."""
    if not state.path("postgres").is_dir():
        raise Misconfigured(f"There is no drc in {state.folder}.", hint="drc up")
    return {"gone": prune_audit(Postgres(state.path("postgres"), USER).url(), keep)}


def engine(state: State) -> Any:
    """A docker.APIClient, or None when no engine answers. Any: the SDK has no types."""
    socket_path = state.choices().docker_socket
    if machine.engine_version(socket_path) is None:
        return None
    return docker.APIClient(base_url=f"unix://{socket_path}", version="1.41", timeout=60)


def installation(state: State) -> str | None:
    """The label of what is ours on the engine, kept in a file for when the database is gone."""
    file = state.path("installation")
    return file.read_text().strip() if file.exists() else None


def containers(state: State, label: str) -> list[dict[str, Any]]:
    client, ours = engine(state), installation(state)
    if client is None or ours is None:
        return []
    return client.containers(all=True, filters={"label": [f"drc.installation={ours}", label]})


def clean(state: State, homes: bool) -> dict[str, Any]:
    """Take away everything that was made here, and nothing else. Homes only when told."""
    if not state.folder.is_dir():
        return {"homes": [], "kept": []}
    state.path("run").mkdir(exist_ok=True)
    with state.locked():
        stop_programs(state)
        made, client, ours = state.made(), engine(state), installation(state)
        found: list[str] = []
        if client is not None:
            if ours is not None:
                take_from_engine(client, ours)
            found = sorted(volume["Name"] for volume in volumes_of(client, "drc.home"))
            if homes:
                for name in found:
                    client.remove_volume(name)
            for image in made.images:
                with contextlib.suppress(docker.errors.APIError):
                    client.remove_image(image)  # stays while somebody else's container uses it
            client.close()
        if is_alive(made.dockerd) and made.dockerd:
            end(made.dockerd, 30)
        if made.user:
            subprocess.run(["userdel", USER], capture_output=True)
    keep = Path(sys.prefix)
    for path in state.folder.iterdir():
        if not keep.is_relative_to(path):  # the environment we run in; `make clean` takes it
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    with contextlib.suppress(OSError):
        state.folder.rmdir()
    return {"homes": found, "purged": homes, "packages": made.packages}


def take_from_engine(client: Any, installation: str) -> None:
    ours = {"label": f"drc.installation={installation}"}
    everything: list[dict[str, Any]] = client.containers(all=True, filters=ours)
    vessels_first = sorted(everything, key=lambda c: "drc.berth" in c["Labels"])
    for container in vessels_first:
        if container["Labels"].get("drc.reach") == "tailnet":
            log_out(client, container["Id"])
        with contextlib.suppress(docker.errors.NotFound):
            client.remove_container(container["Id"], force=True, v=True)
    layers: list[dict[str, Any]] = client.images(filters={"label": f"drc.built-by={installation}"})
    for image in layers:
        with contextlib.suppress(docker.errors.APIError):
            client.remove_image(image["Id"])  # stays while somebody else's container uses it
    for volume in volumes_of(client, f"drc.installation={installation}"):
        client.remove_volume(volume["Name"], force=True)
    for network in client.networks(filters=ours):
        client.remove_network(network["Id"])


def log_out(client: Any, container: str) -> None:
    """A node of a tailnet, which would be listed there for hours yet."""
    with contextlib.suppress(docker.errors.APIError, requests.exceptions.RequestException):
        made = client.exec_create(container, ["tailscale", "logout"])
        client.exec_start(made["Id"])


def volumes_of(client: Any, label: str) -> list[dict[str, Any]]:
    return client.volumes(filters={"label": label})["Volumes"] or []


def main(arguments: list[str]) -> int:
    """`python -m drc.up.system VERB JSON`: the answer on stdout, talk on stderr.

    The verbs: up, down, clean, images, prune.
    """
    verb, told = arguments[0], json.loads(arguments[1])
    state = State(Path(told.pop("state")))
    try:
        if os.geteuid() != 0:
            raise Misconfigured("drc up needs root, or sudo.")
        if verb == "up":
            answer = up(state, told.pop("person"), told)
        elif verb == "images":
            answer = engine_and_images(state)
        elif verb == "down":
            answer = down(state)
        elif verb == "prune":
            answer = prune(state, told["keep"])
        else:
            answer = clean(state, told["homes"])
    except DrcError as failed:
        print(json.dumps({"code": failed.code, "message": failed.message, "hint": failed.hint}))  # noqa: T201
        return failed.exit_code
    print(json.dumps(answer))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
