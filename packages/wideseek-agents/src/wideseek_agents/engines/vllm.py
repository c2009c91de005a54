"""vLLM servers (0.23 to 0.32): token ids in, token ids and log-probabilities out.

The server must report processed log-probabilities (`--logprobs-mode processed_logprobs`): its
default is those before temperature. From 0.30 on `/inference/v1/generate` wants
`--enable-scale-out`.
"""

import math
from collections.abc import Sequence
from typing import TypeVar
from uuid import uuid4

from pydantic import JsonValue

from wideseek_agents.engines.config import VllmServersConfig
from wideseek_agents.engines.replica import (
    End,
    Sampled,
    ServedModel,
    ServerClient,
    Wire,
    WireSpan,
    version_number,
)
from wideseek_core import PolicyError, PolicyUnavailable, Sampling, VersionSpans

ARRAYS = "/v1/wideseek/generate"
"""A route that servers have which a training run has started."""
_FINAL_ONLY = 2
"""Makes one output of a request, at its end, where 0.23 would make another with every token."""
_ENDS = {
    "stop": End.STOP,
    "length": End.LENGTH,
    "repetition": End.LENGTH,
    "abort": End.ABORT,
}


class _Entry(Wire):
    logprob: float | None
    """JSON has no NaN: a server that computed one may send null."""


class _Logprobs(Wire):
    content: tuple[_Entry, ...] = ()


class _Choice(Wire):
    token_ids: tuple[int, ...]
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None
    weight_versions: tuple[WireSpan, ...] | None = None


class _Generated(Wire):
    choices: tuple[_Choice, ...]


class _TopPosition(_Entry):
    top_logprobs: tuple[_Entry, ...] = ()


class _TopLogprobs(Wire):
    content: tuple[_TopPosition, ...] = ()


class _TopChoice(Wire):
    logprobs: _TopLogprobs | None = None


class _TopGenerated(Wire):
    """Like `_Generated`, with the likeliest tokens, whose reading would only cost time there."""

    choices: tuple[_TopChoice, ...]


class _Arrays(Wire):
    ids: tuple[int, ...]
    logprobs: tuple[float | None, ...]
    finish_reason: str | None = None
    weight_versions: tuple[WireSpan, ...] | None = None
    cached_tokens: int | None = None


class _FlatLogprobs(Wire):
    token_logprobs: tuple[float | None, ...] = ()


class _Completion(Wire):
    token_ids: tuple[int, ...]
    logprobs: _FlatLogprobs | None = None
    finish_reason: str | None = None


class _CachedTokens(Wire):
    cached_tokens: int | None = None


class _Usage(Wire):
    prompt_tokens_details: _CachedTokens | None = None


class _Completions(Wire):
    choices: tuple[_Completion, ...]
    usage: _Usage | None = None


class _WeightInfo(Wire):
    weight_version: str | None = None


C = TypeVar("C", bound=Wire)


class VllmReplica:
    """One vLLM server; a `Replica`."""

    def __init__(self, url: str, config: VllmServersConfig) -> None:
        self._client = ServerClient(url, config)
        self._config = config
        self._name = config.model

    @property
    def url(self) -> str:
        """Its address."""
        return self._client.url

    async def open(self) -> None:
        """Gets ready to connect. Raises `ConfigError` for a key that is missing."""
        await self._client.open()

    async def generate(
        self, prompt_ids: Sequence[int], *, sampling: Sampling, cache_key: str
    ) -> Sampled:
        """Samples once; see `Replica.generate`."""
        if self._config.route == "completions":
            return await self._complete(prompt_ids, sampling, cache_key)
        body: dict[str, JsonValue] = {
            "request_id": uuid4().hex,
            "token_ids": list(prompt_ids),
            "sampling_params": {
                **_parameters(sampling),
                "detokenize": False,
                "output_kind": _FINAL_ONLY,
            },
            "cache_salt": cache_key,
        }
        if self._name:
            body["model"] = self._name
        if self._config.route == "arrays":
            return self._from_arrays(await self._client.post(ARRAYS, body, _Arrays))
        answer = await self._client.post("/inference/v1/generate", body, _Generated)
        choice = self._first(answer.choices)
        content = choice.logprobs.content if choice.logprobs is not None else ()
        return self._sampled(
            choice.token_ids,
            [position.logprob for position in content],
            choice.finish_reason,
            self._client.spans(choice.weight_versions, len(choice.token_ids)),
        )

    async def model(self) -> ServedModel:
        """The model it serves, whose name later requests carry."""
        served = await self._client.served_model(self._config.model)
        self._name = served.name
        return served

    async def version(self) -> int | None:
        """The label of its weights; servers before 0.29 have none."""
        try:
            info = await self._client.get("/weight_info", _WeightInfo)
        except PolicyUnavailable:
            raise
        except PolicyError:  # an older server, or one without its control routes
            return None
        return version_number(info.weight_version)

    async def probe(self) -> None:
        """Whether it is alive; a paused server says so, too."""
        await self._client.reach("/health")

    async def top_logprob(self, prompt_ids: Sequence[int], temperature: float) -> float:
        """The log-probability that it reports for the likeliest next token."""
        parameters: dict[str, JsonValue] = {
            "max_tokens": 1,
            "temperature": temperature,
            "logprobs": 1,
            "seed": 1,
            "detokenize": False,
        }
        body: dict[str, JsonValue] = {"token_ids": list(prompt_ids), "sampling_params": parameters}
        answer = await self._client.post("/inference/v1/generate", body, _TopGenerated)
        logprobs = self._first(answer.choices).logprobs
        if logprobs is None or not logprobs.content:
            raise self._client.malformed("no log-probabilities in the answer")
        position = logprobs.content[0]
        entries = (position, *position.top_logprobs)
        known = [entry.logprob for entry in entries if entry.logprob is not None]
        if not known:
            raise self._client.malformed("no log-probabilities in the answer")
        return max(known)

    async def close(self) -> None:
        """Closes all connections."""
        await self._client.close()

    async def _complete(
        self, prompt_ids: Sequence[int], sampling: Sampling, cache_key: str
    ) -> Sampled:
        body: dict[str, JsonValue] = {
            "model": self._name or (await self.model()).name,
            "prompt": list(prompt_ids),
            "cache_salt": cache_key,
            "return_token_ids": True,
            "skip_special_tokens": False,
            **_parameters(sampling),
        }
        answer = await self._client.post("/v1/completions", body, _Completions)
        choice = self._first(answer.choices)
        logprobs = choice.logprobs.token_logprobs if choice.logprobs is not None else ()
        details = answer.usage.prompt_tokens_details if answer.usage is not None else None
        return self._sampled(
            choice.token_ids,
            logprobs,
            choice.finish_reason,
            None,
            details.cached_tokens if details is not None else None,
        )

    def _first(self, choices: Sequence[C]) -> C:
        if not choices:
            raise self._client.malformed("no choices in the answer")
        return choices[0]

    def _from_arrays(self, answer: _Arrays) -> Sampled:
        return self._sampled(
            answer.ids,
            answer.logprobs,
            answer.finish_reason,
            self._client.spans(answer.weight_versions, len(answer.ids)),
            answer.cached_tokens,
        )

    def _sampled(
        self,
        ids: tuple[int, ...],
        logprobs: Sequence[float | None],
        finish: str | None,
        versions: VersionSpans | None,
        cached: int | None = None,
    ) -> Sampled:
        end = _ENDS.get(finish or "")
        if end is None:
            raise PolicyUnavailable(f"{self.url}: the request ended with {finish!r}")
        if len(ids) != len(logprobs):
            raise self._client.malformed(
                f"token ids: {len(ids)}, log-probabilities: {len(logprobs)}"
            )
        known = tuple(math.nan if logprob is None else logprob for logprob in logprobs)
        return Sampled(ids=ids, logprobs=known, end=end, versions=versions, cached_tokens=cached)


def _parameters(sampling: Sampling) -> dict[str, JsonValue]:
    parameters: dict[str, JsonValue] = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "logprobs": 0,
    }
    if sampling.seed is not None:
        parameters["seed"] = sampling.seed
    if sampling.stop_ids:
        parameters["stop_token_ids"] = list(sampling.stop_ids)
    return parameters
