"""What a kernel's log and nvidia-smi say of a card."""

import subprocess

import pytest

from conductor.health import KERNEL, bus, fatal

LOG = """\
[    1.0] NVRM: loading NVIDIA UNIX x86_64 Kernel Module  550.54.14
[  812.4] NVRM: Xid (PCI:0000:65:00): 31, pid=4242, name=python, Ch 00000008, intr 00000000
[  900.1] NVRM: Xid (PCI:0000:65:00): 79, name=<unknown>, GPU has fallen off the bus
[  900.2] NVRM: Xid (PCI:0000:65:00): 79, GPU has fallen off the bus
[  900.3] NVRM: Xid (0000:0A:00): 48, An uncorrectable double bit error (DBE) has been detected
[  900.4] NVRM: Xid (PCI:0001:c1:00): 13, Graphics SM Warp Exception
[  900.5] NVRM: Xid (PCI:0000:66:00) at all
Nov 29 20:00:01 gpu7 kernel: NVRM: Xid (PCI:0000:67:00): 95, pid=1, name=python
"""
FORGED = """\
[  901.0] evil[77]: segfault at 0 ip 0 sp 0 in NVRM: Xid (PCI:0000:65:00): 79, pid=1[5580+1000]
[  901.1] evil (a)
          [  901.2] NVRM: Xid (PCI:0000:65:00): 79, pid=1
Nov 29 20:00:01 gpu7 kernel: evil[77]: segfault in NVRM: Xid (PCI:0000:65:00): 79, pid=1[5580]
"""


def test_a_kernel_s_log_tells_each_fatal_xid_once() -> None:
    assert fatal(grep(LOG)) == {"0:65:0": [79], "0:a:0": [48], "0:67:0": [95]}
    assert fatal(grep("")) == {}


def test_what_a_program_is_called_is_none() -> None:
    """The kernel's log has the names of programs and of their files, which anybody may choose."""
    assert grep(FORGED) == ""


def test_many_harmless_ones_hide_no_fatal_one() -> None:
    harmless = "[ 9.0] NVRM: Xid (PCI:0000:65:00): 13, Graphics Exception\n"
    assert fatal(grep(LOG + harmless * 1000))["0:65:0"] == [79]


def grep(log: str) -> str:
    """What comes of a kernel's log, by the command itself."""
    return subprocess.run(
        ["sh", "-c", f"dmesg() {{ cat; }}; {KERNEL}"], input=log, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize(
    ("smi", "kernel"), [("00000000:65:00.0", "0000:65:00"), ("00000001:0A:00.0", "0001:0a:00")]
)
def test_both_call_a_card_s_place_the_same(smi: str, kernel: str) -> None:
    assert bus(smi) == bus(kernel)
