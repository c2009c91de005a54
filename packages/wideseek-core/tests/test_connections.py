from collections import Counter

import httpx2
import pytest

from wideseek_core.connections import SpreadTransport


class Named(httpx2.AsyncBaseTransport):
    def __init__(self, name: str, used: Counter[str]) -> None:
        self.name, self.used = name, used

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.used[self.name] += 1
        return httpx2.Response(200, text=self.name)

    async def aclose(self) -> None:
        self.used[f"{self.name} closed"] += 1


@pytest.mark.parametrize(("connections", "pools"), [(1, 1), (8, 1), (64, 16), (1000, 250)])
async def test_requests_are_spread_over_small_pools(connections: int, pools: int) -> None:
    used: Counter[str] = Counter()
    made: list[Named] = []

    def make() -> Named:
        made.append(Named(str(len(made)), used))
        return made[-1]

    transport = SpreadTransport(make, connections)
    async with httpx2.AsyncClient(transport=transport) as client:
        for _ in range(2 * pools):
            assert (await client.get("http://test/")).status_code == 200
    assert len(made) == pools
    assert set(used.values()) == {1, 2}
    assert sum(used[transport.name] for transport in made) == 2 * pools
    assert all(used[f"{transport.name} closed"] == 1 for transport in made)
