"""What a vessel may write, as the conductor is told it."""

import pytest

from conductor.main import vessel_disk
from drc.errors import Misconfigured


@pytest.mark.parametrize(("value", "mib"), [("10GiB", 10240), ("1GB", 953), ("unlimited", None)])
def test_a_vessels_disk_is_a_size_or_unlimited(value: str, mib: int | None) -> None:
    assert vessel_disk({"DRC_VESSEL_DISK": value}) == mib
    assert vessel_disk({}) == 100 * 1024


@pytest.mark.parametrize("value", ["", "10", "much", "0GiB"])
def test_a_disk_that_is_no_size_is_refused(value: str) -> None:
    with pytest.raises(Misconfigured, match="DRC_VESSEL_DISK"):
        vessel_disk({"DRC_VESSEL_DISK": value})
