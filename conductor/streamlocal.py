# pyright: reportAttributeAccessIssue=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# paramiko's stubs leave out what a new kind of channel needs.
"""Docker's API through one kept SSH connection.

Each HTTP connection is a `direct-streamlocal@openssh.com` channel straight to the engine's socket:
no session slot, no process and no docker client on the host, 0.4 ms per call. paramiko's own
open_channel cannot encode this kind's fields (OpenSSH PROTOCOL, section 2.4), so the message is
built here.
"""

import threading
from typing import Any

import docker.transport.basehttpadapter
import requests
import urllib3
import urllib3.connection
import urllib3.connectionpool
from paramiko import Channel, ChannelException, Message, SSHException, Transport
from paramiko.common import cMSG_CHANNEL_OPEN

POOL = 40  # idle channels kept; the most vessels that one host starts at once


class StreamlocalTransport(Transport):
    def open_streamlocal(self, path: str, timeout: float = 10.0) -> Channel:
        """A channel to a Unix socket on the host. Raises SSHException."""
        if not self.active:
            raise SSHException("The SSH connection is closed.")
        message = Message()
        with self.lock:
            number = self._next_channel()
            window = self._sanitize_window_size(None)
            packet = self._sanitize_packet_size(None)
            message.add_byte(cMSG_CHANNEL_OPEN)
            message.add_string("direct-streamlocal@openssh.com")
            message.add_int(number)
            message.add_int(window)
            message.add_int(packet)
            message.add_string(path)
            message.add_string("")
            message.add_int(0)
            channel = Channel(number)
            self._channels.put(number, channel)
            self.channel_events[number] = opened = threading.Event()
            self.channels_seen[number] = True
            channel._set_transport(self)
            channel._set_window(window, packet)
        self._send_user_message(message)
        if not opened.wait(timeout):
            raise SSHException("The host did not open the channel in time.")
        if self._channels.get(number) is None:
            raise _refusal(self.get_exception(), path)
        return channel


def _refusal(failed: Exception | None, path: str) -> SSHException:
    """In words; sshd says the same of a socket that is not there and of one we may not go to."""
    if isinstance(failed, ChannelException):
        return SSHException(f"nothing listens at {path}, or its sshd does not let us there")
    return SSHException(str(failed or "the host refused the channel"))


class _Connection(urllib3.connection.HTTPConnection):
    def __init__(self, transport: StreamlocalTransport, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.transport = transport
        self.path = path

    def connect(self) -> None:
        channel = self.transport.open_streamlocal(self.path)
        channel.settimeout(self.timeout)  # pyright: ignore[reportArgumentType]
        self.sock = channel


class _Pool(urllib3.connectionpool.HTTPConnectionPool):
    def __init__(self, transport: StreamlocalTransport, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout, maxsize=POOL)
        self.transport = transport
        self.path = path
        self.seconds = timeout

    def _new_conn(self) -> _Connection:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _Connection(self.transport, self.path, self.seconds)


class StreamlocalAdapter(docker.transport.basehttpadapter.BaseHTTPAdapter):
    """Mounted under a docker APIClient for `http://localhost`."""

    def __init__(self, transport: StreamlocalTransport, path: str, timeout: float = 60.0) -> None:
        self.pool = _Pool(transport, path, timeout)
        super().__init__()

    def get_connection_with_tls_context(
        self, request: Any, verify: Any, proxies: Any = None, cert: Any = None
    ) -> _Pool:
        return self.pool

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        return request.path_url

    def close(self) -> None:
        self.pool.close()
