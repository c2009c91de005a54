import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the tests share loopback.py

from loopback import Stub


@pytest.fixture
async def stub() -> AsyncGenerator[Stub]:
    async with Stub() as running:
        yield running
