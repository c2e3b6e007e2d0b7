"""An installation of the tests' own: a database, the API over HTTP, and conductors."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import uvicorn

from conductor.api import Api
from conductor.main import Conductor
from conductor.reach import Reach
from conductor.reach.local import Local
from drc import fleet
from drc.api.app import create_app, open_context
from drc.api.context import Context
from drc.auth import Signer
from drc.cli.sshconfig import block
from drc.client import Client
from drc.config import DEFAULT_IMAGE, NET_IMAGE, ApiSettings, Hidden
from drc.db import Database
from drc.errors import Refused
from drc.up.postgres import OWNER, Postgres
from tests.host.machine import Machine, run, until
from tests.installation import make_keys

SMALL = {"gpus": 0, "cpus": 0.6, "memory": "700MiB"}
"""What a vessel of these tests asks for: two CPUs are all there is."""


@contextlib.contextmanager
def clone(postgres: Postgres, name: str) -> Iterator[str]:
    with psycopg.connect(postgres.url(database="postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE drc STRATEGY WAL_LOG")
        with psycopg.connect(postgres.url(database=name), autocommit=True) as its_own:
            # or several worlds on one machine would take each other's berths for their own
            its_own.execute("UPDATE installation SET id = gen_random_uuid()")
        yield name
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.contextmanager
def serving(context: Context) -> Iterator[str]:
    """The API's address while it runs."""
    # with the protocol's name: else asyncio lets each answer wait 40 ms for the client's ACK
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    app = create_app(context)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="api")
    thread.start()
    try:
        until("the API", lambda: server.started)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


class Person:
    """Somebody with an account, a laptop's ~/.ssh, and a key."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        signer = Signer.load(world.folder / "api.pem")
        token = signer.sign(name, ["operator"], datetime.now(UTC), timedelta(hours=1))
        self.client = Client(world.url, lambda: token)
        self.ssh_folder = world.folder / f"ssh-{name}"
        self.ssh_folder.mkdir()
        self.key = self.ssh_folder / "id_ed25519"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.key)
        self.add_key(self.key)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return self.client.call(method, path, body)

    def add_key(self, key: Path) -> Any:
        return self.call("POST", "/v1/keys", {"key": key.with_suffix(".pub").read_text()})

    def show(self, name: str) -> dict[str, Any]:
        return self.call("GET", f"/v1/vessels/{name}")

    def ask(self, name: str, **wish: Any) -> dict[str, Any]:
        """Ask for a vessel, and wait for nothing."""
        return self.call("POST", "/v1/vessels", {"name": name, **SMALL, **wish})

    def create(self, name: str, **wish: Any) -> "Vessel":
        self.ask(name, **wish)
        return Vessel(self, self.reach(name, "running"))

    def reach(self, name: str, *states: str, seconds: float = 30) -> dict[str, Any]:
        """The vessel, once it is in one of the states; fails when it ends in another."""

        def there() -> dict[str, Any] | None:
            vessel = self.show(name)
            if vessel["state"] in states:
                return vessel
            assert vessel["state"] not in ("failed", "buried"), vessel["reason"]
            return None

        return until(f"{name} {' or '.join(states)}", there, seconds)

    def reach_end(self, name: str) -> dict[str, Any]:
        """The vessel, once it has failed."""

        def failed() -> dict[str, Any] | None:
            vessel = self.show(name)
            return vessel if vessel["state"] == "failed" else None

        return until(f"{name} failed", failed, 60)

    def stop(self, name: str) -> dict[str, Any]:
        self.call("POST", f"/v1/vessels/{name}/stop")
        return self.reach(name, "buried", "failed")

    def ssh(self, vessel: dict[str, Any], *command: str, key: Path | None = None) -> list[str]:
        """The command line of plain OpenSSH with the configuration that drc writes."""
        ssh, folder = vessel["ssh"], self.ssh_folder
        known = folder / "known_hosts"
        known.write_text(f"{ssh['host_key_alias']} {ssh['host_key']}\n")
        config = folder / "config"
        config.write_text(block(vessel, folder / "none", folder / "none").replace(
            "~/.ssh/drc/known_hosts", str(known)))  # fmt: skip
        return ["ssh", "-F", str(config), "-o", "BatchMode=yes", "-i", str(key or self.key),
                "-o", "IdentitiesOnly=yes", ssh["alias"], *command]  # fmt: skip


class Vessel:
    """A vessel that runs, seen by its owner (ssh) and by its host (docker)."""

    def __init__(self, owner: Person, shown: dict[str, Any]) -> None:
        self.owner = owner
        self.shown = shown
        self.machine = owner.world.machines[shown["host"]]
        self.engine = self.machine.client
        self.container = f"drc-{shown['id']}-{shown['attempt']}"

    def ssh(self, *command: str, key: Path | None = None) -> str:
        return run(*self.owner.ssh(self.shown, *command, key=key))

    def lets_in(self, key: Path) -> bool:
        command = self.owner.ssh(self.shown, "true", key=key)
        return subprocess.run(command, capture_output=True).returncode == 0

    def inspect(self) -> dict[str, Any]:
        return self.engine.inspect_container(self.container)

    def berth(self) -> dict[str, Any]:
        """The network container that it lives in."""
        mode = self.inspect()["HostConfig"]["NetworkMode"]
        return self.engine.inspect_container(mode.removeprefix("container:"))

    def exec(
        self, *command: str, container: str | None = None, user: str = "root"
    ) -> tuple[int, str]:
        """As `docker exec`, which no user can: exit status and output.

        By the program: the SDK loses what the engine sends together with its answer's head.
        """
        engine = ["docker", "-H", f"unix://{self.machine.socket}"]
        done = subprocess.run(
            [*engine, "exec", "-u", user, container or self.container, *command],
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return done.returncode, done.stdout

    def home(self) -> dict[str, Any]:
        """The volume that its owner's home is on."""
        target = f"/home/{self.owner.name}"
        (mount,) = (m for m in self.inspect()["Mounts"] if m["Destination"] == target)
        return self.engine.inspect_volume(mount["Name"])

    def address(self) -> str:
        (network,) = self.berth()["NetworkSettings"]["Networks"].values()
        return network["IPAddress"]


class World:
    def __init__(
        self, machine: Machine, postgres: Postgres, database: str, folder: Path, ports_from: int
    ) -> None:
        self.machine = machine
        self.machines = {"gpu1": machine}
        self.postgres = postgres
        self.database = database
        self.folder = folder
        self.ports_from = ports_from
        self.url = ""
        self.db = Database(postgres.url(OWNER, database), size=4)
        self.people: dict[str, Person] = {}
        self.conductor: Conductor | None = None
        self.context: Context | None = None
        make_keys(folder)

    def person(self, name: str) -> Person:
        if name not in self.people:
            self.people[name] = Person(self, name)
        return self.people[name]

    def sql(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        with self.db.pool.connection() as connection:
            cursor = connection.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []

    def settings(self) -> ApiSettings:
        return ApiSettings(
            database_url=Hidden(self.postgres.url("drc_api", self.database)),
            keys=self.folder,
            secret=self.folder / "secret",
            host="127.0.0.1",
            port=0,
            image=DEFAULT_IMAGE,
            migrate_url=None,
        )

    # Conductors -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def conducting(
        self, berths: int = 2, disk_mib: int | None = None, reach: Reach = Local(),
        net_image: str = NET_IMAGE,
    ) -> Iterator[Conductor]:  # fmt: skip
        """A conductor in threads of this process. `disk_mib`: what a vessel may write."""
        signer = Signer.load(self.folder / "conductor.pem")
        db = Database(self.postgres.url("drc_conductor", self.database), size=16)
        api = Api(self.url, signer, "conductor:tests", partial(fleet.read_now, db))
        self.conductor = conductor = Conductor(
            db, api, self.machine.key, net_image, berths, disk_mib, reach
        )
        thread = threading.Thread(target=conductor.run, name="conductor")
        thread.start()
        try:
            yield conductor
        finally:
            conductor.ended.set()
            thread.join(20)
            conductor.workers.shutdown(wait=True)
            conductor.lookers.shutdown(wait=True)
            api.client.close()
            db.close()

    @contextlib.contextmanager
    def conductor_process(
        self, *program: str, berths: int = 2
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A conductor as a process; one that dies by itself may be waited for."""
        env = {
            **os.environ,
            "DRC_DATABASE_URL": self.postgres.url("drc_conductor", self.database),
            "DRC_URL": self.url,
            "DRC_SIGNING_KEY": str(self.folder / "conductor.pem"),
            "DRC_SSH_KEY": str(self.machine.key),
            "DRC_BERTHS": str(berths),
        }
        with (self.folder / "conductor.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *(program or ("conductor.main",))],
                env=env, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    # The host ---------------------------------------------------------------------------------

    def add_host(self, operator: Person, machine: Machine | None = None, **changes: Any) -> None:
        """gpu1, or another machine under the name that is among the `changes`."""
        if machine is not None:
            self.machines[changes["name"]] = machine
        machine = machine or self.machine
        operator.call("POST", "/v1/hosts", {
            "name": "gpu1",
            "ssh_address": machine.address,
            "ssh_host_key": machine.host_key,
            "docker_socket": str(machine.socket),
            "address": machine.address,
            "ports_from": self.ports_from,
            "committed": True,
            **changes,
        })  # fmt: skip

    def host(self, name: str = "gpu1") -> dict[str, Any]:
        return self.person("ada").call("GET", f"/v1/hosts/{name}")

    def gpus(self) -> list[dict[str, Any]]:
        return self.person("ada").call("GET", "/v1/gpus")

    def held(self) -> set[str]:
        """The UUIDs of the GPUs that somebody has."""
        return {row["uuid"] for row in self.sql("SELECT uuid FROM gpu WHERE vessel_id IS NOT NULL")}

    def waiting_berths(self) -> int:
        return len(self.sql("SELECT number FROM berth WHERE ready AND vessel_id IS NULL"))

    def installation(self) -> str:
        return self.sql("SELECT id::text FROM installation")[0]["id"]

    def ours(self, label: str, on: Machine | None = None) -> list[dict[str, Any]]:
        """This installation's containers on an engine, of vessels or of berths."""
        labels = [f"drc.installation={self.installation()}", label]
        return (on or self.machine).client.containers(all=True, filters={"label": labels})

    def berths_made(self) -> set[int]:
        return {int(container["Labels"]["drc.berth"]) for container in self.ours("drc.berth")}

    def berths_booked(self) -> set[int]:
        return {row["number"] for row in self.sql("SELECT number FROM berth")}

    def settle(self) -> None:
        """All work is done and two good berths wait, as after two quiet minutes."""
        until("all work is done", lambda: not self.sql("SELECT id FROM outbox"))
        self.sql("UPDATE berth SET made_at = made_at - interval '3 minutes'")

        def good() -> bool:
            running = [c for c in self.ours("drc.berth") if c["State"] == "running"]
            made = self.berths_made()
            return len(running) == len(made) == self.waiting_berths() == 2 and (
                made == self.berths_booked()
            )

        until("two good berths wait", good)

    def living(self) -> list[dict[str, Any]]:
        return [v for person in self.people.values() for v in person.call("GET", "/v1/vessels")]

    def stop_everything(self, but: Collection[str] = ()) -> None:
        for person in self.people.values():
            for vessel in person.call("GET", "/v1/vessels"):
                if vessel["id"] not in but:
                    with contextlib.suppress(Refused):  # it ended by itself just now
                        person.call("POST", f"/v1/vessels/{vessel['name']}/stop")
        until("every vessel ended", lambda: not {v["id"] for v in self.living()} - set(but))


@contextlib.contextmanager
def world_on(
    machine: Machine, postgres: Postgres, name: str, folder: Path, ports_from: int
) -> Iterator[World]:
    with clone(postgres, f"{name}_{os.getpid()}") as database:
        world = World(machine, postgres, database, folder, ports_from)
        world.context = open_context(world.settings())
        with serving(world.context) as url:
            world.url = url
            try:
                yield world
            finally:
                for person in world.people.values():
                    person.client.close()
        world.db.close()
