"""What a kernel's log and nvidia-smi say of a card."""

import pytest

from conductor.health import bus, fatal

LOG = """\
[    1.0] NVRM: loading NVIDIA UNIX x86_64 Kernel Module  550.54.14
[  812.4] NVRM: Xid (PCI:0000:65:00): 31, pid=4242, name=python, Ch 00000008, intr 00000000
[  900.1] NVRM: Xid (PCI:0000:65:00): 79, name=<unknown>, GPU has fallen off the bus
[  900.2] NVRM: Xid (PCI:0000:65:00): 79, GPU has fallen off the bus
[  900.3] NVRM: Xid (0000:0A:00): 48, An uncorrectable double bit error (DBE) has been detected
[  900.4] NVRM: Xid (PCI:0001:c1:00): 13, Graphics SM Warp Exception
not NVRM: Xid (PCI:0000:66:00) at all
"""


def test_a_kernel_s_log_tells_each_fatal_xid_once() -> None:
    assert fatal(LOG) == {"0:65:0": [79], "0:a:0": [48]}
    assert fatal("") == {}


@pytest.mark.parametrize(
    ("smi", "kernel"), [("00000000:65:00.0", "0000:65:00"), ("00000001:0A:00.0", "0001:0a:00")]
)
def test_both_call_a_card_s_place_the_same(smi: str, kernel: str) -> None:
    assert bus(smi) == bus(kernel)
