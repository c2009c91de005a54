"""Connections of a client with many requests in flight, spread over several pools.

A pool of httpcore looks at all of its connections, for each of them, whenever a request starts or
ends: with a thousand connections that takes longer than the requests. Small pools do not.
"""

from collections.abc import Callable

import httpx2

CONNECTIONS_PER_POOL = 4
MAX_IN_ONE_POOL = 8


class SpreadTransport(httpx2.AsyncBaseTransport):
    """Sends requests over several transports in turn."""

    def __init__(self, make: Callable[[], httpx2.AsyncBaseTransport], connections: int) -> None:
        """`make` makes a transport; `connections` is how many are in use at once."""
        pools = connections // CONNECTIONS_PER_POOL if connections > MAX_IN_ONE_POOL else 1
        self._transports = [make() for _ in range(pools)]
        self._next = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The response of the transport whose turn it is."""
        transport = self._transports[self._next]
        self._next = (self._next + 1) % len(self._transports)
        return await transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Closes all connections."""
        for transport in self._transports:
            await transport.aclose()
