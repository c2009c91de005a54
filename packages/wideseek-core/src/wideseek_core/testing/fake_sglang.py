"""An SGLang server without SGLang: the routes and bodies of 0.5.17 and 0.5.21 that WideSeek uses.

It crashes where the real one does: on a token outside the vocabulary, and on a flush of the cache
in a weight update while requests are held.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from wideseek_core.testing.fake_engine import FakeEngine, Running, unpickled
from wideseek_core.testing.http_server import HttpServer, Request, Response

Route = Callable[[Request], Awaitable[Response]]
_SESSION_ROUTES = ("/begin_weight_update", "/end_weight_update")
HEALTH_WAIT_S = 20.0
"""How long `/health` of a paused server takes before it says 503."""


@dataclass(slots=True)
class FakeSglang:
    """A fake SGLang server. `version` chooses the wire format."""

    engine: FakeEngine = field(default_factory=FakeEngine)
    version: tuple[int, int, int] = (0, 5, 21)
    deterministic: bool = True
    """Whether it was started with `--enable-deterministic-inference`."""
    health_generates: bool = False
    port: int = 0
    updates: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Bodies of the update routes."""
    group: dict[str, Any] | None = None
    session: bool = False
    """Whether an update has begun, which from 0.5.21 on has to be said."""
    released: set[str] = field(default_factory=set[str])
    corrupt: bool = False
    """Whether a byte of what an update brings is changed."""
    crashed: str = ""
    """Why the server has ended."""
    faults: dict[str, Callable[[], Awaitable[Response | None]]] = field(
        default_factory=dict[str, Callable[[], Awaitable[Response | None]]]
    )
    """What happens at a path before its route; a response stands in for the route's."""
    receive: Callable[[dict[str, Any]], Awaitable[dict[str, bytes]]] | None = None
    """Brings the tensors of an update whose body does not hold them."""
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

    async def _crash(self, why: str) -> Response:
        self.crashed = why
        await self.server.kill()
        raise ConnectionAbortedError(why)

    async def _handle(self, request: Request) -> Response:
        fault = self.faults.get(request.path)
        if fault is not None and (response := await fault()) is not None:
            return response
        route = self.routes().get((request.method, request.path))
        if route is None or (request.path in _SESSION_ROUTES and not self._has_sessions):
            return Response.of({"detail": "Not Found"}, 404)
        return await route(request)

    def routes(self) -> dict[tuple[str, str], Route]:
        """What answers a method and a path."""
        return {
            ("GET", "/health"): self._health,
            ("GET", "/model_info"): self._model_info,
            ("GET", "/server_info"): self._server_info,
            ("GET", "/v1/models"): self._models,
            ("POST", "/generate"): self._generate,
            ("POST", "/pause_generation"): self._pause,
            ("POST", "/continue_generation"): self._continue,
            ("POST", "/flush_cache"): self._flush,
            ("POST", "/update_weights_from_tensor"): self._update_tensor,
            ("POST", "/begin_weight_update"): self._begin_update,
            ("POST", "/end_weight_update"): self._end_update,
            ("POST", "/init_weights_update_group"): self._init_group,
            ("POST", "/destroy_weights_update_group"): self._destroy_group,
            ("POST", "/update_weights_from_distributed"): self._update_distributed,
            ("POST", "/update_weight_version"): self._set_label,
            ("POST", "/weights_checker"): self._checker,
            ("POST", "/release_memory_occupation"): self._release,
            ("POST", "/resume_memory_occupation"): self._resume_memory,
            ("POST", "/abort_request"): self._abort,
        }

    async def _health(self, _request: Request) -> Response:
        if self.health_generates and self.engine.paused:
            await asyncio.sleep(HEALTH_WAIT_S)
            return Response(status=503)
        return Response()

    async def _model_info(self, _request: Request) -> Response:
        info = {
            "model_path": "policy",
            "tokenizer_path": "policy",
            "is_generation": True,
            "weight_version": self.engine.label,
            "model_type": "qwen3",
        }
        return Response.of(info)

    async def _server_info(self, _request: Request) -> Response:
        return Response.of({"version": ".".join(map(str, self.version))})

    async def _models(self, _request: Request) -> Response:
        card = {
            "id": "policy",
            "object": "model",
            "created": 1,
            "owned_by": "sglang",
            "root": "policy",
            "max_model_len": self.engine.context_tokens,
        }
        return Response.of({"object": "list", "data": [card]})

    async def _generate(self, request: Request) -> Response:
        body = request.json()
        ids, given = body["input_ids"], body["sampling_params"]
        if max(ids) >= self.engine.vocab_size or min(ids) < 0:
            return await self._crash("device-side assert: token outside the vocabulary")
        if len(ids) + given["max_new_tokens"] > self.engine.context_tokens:
            limit = self.engine.context_tokens
            message = f"The input exceeds the model's maximum context length of {limit} tokens."
            return Response.of({"error": {"message": message}}, 400)
        seed = given.get("sampling_seed")
        parameters = {
            "max_tokens": given["max_new_tokens"],
            "seed": (42 if seed is None else seed) if self.deterministic else None,
            "stop_token_ids": given.get("stop_token_ids"),
        }
        salt = body.get("cache_salt") or "" if self.version >= (0, 5, 21) else ""
        key = (body.get("extra_key") or "") + salt
        name = body.get("rid") or f"r{len(self.server.requests)}"
        made, end = await self.engine.sample(name, ids, parameters, key)
        if end == "abort" and not made.ids:
            return Response.of({"error": {"message": f"Request {name} was aborted"}}, 499)
        return Response.of(self._answer(name, ids, made, end, body))

    def _answer(
        self, name: str, ids: list[int], made: Running, end: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        finish: dict[str, Any] = {"type": end}
        if end == "length":
            finish["length"] = len(made.ids)
        elif end == "stop":
            finish["matched"] = made.ids[-1]
        else:
            finish |= {"message": "Aborted", "status_code": None, "err_type": None}
        meta: dict[str, Any] = {
            "id": name,
            "finish_reason": finish,
            "prompt_tokens": len(ids),
            "weight_version": self.engine.label,
            "num_retractions": 0,
            "completion_tokens": len(made.ids),
            "cached_tokens": made.cached,
        }
        if body.get("return_logprob"):
            pairs = zip(made.logprobs, made.ids, strict=True)
            meta["output_token_logprobs"] = [[logprob, token, None] for logprob, token in pairs]
        if body.get("top_logprobs_num"):
            scale = self.engine.logprob_scale(body["sampling_params"]["temperature"])
            meta["output_top_logprobs"] = [
                [[self.engine.top_logprob * scale, token, None]] for token in made.ids
            ]
        if self.version >= (0, 5, 21):
            meta["weight_versions"] = self.engine.spans(made)
        return {"text": "", "output_ids": made.ids, "meta_info": meta}

    async def _pause(self, request: Request) -> Response:
        self.engine.pause(abort=request.json().get("mode", "abort") == "abort")
        return Response.of({"message": "Generation paused successfully.", "status": "ok"})

    async def _continue(self, _request: Request) -> Response:
        self.engine.resume()
        return Response.of({"message": "Generation continued successfully.", "status": "ok"})

    async def _flush(self, _request: Request) -> Response:
        if self.engine.flush():
            return Response(body=b"Cache flushed.\n", content_type="text/plain")
        return Response(status=400, body=b"Flush cache failed.\n", content_type="text/plain")

    @property
    def _has_sessions(self) -> bool:
        return self.version >= (0, 5, 21)

    async def _begin_update(self, _request: Request) -> Response:
        return self._session_changed(True, "a weight-update session is already open")

    async def _end_update(self, _request: Request) -> Response:
        return self._session_changed(False, "no weight-update session is open")

    def _session_changed(self, wanted: bool, problem: str) -> Response:
        if self.session is wanted:
            return Response.of({"success": False, "message": problem}, 400)
        self.session = wanted
        return Response.of({"success": True, "message": "Success"})

    def _without_session(self) -> Response | None:
        """The refusal of tensors that come outside of a session."""
        if self.session or not self._has_sessions:
            return None
        message = "must run between begin_weight_update() and end_weight_update()"
        return Response.of({"success": False, "message": message}, 400)

    async def _updated(self, body: dict[str, Any], tensors: dict[str, bytes]) -> Response:
        self.updates.append(body)
        if self.corrupt:
            name = next(iter(tensors))
            tensors[name] = bytes([tensors[name][0] ^ 1]) + tensors[name][1:]
        self.engine.load(tensors)
        if body.get("flush_cache", True) and not self.engine.flush():
            return await self._crash("Cache flush failed after updating weights")
        message = "Succeeded to update parameter online."
        if body.get("weight_version") is not None:
            self.engine.label = body["weight_version"]
            message += f" Weight version updated to {self.engine.label}."
        return Response.of({"success": True, "message": message})

    async def _update_tensor(self, request: Request) -> Response:
        body = request.json()
        if (refusal := self._without_session()) is not None:
            return refusal
        content = unpickled(body["serialized_named_tensors"][0])
        flat: Any = content["flattened_tensor"]
        if hasattr(flat, "numpy"):  # a tensor of the CPU from another process
            flat = flat.numpy().tobytes()
        tensors = {m.name: flat[m.start_idx : m.end_idx] for m in content["metadata"]}
        return await self._updated(body, tensors)

    async def _init_group(self, request: Request) -> Response:
        self.group = request.json()
        return Response.of({"success": True, "message": "Succeeded to initialize the group."})

    async def _destroy_group(self, _request: Request) -> Response:
        self.group = None
        return Response.of({"success": True, "message": "Succeeded to destroy the group."})

    async def _update_distributed(self, request: Request) -> Response:
        body = request.json()
        if self.group is None:
            return Response.of({"success": False, "message": "Group is not initialized."}, 400)
        if (refusal := self._without_session()) is not None:
            return refusal
        assert self.receive is not None, "no way to get tensors"
        return await self._updated(body, await self.receive(body))

    async def _set_label(self, request: Request) -> Response:
        self.engine.label = request.json()["new_version"]
        message = f"Weight version updated to {self.engine.label}"
        body = {"success": True, "message": message, "new_version": self.engine.label}
        return Response.of(body)

    async def _checker(self, request: Request) -> Response:
        body: dict[str, Any] = {"success": True, "message": "Success."}
        if request.json().get("action", "checksum") == "checksum":
            body["ranks"] = [{"checksums": self.engine.checksums(), "parallelism_info": {}}]
        return Response.of(body)

    async def _release(self, request: Request) -> Response:
        tags = request.json().get("tags") or ["kv_cache", "weights", "cuda_graph"]
        self.released |= set(tags)
        if "weights" in tags:
            self.engine.weights = {}
        return Response(content_type="text/plain")

    async def _resume_memory(self, request: Request) -> Response:
        tags = request.json().get("tags") or ["kv_cache", "weights", "cuda_graph"]
        self.released -= set(tags)
        return Response(content_type="text/plain")

    async def _abort(self, request: Request) -> Response:
        body = request.json()
        self.engine.abort(None if body.get("abort_all") else body.get("rid"))
        return Response(content_type="text/plain")


async def _serve(host: str, port: int) -> None:
    fake = FakeSglang(port=port)
    fake.server.host = host
    async with fake.serving():
        await asyncio.Event().wait()


def main() -> None:
    """Serves until it is stopped; options of the real server are accepted and ignored."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    known, _others = parser.parse_known_args()
    asyncio.run(_serve(known.host, known.port))


if __name__ == "__main__":
    main()
