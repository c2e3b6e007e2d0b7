# pyright: reportAttributeAccessIssue=false
# paramiko's stubs leave out what asking about a key needs.
"""Whether a vessel can be entered: asked from outside it, over the kept connection to its host."""

import threading
import time

import docker.errors
import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paramiko.auth_handler import AuthHandler
from paramiko.common import cMSG_USERAUTH_REQUEST

from conductor.execute import execute
from conductor.host import Host, translated
from conductor.said import clean
from conductor.work import Work
from drc.errors import StartFailed, Unreachable
from drc.secret import openssh_public
from drc.sshkey import PublicKey, parse_public_key

PAUSE = 0.005  # seconds between two tries; sshd listens some 15 ms after the start
BANNER_TIMEOUT = 20.0
LOOK = 1.0  # seconds between two looks at whether it runs at all
KEY_TIMEOUT = 10.0
JUPYTER_TIMEOUT = 45


def wait_for_banner(host: Host, work: Work, container: str, door: tuple[str, int]) -> None:
    """Until sshd says hello at its door: the address and port that its host sees.

    Raises StartFailed after BANNER_TIMEOUT, or once the container has ended.
    """
    deadline, refused = time.monotonic() + BANNER_TIMEOUT, ""
    look_at = time.monotonic() + LOOK
    while time.monotonic() < deadline:
        work.go_on()
        if time.monotonic() > look_at:
            look_at += LOOK
            if not host.runs(container):
                raise StartFailed(
                    "It ended before its sshd answered. "
                    f"Its own log ends: {last_words(host, container)}"
                )
        try:
            channel = host.dial(*door)
        except paramiko.ChannelException as failed:
            refused = f" ({failed.text})"
            time.sleep(PAUSE)
            continue
        try:
            channel.settimeout(1)
            if channel.recv(8).startswith(b"SSH-2.0"):
                return
        except OSError:
            pass
        finally:
            channel.close()
        time.sleep(PAUSE)
    raise StartFailed(
        f"Its sshd did not answer at {door[0]}:{door[1]} within {BANNER_TIMEOUT:.0f} s"
        f"{refused}. Its own log ends: {last_words(host, container)}"
    )


def last_words(host: Host, container: str) -> str:
    """How a vessel's own log ends, for whoever asks why it did not come up."""
    try:
        with translated(host.name):
            said = clean(host.docker().logs(container, tail=5).decode(errors="replace"))
    except (docker.errors.NotFound, Unreachable) as failed:
        return f"({failed})"
    return said or "(nothing was said)"


class _Questions(AuthHandler):
    """Asks a server which public keys would do, without having the private ones: RFC 4252 §7."""

    def __init__(self, transport: paramiko.Transport, login: str) -> None:
        super().__init__(transport)
        self.login = login
        self.key: PublicKey | None = None
        self.answered = threading.Event()
        self.accepted = False

    def accepts(self, key: PublicKey) -> bool:
        begun, self.key, self.accepted = self.key is not None, key, False
        self.answered.clear()
        if begun:
            self._ask(key)
        else:
            self._request_auth()
        return self.answered.wait(KEY_TIMEOUT) and self.accepted

    def _parse_service_accept(self, m: paramiko.Message) -> None:
        if self.key is not None:
            self._ask(self.key)

    def _ask(self, key: PublicKey) -> None:
        question = paramiko.Message()
        question.add_byte(cMSG_USERAUTH_REQUEST)
        question.add_string(self.login)
        question.add_string("ssh-connection")
        question.add_string("publickey")
        question.add_boolean(False)
        question.add_string("rsa-sha2-256" if key.kind == "ssh-rsa" else key.kind)
        question.add_string(key.blob)
        self.transport._send_message(question)

    def _parse_userauth_info_request(self, m: paramiko.Message) -> None:
        self.accepted = True  # message 60, which means PK_OK after this question
        self.answered.set()

    def _parse_userauth_success(self, m: paramiko.Message) -> None:
        self.accepted = True  # without a signature
        self.answered.set()

    def _parse_userauth_failure(self, m: paramiko.Message) -> None:
        self.answered.set()


def check_keys(
    host: Host, work: Work, door: tuple[str, int], host_key: bytes, keys: list[str]
) -> None:
    """sshd shows the host key it was given, and would accept the owner's first key, but no
    stranger's. Raises StartFailed: somebody would have been asked, turned away, or let in.
    """
    transport = paramiko.Transport(host.dial(*door))
    try:
        transport.start_client(timeout=KEY_TIMEOUT)
        if transport.get_remote_server_key().asbytes() != host_key:
            raise StartFailed("Its sshd shows another host key than the one it was given.")
        transport.auth_handler = questions = _Questions(transport, work.login)
        if keys and not questions.accepts(parse_public_key(keys[0])):
            raise StartFailed("Its sshd does not accept its owner's key.")
        stranger = openssh_public(Ed25519PrivateKey.generate())
        if questions.accepts(parse_public_key(stranger)):
            raise StartFailed("Its sshd lets in whoever comes, with any key.")
    except (paramiko.SSHException, EOFError) as failed:
        raise StartFailed(f"Its sshd broke off: {failed}") from failed
    finally:
        transport.close()


def wait_for_jupyter(host: Host, berth: str, token: str) -> None:
    """Until Jupyter answers with its token and refuses without, asked inside the vessel's network.

    The network container asks, for Jupyter listens on the vessel's own loopback only; the token
    goes in by standard input. Raises StartFailed.
    """
    command = ["/usr/lib/drc/probe-jupyter", str(JUPYTER_TIMEOUT)]
    status, _, said = execute(host, berth, command, token + "\n", JUPYTER_TIMEOUT + 10)
    if status != 0:
        raise StartFailed(f"Its Jupyter did not come up: {clean(said)}")
