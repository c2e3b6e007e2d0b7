"""A whole tailnet: its server as a process, and computers with Tailscale that join it."""

import atexit
import json
import os
import signal
import socket
import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.host.machine import LISTENER, PATH, run, until
from tests.tailnet.build import binaries
from tests.tailnet.lan import Lan

ALLOW_ALL = """\
{
    // whoever has joined reaches everything
    "tagOwners": {
        "tag:drc": [], "tag:vessel": ["tag:drc"], "tag:host": [], "tag:other": [],
        "tag:vessel-bob": ["tag:drc"], "tag:vessel-eve": ["tag:drc"], "tag:vessel-kim": ["tag:drc"],
    },
    "acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}],
}
"""


class Tailnet:
    """The server: API, control, relay (DERP) and STUN at one address, with all of it in memory.

    `prefix`: what runs it in another network; there it takes its default ports. `approval`: whether
    devices wait for it unless their key says otherwise. `gone_after`: seconds until it forgets a
    device that is ephemeral and away.
    """

    user = "admin@example.com"
    token = "tskey-api-tests"
    other_user = "bob@example.org"
    other_token = "tskey-api-bob"
    client_id = "client"
    client_secret = "tskey-client-tests"
    client_tag = "tag:drc"
    """Whose tags the OAuth client may give to devices."""
    tag = "tag:vessel"

    def __init__(
        self,
        folder: Path,
        address: str = "127.0.0.1",
        *,
        prefix: Sequence[str | Path] = (),
        policy: str = ALLOW_ALL,
        approval: bool = False,
        gone_after: float = 5,
    ) -> None:
        self.folder = folder
        self.address = address
        self.prefix = prefix
        self.policy = folder / "policy.hujson"
        self.policy.write_text(policy)
        self.log = folder / "tailnet.log"
        # the API's, the relay's, and STUN's by UDP
        self.ports = (8080, 8443, 3478) if prefix else free_ports(address)
        self.options = [f"-approval={str(approval).lower()}", f"-ephemeral-gc={gone_after}s"]
        self.process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(trust_env=False, timeout=10)

    @property
    def url(self) -> str:
        """What nodes call their login server."""
        return f"http://{self.address}:{self.ports[0]}"

    @property
    def api_url(self) -> str:
        return f"{self.url}/api/v2"

    def __enter__(self) -> "Tailnet":
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self.stop()
        self.http.close()

    def start(self) -> None:
        api, derp, stun = self.ports
        command = [
            *self.prefix, binaries() / "tailnet", "-listen", f"{self.address}:{api}",
            "-derp-port", str(derp), "-stun-port", str(stun), "-policy", self.policy,
            "-token", f"{self.token}={self.user}",
            "-token", f"{self.other_token}={self.other_user}",
            "-oauth", f"{self.client_id}={self.client_secret}={self.client_tag}", *self.options,
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        atexit.register(self.process.kill)
        until("the tailnet's server", self.answers)

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        try:
            return self.http.get(f"{self.url}/key", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """At once; nodes hear nothing."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            atexit.unregister(self.process.kill)
            self.process = None

    def restart(self) -> None:
        """With the same address, credentials and policy, and without a device or a key."""
        self.stop()
        self.start()

    # What an administrator does ---------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = None, token: str = token) -> Any:
        """The API's answer to the token's owner. `path`: from /api/v2 on."""
        answer = self.http.request(method, f"{self.api_url}{path}", json=body, auth=(token, ""))
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def devices(self) -> list[dict[str, Any]]:
        return self.call("GET", "/tailnet/-/devices")["devices"]

    def device(self, hostname: str) -> dict[str, Any]:
        (found,) = (device for device in self.devices() if device["hostname"] == hostname)
        return found

    def dismiss(self, hostname: str) -> None:
        """Delete a device."""
        self.call("DELETE", f"/device/{self.device(hostname)['nodeId']}")

    def keys(self) -> list[str]:
        """Of those with which somebody can join yet."""
        return [key["id"] for key in self.call("GET", "/tailnet/-/keys")["keys"]]

    def mint(self, *, seconds: int = 600, token: str = token, **create: Any) -> str:
        """A key to join with; for one use and an ephemeral device, where `create` is silent."""
        create = {"reusable": False, "ephemeral": True, "preauthorized": True, **create}
        wish = {"capabilities": {"devices": {"create": create}}, "expirySeconds": seconds}
        return self.call("POST", "/tailnet/-/keys", wish, token)["key"]

    def set_policy(self, text: str) -> None:
        """Now, and after each start."""
        answer = self.http.post(
            f"{self.api_url}/tailnet/-/acl", content=text, auth=(self.token, "")
        )
        assert answer.status_code == 200, answer.text
        self.policy.write_text(text)

    def policy_now(self) -> str:
        """As it is in force."""
        answer = self.http.get(f"{self.api_url}/tailnet/-/acl", auth=(self.token, ""))
        return answer.raise_for_status().text

    def faults(self, faults: Sequence[dict[str, Any]] = ()) -> None:
        """How requests fail from now on, instead of how they did; see `fault` in main.go."""
        self.http.post(f"{self.url}/test/faults", json=list(faults)).raise_for_status()


class Node:
    """Somebody's computer, with Tailscale on it."""

    def __init__(self, tailnet: Tailnet, lan: Lan, folder: Path, name: str) -> None:
        self.tailnet = tailnet
        self.name = name
        self.namespace = f"drc-test-{os.getpid()}-node-{name}"
        self.folder = folder / f"node-{name}"
        self.folder.mkdir()
        self.socket = self.folder / "socket"
        self.log = self.folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        run("ip", "netns", "add", self.namespace)
        try:
            run("ip", "-n", self.namespace, "link", "set", "lo", "up")
            self.address = lan.connect(self.namespace)
            self.start()
        except BaseException:
            self.remove()
            raise

    def __enter__(self) -> "Node":
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def inside(self, *command: str | Path) -> list[str | Path]:
        """The command line of a program that runs in this computer's network."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *command]

    def start(self) -> None:
        """Its tailscaled, which remembers nothing: whoever starts it again joins anew."""
        command = self.inside(
            binaries() / "tailscaled", "--state=mem:", f"--statedir={self.folder}",
            f"--socket={self.socket}", "--no-logs-no-support",
        )  # fmt: skip
        self.socket.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            # without this machine's proxy, which leads nowhere from there
            env = {"PATH": PATH, "TS_LOGS_DIR": str(self.folder)}
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=env)
        atexit.register(self.process.kill)
        until("tailscaled", self.listens)

    def listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        return self.socket.exists()

    def tailscale(self, *words: str) -> str:
        return self.exec(binaries() / "tailscale", f"--socket={self.socket}", *words)

    def up(self, key: str, *more: str) -> None:
        """Join. The machine's resolver and packet rules stay as they are."""
        self.tailscale(
            "up", f"--login-server={self.tailnet.url}", f"--auth-key={key}",
            f"--hostname={self.name}", "--accept-dns=false", "--netfilter-mode=off",
            "--timeout=20s", *more,
        )  # fmt: skip

    def ip(self) -> str:
        return self.tailscale("ip", "-4").strip()

    def status(self) -> dict[str, Any]:
        return json.loads(self.tailscale("status", "--json"))

    def ping(self, address: str) -> str:
        """What Tailscale says once the other one answered, by whichever way."""
        return self.tailscale("ping", "--c=1", "--until-direct=false", "--timeout=5s", address)

    def logout(self) -> None:
        self.tailscale("logout")

    def exec(self, *command: str | Path) -> str:
        return run(*self.inside(*command))

    @contextmanager
    def listening(self, port: int, at: str = "0.0.0.0") -> Generator[None]:
        """Something that says hello at all its addresses, by TCP and UDP. `at`: `::`, for IPv6."""
        command = self.inside("/usr/bin/python3", "-c", LISTENER, at, str(port))
        with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
            try:
                assert server.stdout is not None
                assert server.stdout.readline() == b"up\n"
                yield
            finally:
                server.kill()

    def stop(self, how: int = signal.SIGTERM) -> None:
        """Its tailscaled; the server hears of it, and forgets the device where it is ephemeral.

        SIGKILL: as when a battery is empty, so that the server has to find out by itself.
        """
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(20)
            atexit.unregister(self.process.kill)
            self.process = None

    def remove(self) -> None:
        self.stop(signal.SIGKILL)
        subprocess.run(["ip", "netns", "del", self.namespace], capture_output=True)


def free_ports(address: str) -> tuple[int, int, int]:
    """Two for TCP and one for UDP."""
    kinds = (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM)
    sockets = [socket.socket(socket.AF_INET, kind) for kind in kinds]
    try:
        for each in sockets:
            each.bind((address, 0))
        api, derp, stun = (int(each.getsockname()[1]) for each in sockets)
    finally:
        for each in sockets:
            each.close()
    return api, derp, stun
