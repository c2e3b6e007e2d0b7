"""What a host's health is, over an SSH that answers."""

import socket
import threading
from collections.abc import Iterator

import paramiko
import pytest

from conductor import health
from conductor import host as hosts
from conductor.host import Door, Host


class Server(paramiko.ServerInterface):
    """An sshd whose nvidia-smi knows one card, and whose connections on lead nowhere."""

    def __init__(self, ended: threading.Event) -> None:
        self.ended = ended

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        self.ended.wait(10)
        return paramiko.OPEN_FAILED_CONNECT_FAILED


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setattr(hosts, "CONNECT_TIMEOUT", 1.0)
    key, ended = paramiko.ECDSAKey.generate(), threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    served: list[paramiko.Transport] = []

    def serve() -> None:
        transport = paramiko.Transport(listener.accept()[0])
        served.append(transport)
        transport.add_server_key(key)
        transport.start_server(server=Server(ended))

    threading.Thread(target=serve, daemon=True).start()
    door = Door(
        id=1, name="gpu7", ssh_user="drc", ssh_address="127.0.0.1",
        ssh_port=listener.getsockname()[1], ssh_host_key=f"{key.get_name()} {key.get_base64()}",
        docker_socket="", address="", ports_from=0, simulate=None, probed=True, open=True,
    )  # fmt: skip
    host = Host(door, key)
    yield host
    ended.set()
    host.close()
    for transport in served:
        transport.close()
    listener.close()


def test_an_exporter_behind_a_firewall_is_down_and_its_host_is_not(host: Host) -> None:
    assert not health.answers(host, "10.0.0.9:9400")
    assert host.connection().is_active()


def test_what_nvidia_smi_says_of_a_card_is_a_line_that_can_be_printed() -> None:
    said = "[GPU requires reset]\x1b[2J\x00" + "!" * 1000
    assert health.fault(["0", said])[:42] == "nvidia-smi says [GPU requires reset] [2J !"
    assert len(health.fault(["0", said])) < 400
