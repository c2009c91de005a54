"""The HTTP client of every service: one set of limits, retries, proxies, errors and redaction.

A request waits for a slot, then has `deadline_s` for all its attempts. Only faults that can pass
are tried again. Whatever goes wrong is a `ServiceError`, and no text of it holds a key.
"""

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import unquote, urlencode, urlsplit, urlunsplit

import httpx2
from pydantic import JsonValue

from wideseek_core.bodies import ACCEPT_ENCODING, read_body
from wideseek_core.config import secret
from wideseek_core.endpoint import EndpointConfig
from wideseek_core.errors import ConfigError, DataError, ServiceError, ServiceFault
from wideseek_core.headers import decoded_text, header_value, retry_after_s
from wideseek_core.httpx_sender import HttpxSender, spread
from wideseek_core.json_text import parse_json
from wideseek_core.limiter import PASSING_STATUSES, RequestLimiter
from wideseek_core.proxies import certificates, proxy_for
from wideseek_core.redaction import Redactor, printable, secrets_in_url
from wideseek_core.secret_names import is_secret_name
from wideseek_core.sender import HttpRequest, Reply, Sender, is_ascii
from wideseek_core.text import clean, one_line

UNPROCESSED_STATUSES = frozenset({425, 429, 503})
"""Those that say that nothing was done, so that a request with effects may be repeated too."""
PARTIAL_STATUS = 206
"""A part of the content, which is never asked for."""
MAX_ERROR_BYTES = 100_000
MAX_EXCERPT_CHARS = 300

T = TypeVar("T")
Transport = httpx2.AsyncBaseTransport
"""What may replace the network, in tests."""
Check = Callable[[JsonValue], None]
"""Looks at an answer; raises `ServiceError` for one that reports a failure inside a 200."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A complete response with a status of 2xx."""

    status: int
    headers: Mapping[str, str]
    """Names in small letters."""
    content: bytes

    @property
    def text(self) -> str:
        """The content in the charset that its type names, else in UTF-8."""
        return decoded_text(self.content, self.headers.get("content-type", ""))


class HttpClient:
    """A client of one service. Use with `async with`, once.

    Requests do not depend on each other: cookies are not kept, redirects are not followed.

        async with HttpClient("Serper", config, key_header="X-API-KEY") as client:
            answer = await client.post_json("/search", {"q": "width of the Nile"})

    Args:
        name: of the service, for messages.
        config: where it is and how hard it may be used.
        headers: sent with every request; values under names of secrets are redacted.
        key_header: carries the key of `config.api_key_env`, after `Bearer` in `Authorization`.
        key_required: whether a named variable must be set.
        transport: replaces the network, for tests.

    Raises:
        ConfigError: the key is missing or can't be sent, a proxy or certificate variable is bad.
    """

    def __init__(
        self,
        name: str,
        config: EndpointConfig,
        *,
        headers: Mapping[str, str] | None = None,
        key_header: str = "Authorization",
        key_required: bool = True,
        transport: Transport | None = None,
    ) -> None:
        self.config = config
        secrets = secrets_in_url(config.base_url)
        fixed = {"Accept-Encoding": ACCEPT_ENCODING.encode()}
        for header, value in (headers or {}).items():
            fixed[header] = header_value(value, f"the header {header}")
            secrets |= {value} if is_secret_name(header) else set()
        if key := _key(name, config.api_key_env, key_required):
            value = f"Bearer {key}" if key_header.lower() == "authorization" else key
            fixed[key_header] = header_value(value, config.api_key_env)
            secrets.add(key)
        proxy = None if transport else proxy_for(config.base_url)
        self.redact = Redactor(secrets | (secrets_in_url(proxy) if proxy else set()))
        self._name = self.redact(name)
        self._base, self._query, credentials = _without_credentials(config.base_url)
        if credentials:
            fixed = {name: text for name, text in fixed.items() if name.lower() != "authorization"}
            fixed["Authorization"] = credentials
        self._limiter = RequestLimiter(self._name, config)
        self._sender = _sender(config, fixed, proxy, transport)
        self._was_opened = self._is_closed = False

    async def __aenter__(self) -> Self:
        assert not self._was_opened, "a client is opened once"
        self._was_opened = True
        await self._sender.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_closed = True
        await self._sender.close()

    async def post_json(
        self,
        path: str,
        body: JsonValue,
        *,
        idempotent: bool = True,
        check: Check | None = None,
    ) -> JsonValue:
        """The JSON answer to a JSON request. Raises `ServiceError`.

        A request that is not `idempotent` is repeated only if the service surely did nothing.
        """
        try:
            text = json.dumps(body, ensure_ascii=False, allow_nan=False)
        except (ValueError, RecursionError) as error:
            line = f"{self._name}: the request can't be written as JSON: {error}"
            raise ServiceError(line, kind=ServiceFault.REFUSED) from None
        request = HttpRequest(
            method="POST",
            url=self._url(path),
            headers={"Content-Type": b"application/json"},
            content=clean(text).encode(),
            idempotent=idempotent,
        )
        return await self._send(request, lambda response: _parsed(response, check))

    async def get_json(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        check: Check | None = None,
    ) -> JsonValue:
        """The JSON at a path. Raises `ServiceError`."""
        request = HttpRequest(method="GET", url=self._url(path, params), headers=_sent(headers))
        return await self._send(request, lambda response: _parsed(response, check))

    async def get_text(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        check: Callable[[str], None] | None = None,
    ) -> str:
        """The text at a path. Raises `ServiceError`."""

        def read(response: HttpResponse) -> str:
            if check is not None:
                check(response.text)
            return response.text

        request = HttpRequest(method="GET", url=self._url(path, params), headers=_sent(headers))
        return await self._send(request, read)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        idempotent: bool = True,
    ) -> HttpResponse:
        """Any request; its response has a status of 2xx. Raises `ServiceError`."""
        request = HttpRequest(
            method=method,
            url=self._url(path, params),
            headers=_sent(headers),
            content=content,
            idempotent=idempotent,
        )
        return await self._send(request, lambda response: response)

    def _url(self, path: str, params: Mapping[str, str] | None = None) -> str:
        given = urlencode({name: clean(value) for name, value in (params or {}).items()})
        query = "&".join(part for part in (self._query, given) if part)
        path = clean(path)
        address = f"{self._base}/{path.removeprefix('/')}" if path else self._base
        return f"{address}{'&' if '?' in path else '?'}{query}" if query else address

    async def _send(self, request: HttpRequest, read: Callable[[HttpResponse], T]) -> T:
        """The answer as `read` understands it, after as many attempts as are allowed."""

        async def attempt(timeout_s: float) -> T:
            return read(await self._attempt(request, timeout_s))

        try:
            return await self._limiter.run(attempt)
        except ServiceError as fault:
            raise self._redacted(fault) from None

    async def _attempt(self, request: HttpRequest, timeout_s: float) -> HttpResponse:
        """One attempt. Raises `ServiceError`, which can pass if the request may be repeated."""

        async def read(reply: Reply) -> HttpResponse:
            return await self._read(reply, request.idempotent)

        if self._is_closed:
            raise ServiceError("the client was closed", kind=ServiceFault.CONNECT)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._sender.exchange(request, read)
        except TimeoutError:
            line = f"no answer within {timeout_s:.3g} s"
            raise ServiceError(
                line, kind=ServiceFault.TIMEOUT, can_pass=request.idempotent
            ) from None

    async def _read(self, reply: Reply, repeatable: bool) -> HttpResponse:
        status, headers = reply.status, reply.headers
        if 200 <= status < 300 and status != PARTIAL_STATUS:
            content = await read_body(reply.chunks, reply.encoding, self.config.max_bytes)
            return HttpResponse(status, headers, content)
        try:
            content = await read_body(reply.chunks, reply.encoding, MAX_ERROR_BYTES)
        except ServiceError:
            content = b""  # the status tells enough
        raise self._status_fault(HttpResponse(status, headers, content), repeatable)

    def _status_fault(self, response: HttpResponse, repeatable: bool) -> ServiceError:
        status = response.status
        body = self._excerpt(response.text)
        line = f"HTTP {status}" + (f": {body}" if body else "")
        if 300 <= status < 400:
            target = self._excerpt(response.headers.get("location", "nowhere"))
            line = f"HTTP {status}: redirects to {target}; is the address right?"
        if status in (401, 403) and self.config.api_key_env:
            line += f" (the key is read from {self.config.api_key_env})"
        passing = PASSING_STATUSES if repeatable else UNPROCESSED_STATUSES
        can_pass = status in passing and "insufficient_quota" not in response.text
        is_refusal = 400 <= status < 500 and status not in PASSING_STATUSES
        return ServiceError(
            line,
            kind=ServiceFault.REFUSED if is_refusal else ServiceFault.STATUS,
            status=status,
            body=body,
            can_pass=can_pass,
            retry_after_s=retry_after_s(response.headers),
        )

    def _excerpt(self, text: str) -> str:
        """The beginning of a text in one line, without secrets, which are removed first."""
        words = self.redact(printable(text[: 20 * MAX_EXCERPT_CHARS])).split()
        return " ".join(words)[:MAX_EXCERPT_CHARS]

    def _redacted(self, fault: ServiceError) -> ServiceError:
        return ServiceError(
            printable(self.redact(str(fault))),
            kind=fault.kind,
            status=fault.status,
            body=self._excerpt(fault.body),
            attempts=fault.attempts,
            can_pass=fault.can_pass,
            retry_after_s=fault.retry_after_s,
        )


def _key(service: str, variable: str, required: bool) -> str:
    """A service's key from the environment; empty where none is needed."""
    found = secret(variable) if variable else None
    if found is not None:
        return found.get_secret_value()
    if variable and required:
        raise ConfigError(f"{service} needs a key: set the environment variable {variable}")
    return ""


def _without_credentials(base_url: str) -> tuple[str, str, bytes]:
    """An address without user and password, its query, and the header that they become."""
    parts = urlsplit(base_url)
    credentials = b""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        credentials = b"Basic " + b64encode(pair.encode())
    netloc = parts.netloc.rpartition("@")[2]
    base = urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))
    return base, parts.query, credentials


def _sender(
    config: EndpointConfig,
    headers: Mapping[str, bytes],
    proxy: str | None,
    transport: Transport | None,
) -> Sender:
    """What sends the requests of a client: the faster library wherever it can."""
    is_tls = any(url.startswith("https:") for url in (config.base_url, proxy or ""))
    # Reading certificates takes a while, and plain HTTP needs none.
    context = None
    if is_tls and transport is None:
        context = certificates() or httpx2.create_ssl_context()

    def by_httpx() -> Sender:
        used = transport or spread(context, proxy, config.max_concurrent)
        return HttpxSender(headers, used, config.timeout_s)

    if transport is not None or proxy is not None or not is_ascii(headers):
        return by_httpx()
    from wideseek_core.aiohttp_sender import AiohttpSender  # slow to import

    return AiohttpSender(headers, context, config.max_concurrent, by_httpx)


def _sent(headers: Mapping[str, str] | None) -> dict[str, bytes]:
    return {
        name: header_value(value, f"the header {name}") for name, value in (headers or {}).items()
    }


def _parsed(response: HttpResponse, check: Check | None) -> JsonValue:
    try:
        value = _json_of(response)
    except DataError:
        text = response.text[: 20 * MAX_EXCERPT_CHARS]
        line = f"the answer is not JSON: {one_line(text)[:MAX_EXCERPT_CHARS] or 'it is empty'}"
        raise ServiceError(
            line, kind=ServiceFault.NOT_JSON, status=response.status, body=text, can_pass=True
        ) from None
    if check is not None:
        check(value)
    return value


def _json_of(response: HttpResponse) -> JsonValue:
    """The JSON of an answer in UTF-8, UTF-16 or UTF-32, else in the charset that it names.

    Bytes that the charset can't hold are replaced: a response may end within a character.
    """
    try:
        return parse_json(response.content)
    except DataError:
        return parse_json(response.text)
