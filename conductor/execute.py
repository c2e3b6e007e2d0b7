"""Running a program in a container, with something on its standard input."""

import time

import docker.errors

from conductor.host import Host, translated
from drc.errors import EngineFailed


def execute(
    host: Host, container: str, command: list[str], stdin: str, timeout: float
) -> tuple[int, str, str]:
    """Exit status, output and errors. -1 is the status of one that does not end in time.

    What is secret goes in by standard input, for arguments and environments can be looked at; it
    stays open, so a program must know by a line's end that it has all. Raises EngineFailed.
    """
    try:
        return _execute(host, container, command, stdin, timeout)
    except docker.errors.NotFound as failed:
        raise EngineFailed(f"A container on {host.name} is gone.") from failed


def _execute(
    host: Host, container: str, command: list[str], stdin: str, timeout: float
) -> tuple[int, str, str]:
    with translated(host.name):
        engine = host.docker()
        made = engine.exec_create(container, command, stdin=True, tty=False)
        channel = engine.exec_start(made["Id"], socket=True)
        channel.settimeout(timeout)
        deadline, frames = time.monotonic() + timeout, b""
        try:
            channel.sendall(stdin.encode())
            while chunk := channel.recv(65536):
                frames += chunk
                if time.monotonic() > deadline:
                    raise TimeoutError
        except TimeoutError:
            return -1, *spoken(frames)
        finally:
            channel.close()
        status = engine.exec_inspect(made["Id"])["ExitCode"]
    return status, *spoken(frames)


def spoken(frames: bytes) -> tuple[str, str]:
    """Output and errors, of what the engine sends in frames: eight bytes, of which the first tells
    the stream and the last four the length, each.
    """
    streams = {1: b"", 2: b""}
    while frames:
        end = 8 + int.from_bytes(frames[4:8], "big")
        streams[frames[0]] = streams.get(frames[0], b"") + frames[8:end]
        frames = frames[end:]
    return streams[1].decode(errors="replace"), streams[2].decode(errors="replace")
