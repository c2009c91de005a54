"""A vLLM server without vLLM: the routes and bodies of 0.23 and of 0.32 that WideSeek uses."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from wideseek_core.testing.fake_engine import FakeEngine, Running, unpickled
from wideseek_core.testing.http_server import HttpServer, Request, Response

ARRAYS = "/v1/wideseek/generate"

Route = Callable[[Request], Awaitable[Response]]


def _error(status: int, message: str, kind: str = "BadRequestError") -> Response:
    body = {"error": {"message": message, "type": kind, "param": None, "code": status}}
    return Response.of(body, status)


@dataclass(slots=True)
class FakeVllm:
    """A fake vLLM server. `version` chooses the wire format: 0.23 or from 0.29 on."""

    engine: FakeEngine = field(default_factory=FakeEngine)
    version: tuple[int, int] = (0, 32)
    scale_out: bool = True
    """Whether it was started with `--enable-scale-out`, which 0.30 and later want."""
    port: int = 0
    updates: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Bodies of `/update_weights`."""
    init_info: dict[str, Any] | None = None
    updating: bool = False
    asleep: int = -1
    """The level of sleep; -1 is awake."""
    corrupt: bool = False
    """Whether a byte of what an update brings is changed."""
    faults: dict[str, Callable[[], Awaitable[Response | None]]] = field(
        default_factory=dict[str, Callable[[], Awaitable[Response | None]]]
    )
    """What happens at a path before its route; a response stands in for the route's."""
    receive: Callable[[dict[str, Any]], Awaitable[dict[str, bytes]]] | None = None
    """Brings the tensors of an update whose body does not hold them (NCCL)."""
    arrays: bool = True
    """Whether it has the route for plain arrays, as servers that a training run has started."""
    checksum: Callable[[bytes], str] | None = None
    """What the worker extension computes of a tensor's bytes; None for a server without it."""
    server: HttpServer = field(init=False)

    def __post_init__(self) -> None:
        self.server = HttpServer(self._handle, self.port)

    @property
    def url(self) -> str:
        """Its address."""
        return self.server.url

    def serving(self) -> AbstractAsyncContextManager[HttpServer]:
        """Serves inside the block."""
        return self.server

    @property
    def _new(self) -> bool:
        return self.version >= (0, 29)

    async def _handle(self, request: Request) -> Response:
        fault = self.faults.get(request.path)
        if fault is not None and (response := await fault()) is not None:
            return response
        route = self.routes().get((request.method, request.path))
        if route is None:
            return Response.of({"detail": "Not Found"}, 404)
        return await route(request)

    def routes(self) -> dict[tuple[str, str], Route]:
        """What answers a method and a path."""
        old: dict[tuple[str, str], Route] = {
            ("GET", "/health"): self._health,
            ("GET", "/v1/models"): self._models,
            ("GET", "/version"): self._version,
            ("POST", "/inference/v1/generate"): self._generate,
            ("POST", "/v1/completions"): self._completions,
            ("POST", "/pause"): self._pause,
            ("POST", "/resume"): self._resume,
            ("GET", "/is_paused"): self._is_paused,
            ("POST", "/init_weight_transfer_engine"): self._init_transfer,
            ("POST", "/start_weight_update"): self._start_update,
            ("POST", "/update_weights"): self._update,
            ("POST", "/finish_weight_update"): self._finish_update,
            ("GET", "/get_world_size"): self._world_size,
            ("POST", "/reset_prefix_cache"): self._reset_cache,
            ("POST", "/sleep"): self._sleep,
            ("POST", "/wake_up"): self._wake,
            ("POST", "/collective_rpc"): self._rpc,
        }
        new: dict[tuple[str, str], Route] = {
            ("GET", "/weight_info"): self._weight_info,
            ("POST", "/update_weight_version"): self._set_label,
            ("POST", "/weight_checker"): self._checker,
        }
        ours: dict[tuple[str, str], Route] = {("POST", ARRAYS): self._arrays}
        return {**old, **(new if self._new else {}), **(ours if self.arrays else {})}

    async def _health(self, _request: Request) -> Response:
        return Response()

    async def _models(self, _request: Request) -> Response:
        card: dict[str, Any] = {
            "id": "policy",
            "object": "model",
            "created": 1,
            "owned_by": "vllm",
            "root": "policy",
            "parent": None,
            "max_model_len": self.engine.context_tokens,
            "permission": [],
        }
        return Response.of({"object": "list", "data": [card]})

    async def _version(self, _request: Request) -> Response:
        return Response.of({"version": f"{self.version[0]}.{self.version[1]}.0"})

    async def _generate(self, request: Request) -> Response:
        if self.version >= (0, 30) and not self.scale_out:
            return _error(403, "Pass --enable-scale-out to enable them.", "Forbidden")
        body = request.json()
        ids, parameters = body["token_ids"], body["sampling_params"]
        if refusal := self._refusal(ids, parameters):
            return refusal
        name = body.get("request_id") or f"r{len(self.engine.running)}"
        made, end = await self.engine.sample(name, ids, parameters, body.get("cache_salt") or "")
        choice: dict[str, Any] = {
            "index": 0,
            "logprobs": self._logprobs(made, parameters),
            "finish_reason": end,
            "token_ids": made.ids,
            "routed_experts": None,
        }
        answer: dict[str, Any] = {
            "request_id": name,
            "choices": [choice],
            "prompt_logprobs": None,
            "kv_transfer_params": None,
        }
        if self._new:
            choice |= {"stop_reason": None, "sampling_mask": None}
            choice["weight_versions"] = self.engine.spans(made)
            answer |= {"created": 1, "model": "policy", "usage": self._usage(ids, made)}
        return Response.of(answer)

    async def _arrays(self, request: Request) -> Response:
        body = request.json()
        ids, parameters = body["token_ids"], body["sampling_params"]
        if refusal := self._refusal(ids, parameters):
            return refusal
        made, end = await self.engine.sample(
            body["request_id"], ids, parameters, body.get("cache_salt") or ""
        )
        return Response.of(
            {
                "ids": made.ids,
                "logprobs": made.logprobs,
                "finish_reason": end,
                "weight_versions": self.engine.spans(made) if self._new else None,
                "cached_tokens": made.cached,
            }
        )

    def _logprobs(self, made: Running, parameters: dict[str, Any]) -> dict[str, Any] | None:
        if parameters.get("logprobs") is None:
            return None
        scale = self.engine.logprob_scale(parameters["temperature"])
        content: list[dict[str, Any]] = []
        for token, logprob in zip(made.ids, made.logprobs, strict=True):
            entry: dict[str, Any] = {
                "logprob": logprob if scale == 1 else self.engine.top_logprob * scale
            }
            if self._new:
                entry |= {"token_id": token, "rank": 1}
            else:
                entry |= {"token": f"token_id:{token}", "bytes": None}
            content.append({**entry, "top_logprobs": [entry] * parameters["logprobs"]})
            if parameters["logprobs"]:
                content[-1]["logprob"] = content[-1]["top_logprobs"][0]["logprob"] = (
                    self.engine.top_logprob * scale
                )
        return {"content": content}

    def _refusal(self, ids: list[int], parameters: dict[str, Any]) -> Response | None:
        if not ids or min(ids) < 0:
            return _error(400, "token_ids must not contain negative values")
        if max(ids) >= self.engine.vocab_size:
            return _error(400, f"Token id {max(ids)} is out of vocabulary")
        if len(ids) + parameters["max_tokens"] > self.engine.context_tokens:
            limit = self.engine.context_tokens
            return _error(400, f"This model's maximum context length is {limit} tokens.")
        return None

    def _usage(self, ids: list[int], made: Running) -> dict[str, Any]:
        return {
            "prompt_tokens": len(ids),
            "completion_tokens": len(made.ids),
            "total_tokens": len(ids) + len(made.ids),
            "prompt_tokens_details": {"cached_tokens": made.cached},
        }

    async def _completions(self, request: Request) -> Response:
        body = request.json()
        if refusal := self._refusal(body["prompt"], body):
            return refusal
        name = f"c{len(self.server.requests)}"
        made, end = await self.engine.sample(
            name, body["prompt"], body, body.get("cache_salt") or ""
        )
        choice = {
            "index": 0,
            "text": "",
            "logprobs": {"token_logprobs": made.logprobs, "tokens": [], "text_offset": []},
            "finish_reason": end,
            "stop_reason": None,
            "token_ids": made.ids,
        }
        usage = self._usage(body["prompt"], made)
        return Response.of(
            {"id": name, "object": "text_completion", "choices": [choice], "usage": usage}
        )

    async def _pause(self, request: Request) -> Response:
        mode = request.option("mode", "abort")
        if mode not in ("abort", "wait", "keep"):
            return Response.of({"error": f"bad mode {mode}"}, 400)
        self.engine.pause(abort=mode == "abort")
        return Response.of({"status": "paused"})

    async def _resume(self, _request: Request) -> Response:
        self.engine.resume()
        return Response.of({"status": "resumed"})

    async def _is_paused(self, _request: Request) -> Response:
        return Response.of({"is_paused": self.engine.paused})

    async def _init_transfer(self, request: Request) -> Response:
        self.init_info = request.json()["init_info"]
        return Response.of({"message": "Weight transfer initialized"})

    async def _start_update(self, request: Request) -> Response:
        if not self._new and not request.body:
            return Response.of({"detail": "Invalid JSON format"}, 400)
        self.updating = True
        return Response.of({"message": "Weight update started"})

    async def _update(self, request: Request) -> Response:
        info = request.json().get("update_info")
        if info is None or not self.updating:
            return Response.of({"detail": "Missing 'update_info' in request body"}, 400)
        self.updates.append(info)
        if info.get("ipc_handles_pickled"):
            handles = unpickled(info["ipc_handles_pickled"])
            tensors = {
                name: next(iter(handle.values()))
                for name, handle in zip(info["names"], handles, strict=True)
            }
        else:
            assert self.receive is not None, "no tensors and no way to get them"
            tensors = await self.receive(info)
        if self.corrupt:
            name = next(iter(tensors))
            tensors[name] = bytes([tensors[name][0] ^ 1]) + tensors[name][1:]
        self.engine.load(tensors)
        return Response.of({"message": "Weights updated"})

    async def _finish_update(self, request: Request) -> Response:
        self.updating = False
        label = request.json().get("weight_version")
        if self._new and label is not None:
            self.engine.label = label
        return Response.of({"message": "Weight update finished"})

    async def _world_size(self, _request: Request) -> Response:
        return Response.of({"world_size": 1})

    async def _reset_cache(self, _request: Request) -> Response:
        done = self.engine.flush()
        return Response.of({"success": done}) if self._new else Response()

    async def _sleep(self, request: Request) -> Response:
        self.asleep = int(request.option("level", "1"))
        if self.asleep == 2:
            self.engine.weights = {}
        return Response()

    async def _wake(self, request: Request) -> Response:
        if not request.query.get("tags") or "kv_cache" in request.query["tags"]:
            self.asleep = -1
        return Response()

    async def _weight_info(self, _request: Request) -> Response:
        return Response.of({"weight_version": self.engine.label})

    async def _set_label(self, request: Request) -> Response:
        self.engine.label = request.json()["new_version"]
        return Response.of({"success": True, "new_version": self.engine.label})

    async def _checker(self, request: Request) -> Response:
        if request.json()["action"] != "checksum":
            return Response.of({"detail": "not faked"}, 400)
        return Response.of({"checksums": self.engine.checksums()})

    async def _rpc(self, request: Request) -> Response:
        """The worker extension's checksums, where a test says how they are computed."""
        if request.json()["method"] != "wideseek_checksums" or self.checksum is None:
            return _error(500, "no such method", "InternalServerError")
        return Response.of(
            {"results": [{n: self.checksum(t) for n, t in self.engine.weights.items()}]}
        )


async def _serve(host: str, port: int, version: tuple[int, int]) -> None:
    fake = FakeVllm(port=port, version=version)
    fake.server.host = host
    async with fake.serving():
        await asyncio.Event().wait()


def main() -> None:
    """Serves until it is stopped; options of the real server are accepted and ignored."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    known, _others = parser.parse_known_args()
    asyncio.run(_serve(known.host, known.port, (0, 32)))


if __name__ == "__main__":
    main()
