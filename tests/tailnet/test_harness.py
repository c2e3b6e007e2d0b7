"""The tests' own tailnet carries traffic, and forgets those who leave."""

from pathlib import Path

from tests.tailnet.lan import Lan
from tests.tailnet.tailnet import Node, Tailnet

HELLO = "import socket, sys; print(socket.create_connection((sys.argv[1], 8000), 10).recv(9))"


def test_two_computers_join_by_one_use_keys_and_one_reaches_a_port_of_the_other(
    tmp_path: Path,
) -> None:
    with (
        Lan() as lan,
        Tailnet(tmp_path, lan.address, prefix=lan.inside()) as tailnet,
        Node(tailnet, lan, tmp_path, "ada") as ada,
        Node(tailnet, lan, tmp_path, "bert") as bert,
    ):
        ada.up(tailnet.mint())
        bert.up(tailnet.mint(tags=[tailnet.tag]))
        assert [device["hostname"] for device in tailnet.devices()] == ["ada", "bert"]
        assert tailnet.device("bert")["addresses"][0] == bert.ip()
        with bert.listening(8000):
            assert ada.exec("/usr/bin/python3", "-c", HELLO, bert.ip()) == "b'hello\\n'\n"
        (seen,) = ada.status()["Peer"].values()
        assert seen["TailscaleIPs"][0] == bert.ip()
        assert seen["RxBytes"] > 0  # through WireGuard
        ada.logout()
        bert.stop()
        assert tailnet.devices() == []
