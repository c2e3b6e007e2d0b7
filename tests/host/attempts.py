"""What nobody in a vessel must be able to do to the kernel: each is tried, and the outcome told.

A program with nothing but Python, for it runs inside containers: `python3 -c <this file>` prints a
JSON object from each attempt's name to "done" or the name of the error that refused it. None of
them changes anything where it succeeds: settings are written as they were read.
"""

import ctypes
import errno
import json
import os
import platform
import signal
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path

Attempt = Callable[[], object]
ATTEMPTS: dict[str, Attempt] = {}

libc = ctypes.CDLL(None, use_errno=True)
NUMBERS = {
    "x86_64": {"bpf": 321, "clone3": 435, "finit_module": 313, "keyctl": 250, "perf": 298},
    "aarch64": {"bpf": 280, "clone3": 435, "finit_module": 273, "keyctl": 219, "perf": 241},
}  # of calls that the C library has no function for
NEW_NET, NEW_NS, NEW_USER = 0x40000000, 0x00020000, 0x10000000  # linux/sched.h
HERE = -100  # AT_FDCWD


def attempt(sentence: str) -> Callable[[Attempt], Attempt]:
    def kept(do: Attempt) -> Attempt:
        ATTEMPTS[sentence] = do
        return do

    return kept


def checked(result: int) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def call(name: str, *arguments: object) -> int:
    return checked(libc.syscall(NUMBERS[platform.machine()][name], *arguments))


def mount(kind: str) -> None:
    checked(libc.mount(b"none", b"/mnt", kind.encode(), 0, None))


def write_as_read(path: str) -> None:
    with open(path, "r+") as file:
        value = file.read()
        file.seek(0)
        file.write(value)


def limits() -> Path:
    """The folder of its own memory limit."""
    one, other = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    return one if one.exists() else other


@attempt("mount a file system")
def _() -> None:
    mount("tmpfs")


@attempt("mount /proc anew, without what is masked in it")
def _() -> None:
    mount("proc")


@attempt("mount the control groups anew")
def _() -> None:
    mount("cgroup2")


@attempt("make a user namespace, to be root in")
def _() -> None:
    checked(libc.unshare(NEW_USER))


@attempt("make one with clone3, which filters cannot look into")
def _() -> None:
    words = struct.pack("<11Q", NEW_USER, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0)
    child = call("clone3", words, len(words))
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


@attempt("make a mount namespace")
def _() -> None:
    checked(libc.unshare(NEW_NS))


@attempt("enter a network namespace")
def _() -> None:
    checked(libc.setns(os.open("/proc/self/ns/net", os.O_RDONLY), NEW_NET))


@attempt("load a program into the kernel (bpf)")
def _() -> None:
    array = struct.pack("<5I", 2, 4, 4, 1, 0).ljust(128, b"\0")
    call("bpf", 0, array, len(array))


@attempt("load a module")
def _() -> None:
    call("finit_module", os.open("/bin/true", os.O_RDONLY), b"", 0)


@attempt("look at the kernel's and everybody's doings (perf)")
def _() -> None:
    clock = struct.pack("<II", 1, 112).ljust(112, b"\0")
    call("perf", clock, -1, 0, -1, 0)


@attempt("look into a keyring")
def _() -> None:
    call("keyctl", 0, -3, 1)


@attempt("send packets of its own making")
def _() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()


@attempt("listen to all packets")
def _() -> None:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()


@attempt("make a node for a device of the host and open it")
def _() -> None:
    node = f"/tmp/log-{os.getpid()}"
    os.mknod(node, stat.S_IFCHR | 0o600, os.makedev(1, 11))  # the kernel's log
    try:
        os.open(node, os.O_RDONLY)
    finally:
        os.unlink(node)


@attempt("open a file of the host by its number")
def _() -> None:
    handle = ctypes.create_string_buffer(struct.pack("<Ii", 128, 0), 136)
    mounted = ctypes.c_int()
    checked(libc.name_to_handle_at(HERE, b"/etc/hosts", handle, ctypes.byref(mounted), 0))
    checked(libc.open_by_handle_at(os.open("/etc/hosts", os.O_RDONLY), handle, os.O_RDONLY))


@attempt("set the clock")
def _() -> None:
    timex = ctypes.create_string_buffer(256)
    checked(libc.adjtimex(timex))
    struct.pack_into("<I", timex, 0, 0x10)  # ADJ_STATUS: the status, as it is
    checked(libc.adjtimex(timex))


@attempt("read the kernel's log")
def _() -> None:
    checked(libc.klogctl(3, ctypes.create_string_buffer(4096), 4096))


@attempt("rename the machine")
def _() -> None:
    socket.sethostname(socket.gethostname())


@attempt("go before the processes of others")
def _() -> None:
    os.nice(-5)


@attempt("set what the kernel runs when a process crashes")
def _() -> None:
    write_as_read("/proc/sys/kernel/core_pattern")


@attempt("change the kernel's settings in /sys")
def _() -> None:
    write_as_read("/sys/kernel/mm/ksm/sleep_millisecs")


@attempt("raise its own limit of memory")
def _() -> None:
    for name in ("memory.limit_in_bytes", "memory.max"):
        if (limits() / name).exists():
            return write_as_read(str(limits() / name))
    raise FileNotFoundError(errno.ENOENT, "no limit")


@attempt("make a control group of its own")
def _() -> None:
    group = limits() / f"attempt-{os.getpid()}"
    group.mkdir()
    group.rmdir()


@attempt("read the kernel's timers")
def _() -> None:
    with open("/proc/timer_list") as file:
        if not file.read(1):
            raise PermissionError(errno.EACCES, "it is masked")


def outcome(do: Attempt) -> str:
    """Of trying it in a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            do()
            said = "done"
        except OSError as refused:
            said = errno.errorcode.get(refused.errno or 0, str(refused))
        except BaseException as failed:
            said = repr(failed)
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as answer:
        return answer.read()


if __name__ == "__main__":
    print(json.dumps({sentence: outcome(do) for sentence, do in ATTEMPTS.items()}))
