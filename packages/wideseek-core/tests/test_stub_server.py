"""The server on loopback that stubs are made of."""

import pytest

from wideseek_core import ServiceError, ServiceFault
from wideseek_core.endpoint import EndpointConfig
from wideseek_core.http import HttpClient
from wideseek_core.testing.http_server import HttpServer, Request, Response


async def handle(request: Request) -> Response:
    if request.path == "/broken":
        raise KeyError(request.option("name"))
    return Response.of({"path": request.path})


async def test_a_stub_that_fails_says_so_and_answers_on() -> None:
    async with HttpServer(handle) as server:
        endpoint = EndpointConfig(base_url=server.url, max_attempts=1)
        async with HttpClient("the stub", endpoint) as client:
            with pytest.raises(ServiceError) as failed:
                await client.request("GET", "/broken?name=forgotten")
            assert (failed.value.kind, failed.value.status) == (ServiceFault.STATUS, 500)
            assert "KeyError: 'forgotten'" in failed.value.body
            assert (await client.request("GET", "/fine")).status == 200
        assert [request.path for request in server.requests] == ["/broken", "/fine"]
