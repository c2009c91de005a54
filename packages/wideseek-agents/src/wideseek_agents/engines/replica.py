"""One server that samples: what the pool asks of it, and how its HTTP answers become errors."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from pydantic_core import to_json

from wideseek_agents.engines.config import ServersConfig
from wideseek_agents.server_limits import says_too_long
from wideseek_core import (
    ContextOverflow,
    PolicyError,
    PolicyUnavailable,
    Sampling,
    ServiceError,
    VersionSpan,
    VersionSpans,
)
from wideseek_core.counting import counted
from wideseek_core.endpoint import EndpointConfig
from wideseek_core.errors import ServiceFault
from wideseek_core.text import one_line
from wideseek_core.versions import cover

if TYPE_CHECKING:
    from wideseek_core.http import HttpClient, HttpResponse

_ABORTED = 499
"""SGLang's status for a request that was given up before it began."""
_MAX_BYTES = 200_000_000
_MAX_EXCERPT_CHARS = 200


class End(StrEnum):
    """Why a server stopped sampling."""

    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"
    """The server gave the request up, e.g. for new weights; what it sampled is good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """What a server sampled in answer to one request."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    end: End
    versions: VersionSpans | None = None
    """As the server reports them; None where it does not know."""
    cached_tokens: int | None = None
    """Prompt tokens that were not computed again; None where the server does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """What a server says about its model."""

    name: str
    context_tokens: int | None
    """Longest prompt plus response."""


class Replica(Protocol):
    """One server."""

    @property
    def url(self) -> str:
        """Its address, which names it in messages."""
        ...

    async def open(self) -> None:
        """Gets ready to connect; called once, before anything else. Raises `ConfigError`."""
        ...

    async def generate(
        self, prompt_ids: Sequence[int], *, sampling: Sampling, cache_key: str
    ) -> Sampled:
        """Samples once. Prefixes are shared among requests of one `cache_key` only.

        Raises `ContextOverflow`, `PolicyUnavailable` when another replica may succeed, and
        `PolicyError` when none will.
        """
        ...

    async def model(self) -> ServedModel:
        """The model it serves. Raises `PolicyError`."""
        ...

    async def version(self) -> int | None:
        """The version of its weights, if it keeps a numeric label. Raises `PolicyUnavailable`."""
        ...

    async def probe(self) -> None:
        """Raises `PolicyUnavailable` unless the server is alive; a paused one is."""
        ...

    async def top_logprob(self, prompt_ids: Sequence[int], temperature: float) -> float:
        """The log-probability that it reports for the likeliest next token.

        Raises `PolicyError`.
        """
        ...

    async def close(self) -> None:
        """Closes all connections."""
        ...


class Wire(BaseModel):
    """Part of a server's answer; servers add fields from version to version."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Card(Wire):
    id: str
    max_model_len: int | None = None


class _Cards(Wire):
    data: tuple[_Card, ...] = ()


class WireSpan(Wire):
    """Output tokens `[start, end)` of weights with one label."""

    version: str
    start: int
    end: int


W = TypeVar("W", bound=Wire)


class ServerClient:
    """JSON requests to one server, once each: what to try again is for the pool to decide."""

    def __init__(self, url: str, config: ServersConfig) -> None:
        self.url = url.rstrip("/")
        self._config = config
        self._stack = AsyncExitStack()
        self._requests: HttpClient | None = None
        self._probes: HttpClient | None = None

    async def open(self) -> None:
        """Makes the clients. Raises `ConfigError` for a key that is missing."""
        self._requests = await self._client(self._config.timeout_s, self._config.max_running)
        self._probes = await self._client(self._config.probe_timeout_s, self._config.max_running)

    async def close(self) -> None:
        """Closes all connections."""
        await self._stack.aclose()

    async def post(self, path: str, body: Mapping[str, JsonValue], reply: type[W]) -> W:
        """The answer to a request. Raises as `Replica.generate`."""
        assert self._requests is not None, "the client is not open"
        return self._read(path, await self._send(self._requests, "POST", path, body), reply)

    async def get(self, path: str, reply: type[W]) -> W:
        """The answer to a question about the server, within the time of a probe."""
        return self._read(path, await self.reach(path), reply)

    async def reach(self, path: str) -> "HttpResponse":
        """Raises `PolicyUnavailable` unless the server answers, within the time of a probe."""
        assert self._probes is not None, "the client is not open"
        return await self._send(self._probes, "GET", path, None)

    async def served_model(self, name: str) -> ServedModel:
        """The model called `name`, or the only one. Raises `PolicyError`."""
        cards = (await self.get("/v1/models", _Cards)).data
        found = [card for card in cards if card.id == name] if name else cards[:1]
        if not found:
            served = ", ".join(repr(card.id) for card in cards) or "nothing"
            raise PolicyError(f"{self.url} does not serve {name!r} (it serves {served})")
        return ServedModel(name=found[0].id, context_tokens=found[0].max_model_len)

    def malformed(self, problem: str) -> PolicyError:
        """The error of an answer that is not what the server's interface promises."""
        return PolicyError(f"{self.url}: {problem}")

    def spans(self, reported: Sequence[WireSpan] | None, length: int) -> VersionSpans | None:
        """Version spans of a response; None unless the server labels all of it with numbers."""
        spans: list[VersionSpan] = []
        for span in reported or ():
            version = version_number(span.version)
            if version is None:
                return None
            if span.end > span.start:
                spans.append(VersionSpan(version=version, start=span.start, end=span.end))
        if reported and not cover(spans, length):
            raise self.malformed(
                f"weight_versions do not cover {counted(length, 'token')}: {spans}"
            )
        return tuple(spans) if reported else None

    async def _client(self, timeout_s: float, max_concurrent: int) -> "HttpClient":
        from wideseek_core.http import HttpClient  # slow to import, and only clients need it

        endpoint = EndpointConfig(
            base_url=self.url,
            api_key_env=self._config.api_key_env,
            max_concurrent=max_concurrent + 1,  # the pool has a cap of its own
            max_attempts=1,
            timeout_s=timeout_s,
            deadline_s=timeout_s,
            max_bytes=_MAX_BYTES,
        )
        return await self._stack.enter_async_context(HttpClient(self.url, endpoint))

    async def _send(
        self, client: "HttpClient", method: str, path: str, body: Mapping[str, JsonValue] | None
    ) -> "HttpResponse":
        content = None if body is None else to_json(body)  # twice as fast as `json` for token ids
        headers = {"Content-Type": "application/json"} if content else None
        try:
            return await client.request(method, path, content=content, headers=headers)
        except ServiceError as error:
            raise self._policy_error(path, error) from None

    def _read(self, path: str, response: "HttpResponse", reply: type[W]) -> W:
        try:
            return reply.model_validate_json(response.content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the answer"
            problem = self.malformed(f"{path}: {where}: {first['msg']}")
        # A gateway in front of the server, or the server itself, has failed with a success.
        if first["type"] == "json_invalid" or b'"error"' in response.content:
            excerpt = one_line(response.text)[:_MAX_EXCERPT_CHARS]
            raise PolicyUnavailable(f"{self.url}: {path}: the answer is {excerpt!r}")
        raise problem

    def _policy_error(self, path: str, error: ServiceError) -> PolicyError:
        problem = f"{error} ({path})"
        if error.kind is not ServiceFault.REFUSED or error.status == _ABORTED:
            return PolicyUnavailable(problem)
        too_long = says_too_long(error.body)
        return (ContextOverflow if too_long else PolicyError)(problem)


def version_number(label: str | None) -> int | None:
    """The version that a weight label names; None for one that no training run has set."""
    return int(label) if label is not None and label.isascii() and label.isdecimal() else None
