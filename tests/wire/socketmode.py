"""Slack's side of Socket Mode: a real WebSocket, on which clicks go out and are acknowledged."""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from tests.wait import wait_until
from tests.wire.slack import Slack


class Socket:
    def __init__(self) -> None:
        self.connections: list[ServerConnection] = []
        self.acknowledged: list[str] = []

    def talk(self, connection: ServerConnection) -> None:
        hello = {"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A1"}}
        connection.send(json.dumps(hello))
        self.connections.append(connection)
        try:
            for said in connection:
                self.acknowledged.append(json.loads(said)["envelope_id"])
        except ConnectionClosed:
            pass
        finally:
            self.connections.remove(connection)

    def send(self, payload: dict[str, Any]) -> str:
        """An envelope, on the connection that is there. Returns its id."""
        wait_until(lambda: self.connections, "an app is connected")
        id = str(uuid.uuid4())
        envelope = {"type": "interactive", "envelope_id": id, "payload": payload,
                    "accepts_response_payload": True}  # fmt: skip
        self.connections[-1].send(json.dumps(envelope))
        return id

    def click(self, payload: dict[str, Any]) -> None:
        """Until the app has acknowledged it."""
        id = self.send(payload)
        wait_until(lambda: id in self.acknowledged, "the click is acknowledged")

    def cut(self) -> None:
        """As Slack does with every connection after some hours."""
        for connection in list(self.connections):
            connection.close()


@contextmanager
def socket_of(slack: Slack) -> Iterator[Socket]:
    socket = Socket()
    with serve(socket.talk, "127.0.0.1", 0) as server:
        slack.socket_url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/link/?ticket=1"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield socket
        finally:
            socket.cut()
            server.shutdown()
            thread.join()
