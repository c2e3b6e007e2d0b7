"""What a host's health is, over an SSH that answers."""

import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import paramiko
import pytest

from conductor import health, watch
from conductor import host as hosts
from conductor.host import Door, Host
from drc import fleet
from drc.db import Database
from tests.fleets import add_owner, wish
from tests.wire.standin import StandIn


class Server(paramiko.ServerInterface):
    """An sshd whose commands say what `answer` does, and whose connections on lead nowhere."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.answer: Callable[[str], str] = lambda _: ""

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        def answer() -> None:
            channel.sendall(self.answer(command.decode()).encode())
            # once that is answered our consent is sent, too, which must come before the end
            channel.get_transport().global_request("ping", wait=True)
            channel.send_exit_status(0)
            channel.close()

        threading.Thread(target=answer, daemon=True).start()
        return True

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        self.ended.wait(10)
        return paramiko.OPEN_FAILED_CONNECT_FAILED


@pytest.fixture
def sshd() -> Server:
    return Server()


@pytest.fixture
def over_ssh(sshd: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setattr(hosts, "CONNECT_TIMEOUT", 1.0)
    key = paramiko.ECDSAKey.generate()
    listener = socket.create_server(("127.0.0.1", 0))
    served: list[paramiko.Transport] = []

    def serve() -> None:
        transport = paramiko.Transport(listener.accept()[0])
        served.append(transport)
        transport.add_server_key(key)
        transport.start_server(server=sshd)

    threading.Thread(target=serve, daemon=True).start()
    at = Door(
        id=1, name="gpu7", ssh_user="drc", ssh_address="127.0.0.1",
        ssh_port=listener.getsockname()[1], ssh_host_key=f"{key.get_name()} {key.get_base64()}",
        docker_socket="", exporter="none", address="", ports_from=0, simulate=None,
        probed=True, open=True,
    )  # fmt: skip
    host = Host(at, key)
    yield host
    sshd.ended.set()
    host.close()
    for transport in served:
        transport.close()
    listener.close()


def test_an_exporter_behind_a_firewall_is_down_and_its_host_is_not(over_ssh: Host) -> None:
    assert not health.answers(over_ssh, "10.0.0.9:9400")
    assert over_ssh.connection().is_active()


def test_what_a_vessel_uses_that_came_during_the_look_was_left_by_nobody(
    over_ssh: Host, sshd: Server, standin: StandIn, host: int, db: Database
) -> None:
    owner = add_owner(db)

    def memory(command: str) -> str:
        if "memory.used" not in command:
            return ""
        assert fleet.reserve_vessel(db, wish(owner, gpus=3)) == "reserved"
        return "".join(f"GPU-gpu1-{n}, 30000, 0\n" for n in range(4))

    sshd.answer = memory
    conductor: Any = SimpleNamespace(db=standin.db, api=standin.tell)
    watch.report_health(conductor, over_ssh, [])
    ill = [gpu["index"] for gpu in fleet.read_gpus(db) if gpu["ill"]]
    assert ill == [3]


def test_what_nvidia_smi_says_of_a_card_is_a_line_that_can_be_printed() -> None:
    said = "[GPU requires reset]\x1b[2J\x00" + "!" * 1000
    assert health.fault(["0", said])[:42] == "nvidia-smi says [GPU requires reset] [2J !"
    assert len(health.fault(["0", said])) < 400
