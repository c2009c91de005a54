import asyncio
import contextlib
import gzip
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wideseek_core import ConfigError, ServiceError, ServiceFault
from wideseek_core.endpoint import EndpointConfig
from wideseek_core.http import HttpClient
from wideseek_core.testing import in_simulated_time

QUICK: dict[str, Any] = {"base_url": "http://service.example/v1", "backoff_s": 0.0}
KEY = "sk-very-secret-0123456789"
Handler = Callable[[httpx2.Request], httpx2.Response]


class Service:
    """Answers in turn; the last answer stays."""

    def __init__(self, *answers: httpx2.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def client(service: Handler, **given: Any) -> HttpClient:
    options = {name: given.pop(name) for name in ("headers", "key_header") if name in given}
    config = EndpointConfig(**(QUICK | given))
    return HttpClient("Service", config, transport=httpx2.MockTransport(service), **options)


def answer(value: object = None, status: int = 200, **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return httpx2.Response(status, content=json.dumps(value).encode(), headers=named)


async def test_a_json_request_and_its_answer() -> None:
    service = Service(answer({"ok": 1}))
    async with client(service) as http:
        assert await http.post_json("/search", {"q": "é"}) == {"ok": 1}
    (request,) = service.requests
    assert (request.method, str(request.url)) == ("POST", "http://service.example/v1/search")
    assert json.loads(request.content) == {"q": "é"}
    assert request.headers["content-type"] == "application/json"
    assert "authorization" not in request.headers


@pytest.mark.parametrize(
    ("base_url", "path", "params", "asked"),
    [
        ("http://a.example/", "/x", None, "http://a.example/x"),
        ("http://a.example/v1", "x", {"q": "a b&c"}, "http://a.example/v1/x?q=a+b%26c"),
        ("http://a.example?v=2", "/x", {"q": "1"}, "http://a.example/x?v=2&q=1"),
        (
            "http://a.example",
            "/https://b.example/?x=1",
            None,
            "http://a.example/https://b.example/?x=1",
        ),
    ],
)
async def test_addresses(
    base_url: str, path: str, params: dict[str, str] | None, asked: str
) -> None:
    service = Service(answer())
    async with client(service, base_url=base_url) as http:
        await http.get_json(path, params)
    assert str(service.requests[0].url) == asked


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 520, 529])
async def test_a_fault_that_can_pass_is_tried_again(status: int) -> None:
    service = Service(answer(status=status), answer({"ok": 1}))
    async with client(service) as http:
        assert await http.post_json("/x", {}) == {"ok": 1}
    assert len(service.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 413, 422])
async def test_a_refusal_is_final(status: int) -> None:
    service = Service(answer({"error": "no"}, status))
    async with client(service) as http:
        with pytest.raises(ServiceError, match=f'Service: HTTP {status}: {{"error": "no"}}') as got:
            await http.get_json("/x")
    assert (got.value.kind, got.value.status) == (ServiceFault.REFUSED, status)
    assert (got.value.attempts, len(service.requests)) == (1, 1)


@pytest.mark.parametrize("status", [206, 301, 302, 307, 501, 505])
async def test_other_statuses_are_final(status: int) -> None:
    service = Service(answer(status=status, location="https://service.example/v1/x"))
    async with client(service) as http:
        with pytest.raises(ServiceError, match=str(status)) as caught:
            await http.get_json("/x")
    assert caught.value.kind is ServiceFault.STATUS
    assert len(service.requests) == 1


async def test_an_exhausted_quota_does_not_pass() -> None:
    service = Service(answer({"error": {"code": "insufficient_quota"}}, 429))
    async with client(service) as http:
        with pytest.raises(ServiceError, match="insufficient_quota"):
            await http.get_json("/x")
    assert len(service.requests) == 1


async def test_attempts_are_bounded_and_counted() -> None:
    service = Service(answer({"why": "busy"}, 503))
    async with client(service, max_attempts=3) as http:
        with pytest.raises(ServiceError, match="after 3 attempts") as caught:
            await http.get_json("/x")
    fault = caught.value
    assert (fault.kind, fault.status, fault.attempts) == (ServiceFault.STATUS, 503, 3)
    assert fault.body == '{"why": "busy"}'
    assert len(service.requests) == 3


@pytest.mark.parametrize(
    ("failure", "kind", "attempts"),
    [
        (httpx2.ConnectError("refused"), ServiceFault.CONNECT, 2),
        (httpx2.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]"), ServiceFault.CONNECT, 1),
        (httpx2.RemoteProtocolError("cut"), ServiceFault.CONNECT, 2),
        (httpx2.ReadTimeout("slow"), ServiceFault.TIMEOUT, 2),
        (httpx2.LocalProtocolError("no"), ServiceFault.REFUSED, 1),
        (httpx2.DecodingError("no"), ServiceFault.CONNECT, 2),
    ],
)
async def test_failures_of_the_connection(
    failure: Exception, kind: ServiceFault, attempts: int
) -> None:
    async with client(Service(failure), max_attempts=2) as http:
        with pytest.raises(ServiceError, match="Service: ") as caught:
            await http.post_json("/x", {})
    assert (caught.value.kind, caught.value.attempts) == (kind, attempts)
    assert caught.value.status is None


@pytest.mark.parametrize(
    ("failure", "attempts"),
    [
        (httpx2.ConnectError("refused"), 2),
        (answer(status=429), 2),
        (answer(status=503), 2),
        (answer(status=500), 1),
        (answer(status=504), 1),
        (httpx2.ReadTimeout("slow"), 1),
        (httpx2.RemoteProtocolError("cut"), 1),
    ],
)
async def test_a_request_with_effects_is_repeated_only_if_nothing_was_done(
    failure: httpx2.Response | Exception, attempts: int
) -> None:
    service = Service(failure)
    async with client(service, max_attempts=2) as http:
        with pytest.raises(ServiceError):
            await http.post_json("/x", {}, idempotent=False)
    assert len(service.requests) == attempts


@in_simulated_time
async def test_a_pause_beyond_the_deadline_is_not_waited_for() -> None:
    service = Service(answer(status=503, retry_after="3600"))
    async with client(service, deadline_s=1.0) as http:
        with pytest.raises(ServiceError, match="503"):
            await http.get_json("/x")
    assert len(service.requests) == 1


@in_simulated_time
async def test_an_attempt_ends_at_its_timeout() -> None:
    async def slow(request: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(60)
        return answer()

    config = EndpointConfig(**QUICK, timeout_s=0.05, max_attempts=2)
    async with HttpClient("Service", config, transport=httpx2.MockTransport(slow)) as http:
        with pytest.raises(ServiceError, match=r"no answer within 0.05 s \(after 2") as caught:
            await http.get_json("/x")
    assert caught.value.kind is ServiceFault.TIMEOUT


@in_simulated_time
async def test_waiting_for_a_slot_is_bounded_and_no_part_of_the_deadline() -> None:
    release = asyncio.Event()

    async def slow(request: httpx2.Request) -> httpx2.Response:
        await (release.wait() if request.url.path.endswith("first") else asyncio.sleep(0.15))
        return answer({"ok": 1})

    transport = httpx2.MockTransport(slow)
    config = EndpointConfig(**QUICK, max_concurrent=1, queue_timeout_s=0.05)
    async with HttpClient("Service", config, transport=transport) as http:
        first = asyncio.create_task(http.get_json("/first"))
        await asyncio.sleep(0)
        with pytest.raises(ServiceError, match=r"no free slot within 0\.05 s") as caught:
            await http.get_json("/second")
        assert caught.value.kind is ServiceFault.QUEUE
        release.set()
        assert await first == {"ok": 1}
    config = EndpointConfig(**QUICK, max_concurrent=1, deadline_s=0.2)
    async with HttpClient("Service", config, transport=transport) as http:
        asked = [asyncio.create_task(http.get_json("/other")) for _ in range(21)]
        assert await asyncio.gather(*asked) == [{"ok": 1}] * 21


@in_simulated_time
async def test_requests_in_flight_are_bounded() -> None:
    flying = peak = 0

    async def count(request: httpx2.Request) -> httpx2.Response:
        nonlocal flying, peak
        flying += 1
        peak = max(peak, flying)
        await asyncio.sleep(0.001)
        flying -= 1
        return answer()

    config = EndpointConfig(**QUICK, max_concurrent=3)
    async with HttpClient("Service", config, transport=httpx2.MockTransport(count)) as http:
        await asyncio.gather(*(http.get_json("/x") for _ in range(30)))
    assert peak == 3


@in_simulated_time
async def test_a_cancelled_request_frees_its_slot() -> None:
    async def slow(request: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(60 if request.url.path.endswith("slow") else 0)
        return answer({"ok": 1})

    config = EndpointConfig(**QUICK, max_concurrent=1)
    async with HttpClient("Service", config, transport=httpx2.MockTransport(slow)) as http:
        task = asyncio.create_task(http.get_json("/slow"))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await http.get_json("/x") == {"ok": 1}


@pytest.mark.parametrize("content", [b"", b"<html>", b'{"a": ', b"\xff\xfe\xfd", b"[" * 100_000])
async def test_what_is_not_json_is_tried_again_and_reported(content: bytes) -> None:
    service = Service(httpx2.Response(200, content=content))
    async with client(service, max_attempts=2) as http:
        with pytest.raises(ServiceError, match="not JSON") as caught:
            await http.get_json("/x")
    assert (caught.value.kind, len(service.requests)) == (ServiceFault.NOT_JSON, 2)


async def test_an_integer_of_many_digits_is_not_json() -> None:
    async with client(Service(httpx2.Response(200, content=b"1" * 6000)), max_attempts=1) as http:
        with pytest.raises(ServiceError, match="not JSON"):
            await http.get_json("/x")


async def test_half_of_a_surrogate_pair_becomes_the_replacement_character() -> None:
    service = Service(httpx2.Response(200, content=rb'{"\ud83d": ["a\ud83d", "\ud83d\ude00"]}'))
    async with client(service) as http:
        assert await http.post_json("/x", {"q": "b\ude00"}) == {"\ufffd": ["a\ufffd", "😀"]}
    assert json.loads(service.requests[0].content) == {"q": "b\ufffd"}


async def test_a_value_that_json_lacks_is_not_sent() -> None:
    async with client(Service(answer())) as http:
        with pytest.raises(ServiceError, match="can't be written as JSON"):
            await http.post_json("/x", {"temperature": float("nan")})


async def test_a_failure_inside_a_200_is_tried_again() -> None:
    service = Service(answer({"error": "overloaded"}), answer({"ok": 1}))

    def check(value: object) -> None:
        if isinstance(value, dict) and "error" in value:
            raise ServiceError("overloaded", kind=ServiceFault.STATUS, can_pass=True)

    async with client(service) as http:
        assert await http.post_json("/x", {}, check=check) == {"ok": 1}
        service.answers.append(answer({"error": "overloaded"}))
        service.answers.pop(0)
        with pytest.raises(ServiceError, match=r"Service: overloaded \(after 5 attempts\)"):
            await http.post_json("/x", {}, check=check)


async def test_an_answer_is_bounded() -> None:
    async with client(Service(answer("x" * 5000)), max_bytes=1000) as http:
        with pytest.raises(ServiceError, match="larger than 1000 bytes") as caught:
            await http.get_json("/x")
    assert (caught.value.kind, caught.value.attempts) == (ServiceFault.TOO_LARGE, 1)


class Stream(httpx2.AsyncByteStream):
    def __init__(self, content: bytes) -> None:
        self.content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.content


async def test_a_compressed_answer_that_is_cut_is_tried_again() -> None:
    packed = gzip.compress(b"the whole of it " * 100)
    headers = {"content-encoding": "gzip", "content-type": "text/plain"}

    def reply(content: bytes) -> httpx2.Response:
        return httpx2.Response(200, headers=headers, stream=Stream(content))

    async with client(Service(reply(packed[:-8]), reply(packed))) as http:
        assert await http.get_text("/x") == "the whole of it " * 100
    async with client(Service(reply(packed[:-8])), max_attempts=1) as http:
        with pytest.raises(ServiceError, match="ends too early"):
            await http.get_text("/x")


async def test_the_key_is_sent_as_the_service_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_KEY", f" {KEY}\n")
    service = Service(answer())
    async with client(service, api_key_env="SERVICE_KEY") as http:
        await http.get_json("/x")
    async with client(service, api_key_env="SERVICE_KEY", key_header="X-API-KEY") as http:
        await http.get_json("/x")
    assert service.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert service.requests[1].headers["x-api-key"] == KEY


@pytest.mark.parametrize("value", ["", "sk-1\nsk-2", "sk-1\r\nX-Evil: 1", "‘sk-1’", "sk-\u200b1"])
def test_a_bad_key_is_one_line_that_names_its_variable(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_KEY", value)
    with pytest.raises(ConfigError, match="SERVICE_KEY") as caught:
        client(Service(answer()), api_key_env="SERVICE_KEY")
    assert "sk-" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 307, 200])
async def test_no_error_shows_the_key(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_KEY", KEY)

    def echo(request: httpx2.Request) -> httpx2.Response:
        text = f"<p>{request.headers['authorization']} {KEY[:16]}… {request.url}</p>"
        return httpx2.Response(status, text=text, headers={"location": f"/?key={KEY}"})

    url = f"http://user:pass-word-1@service.example/?token={KEY}"
    async with client(echo, api_key_env="SERVICE_KEY", base_url=url, max_attempts=2) as http:
        with pytest.raises(ServiceError) as caught:
            await http.get_json("/x")
    shown = f"{caught.value!r} {caught.value.body} {caught.value.__dict__}"
    assert "secret" not in shown
    assert "pass-word" not in shown


async def test_credentials_of_the_address_are_sent_but_not_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    service = Service(answer(status=404))
    async with client(service, base_url="http://me:pass%20word-1@service.example") as http:
        with pytest.raises(ServiceError) as caught:
            await http.get_json("/x")
    assert service.requests[0].headers["authorization"] == "Basic bWU6cGFzcyB3b3JkLTE="
    assert "word-1" not in str(caught.value) + caplog.text


async def test_control_characters_of_an_answer_are_not_shown() -> None:
    service = Service(httpx2.Response(404, content=b"\x1b[2J\x1b]0;title\x07gone\nnow"))
    async with client(service) as http:
        with pytest.raises(ServiceError) as caught:
            await http.get_json("/x")
    assert str(caught.value).isprintable()


async def test_a_request_that_cannot_be_an_address_is_refused() -> None:
    async with client(Service(answer())) as http:
        with pytest.raises(ServiceError, match="can't be sent") as caught:
            await http.get_json("/" + "x" * 70_000)
    assert caught.value.kind is ServiceFault.REFUSED


@given(st.binary(max_size=200), st.sampled_from([200, 204, 302, 404, 429, 503]), st.text())
def test_any_answer_is_a_value_or_a_service_error(content: bytes, status: int, kind: str) -> None:
    headers = {b"content-type": kind.encode("utf-8", "replace"), b"retry-after": b"0"}

    async def ask() -> None:
        service = Service(httpx2.Response(status, content=content, headers=headers))
        async with client(service, max_attempts=2) as http:
            with contextlib.suppress(ServiceError):
                await http.get_json("/x")

    asyncio.run(ask())


async def test_a_service_that_cannot_be_reached() -> None:
    config = EndpointConfig(base_url="http://127.0.0.1:9", max_attempts=1)
    async with HttpClient("Service", config) as http:
        with pytest.raises(ServiceError, match="can't be reached") as caught:
            await http.get_json("/x")
    assert caught.value.kind is ServiceFault.CONNECT


@in_simulated_time
async def test_starts_are_paced() -> None:
    loop = asyncio.get_running_loop()
    starts: list[float] = []

    def note(request: httpx2.Request) -> httpx2.Response:
        starts.append(loop.time())
        return answer()

    async with client(note, max_requests_per_s=50.0) as http:
        await asyncio.gather(*(http.get_json("/x") for _ in range(5)))
    assert starts == pytest.approx([0.0, 0.02, 0.04, 0.06, 0.08])
