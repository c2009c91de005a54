"""SGLang servers (0.5.17 to 0.5.21): token ids in, token ids and log-probabilities out.

Returned log-probabilities are after temperature unless the server runs with
`SGLANG_RETURN_ORIGINAL_LOGPROB=1`. A server without `--enable-deterministic-inference` draws its
own random numbers and ignores the seeds of requests.
"""

from collections.abc import Sequence
from uuid import uuid4

from pydantic import JsonValue

from wideseek_agents.engines.config import SglangServersConfig
from wideseek_agents.engines.replica import (
    End,
    Sampled,
    ServedModel,
    ServerClient,
    Wire,
    WireSpan,
    version_number,
)
from wideseek_core import PolicyUnavailable, Sampling

_ENDS = {"stop": End.STOP, "length": End.LENGTH, "abort": End.ABORT}


class _Finish(Wire):
    type: str
    message: str = ""


_Logprob = tuple[float | None, int, str | None]


class _Meta(Wire):
    finish_reason: _Finish | None = None
    output_token_logprobs: tuple[_Logprob, ...] = ()
    output_top_logprobs: tuple[tuple[_Logprob, ...] | None, ...] = ()
    cached_tokens: int | None = None
    weight_versions: tuple[WireSpan, ...] | None = None


class _Generated(Wire):
    output_ids: tuple[int, ...]
    meta_info: _Meta


class _ModelInfo(Wire):
    weight_version: str | None = None


class SglangReplica:
    """One SGLang server; a `Replica`."""

    def __init__(self, url: str, config: SglangServersConfig) -> None:
        self._client = ServerClient(url, config)
        self._config = config

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
        """Samples once; see `Replica.generate`.

        `extra_key` parts the prefix cache: `cache_salt` is ignored by 0.5.17 without a word.
        """
        body: dict[str, JsonValue] = {
            "rid": uuid4().hex,
            "input_ids": list(prompt_ids),
            "sampling_params": _parameters(sampling),
            "return_logprob": True,
            "logprob_start_len": -1,
            "extra_key": cache_key,
        }
        answer = await self._client.post("/generate", body, _Generated)
        meta = answer.meta_info
        finish = meta.finish_reason
        end = _ENDS.get(finish.type) if finish is not None else None
        if end is None:
            raise PolicyUnavailable(f"{self.url}: the request ended with {finish}")
        ids = tuple(token for _, token, _ in meta.output_token_logprobs)
        if ids != answer.output_ids:
            raise self._client.malformed("output_ids and output_token_logprobs differ")
        return Sampled(
            ids=ids,
            logprobs=tuple(
                float("nan") if logprob is None else logprob
                for logprob, _, _ in meta.output_token_logprobs
            ),
            end=end,
            # A lone `weight_version` is no substitute: it is the label at the request's end, given
            # also to tokens that older weights sampled.
            versions=self._client.spans(meta.weight_versions, len(ids)),
            cached_tokens=meta.cached_tokens,
        )

    async def model(self) -> ServedModel:
        """The model it serves."""
        return await self._client.served_model(self._config.model)

    async def version(self) -> int | None:
        """The label of its weights."""
        return version_number((await self._client.get("/model_info", _ModelInfo)).weight_version)

    async def probe(self) -> None:
        """Whether it is alive.

        Not by `/health`, which generates a token: a paused server would fail it after 20 seconds.
        """
        await self._client.reach("/model_info")

    async def top_logprob(self, prompt_ids: Sequence[int], temperature: float) -> float:
        """The log-probability that it reports for the likeliest next token."""
        body: dict[str, JsonValue] = {
            "input_ids": list(prompt_ids),
            "sampling_params": {
                "max_new_tokens": 1,
                "temperature": temperature,
                "sampling_seed": 1,
            },
            "return_logprob": True,
            "logprob_start_len": -1,
            "top_logprobs_num": 1,
        }
        meta = (await self._client.post("/generate", body, _Generated)).meta_info
        top = meta.output_top_logprobs[0] if meta.output_top_logprobs else None
        values = [logprob for logprob, _, _ in top or () if logprob is not None]
        if not values:
            raise self._client.malformed("no log-probabilities in the answer")
        return max(values)

    async def close(self) -> None:
        """Closes all connections."""
        await self._client.close()


def _parameters(sampling: Sampling) -> dict[str, JsonValue]:
    parameters: dict[str, JsonValue] = {
        "max_new_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "skip_special_tokens": False,
    }
    if sampling.seed is not None:
        parameters["sampling_seed"] = sampling.seed
    if sampling.stop_ids:
        parameters["stop_token_ids"] = list(sampling.stop_ids)
    return parameters
