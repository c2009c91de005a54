"""Outputs at the end, over a scheduler and an engine process with the interfaces of vLLM 0.23."""

import queue
import sys
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from wideseek_rl.engines.control import vllm_scheduler
from wideseek_rl.engines.control.vllm_scheduler import (
    outputs_at_end,
    send_tokens_before_ends,
    wanted_at_end,
)


class OutputKind(Enum):
    CUMULATIVE = 0
    FINAL_ONLY = 2


@dataclass
class Parameters:
    output_kind: OutputKind = OutputKind.FINAL_ONLY
    detokenize: bool = False
    n: int = 1
    logprobs: int | None = 0
    prompt_logprobs: int | None = None
    logprob_token_ids: list[int] | None = None


@dataclass
class Request:
    request_id: str
    sampling_params: Parameters | None = field(default_factory=Parameters)


class Lists(NamedTuple):
    logprob_token_ids: Any
    logprobs: Any
    sampled_token_ranks: Any
    cu_num_generated_tokens: list[int] | None = None


@dataclass
class Output:
    request_id: str
    new_token_ids: list[int]
    new_logprobs: Lists | None = None
    finish_reason: str | None = None
    stop_reason: int | None = None
    events: list[str] | None = None
    prefill_stats: str | None = None


@dataclass
class Outputs:
    outputs: list[Output] = field(default_factory=list[Output])
    scheduler_stats: str | None = None


class Base:
    """A scheduler that makes what a test says."""

    def __init__(self, *requests: Request) -> None:
        self.requests = {one.request_id: one for one in requests}

    def update_from_output(self, outputs: Sequence[Output]) -> dict[int, Outputs]:
        for one in outputs:
            if one.finish_reason is not None:
                self.requests.pop(one.request_id, None)
        return {0: Outputs(list(outputs), "stats")}

    def finish_requests(self, ids: Sequence[str] | None, _status: str) -> list[tuple[str, int]]:
        ended = [id for id in (self.requests if ids is None else ids) if id in self.requests]
        for id in ended:
            del self.requests[id]
        return [(id, 0) for id in ended]


class Engine:
    """The part of vLLM's engine process that ends requests."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.output_queue: queue.Queue[tuple[int, Outputs]] = queue.Queue()

    def _send_finish_outputs_to_client(
        self, req_ids: list[str], client_index: int, finish_reason: str
    ) -> None:
        ends = [Output(id, [], finish_reason=finish_reason) for id in req_ids]
        self.output_queue.put_nowait((client_index, Outputs(ends)))

    def end(self, ids: list[str], client: int) -> None:
        """Tells a client that its requests were broken off."""
        self._send_finish_outputs_to_client(ids, client, "abort")

    def pause(self) -> list[Output]:
        """Breaks all requests off; what a client is sent."""
        ended = self.scheduler.finish_requests(None, "aborted")
        self._send_finish_outputs_to_client([id for id, _ in ended], 0, "abort")
        return [one for _, outputs in self.output_queue.queue for one in outputs.outputs]


def token(id: str, value: int, *, columns: int = 1, **others: Any) -> Output:
    row = np.arange(columns)
    lists = Lists(
        (value + row)[None].astype(np.int32),
        (-value / 8 - row)[None].astype(np.float32),
        np.array([value % 3], np.int32),
    )
    return Output(id, [value], lists, **others)


def open_scheduler(*requests: Request) -> Any:
    return outputs_at_end(Base)(*requests)


def handed(scheduler: Any, *outputs: Output) -> list[Output]:
    step = scheduler.update_from_output(outputs)[0]
    assert step.scheduler_stats == "stats"
    return step.outputs


def test_a_request_that_wants_its_tokens_at_the_end_gets_all_of_them_then() -> None:
    scheduler = open_scheduler(Request("a"), Request("b"))
    first = token("a", 5, events=["queued"], prefill_stats="cached")
    assert handed(scheduler, first, token("b", 40)) == []
    assert handed(scheduler, token("a", 6, columns=3), token("b", 41)) == []
    (whole,) = handed(
        scheduler, token("a", 7, events=["preempted"], finish_reason="stop", stop_reason=7)
    )
    assert (whole.request_id, whole.new_token_ids) == ("a", [5, 6, 7])
    assert (whole.finish_reason, whole.stop_reason) == ("stop", 7)
    assert (whole.events, whole.prefill_stats) == (["queued", "preempted"], "cached")
    assert whole.new_logprobs is not None
    ids, logprobs, ranks, counts = whole.new_logprobs
    assert ids.tolist() == [[5], [6], [7]]
    assert ids.dtype == np.int32
    assert logprobs.tolist() == [[-5 / 8], [-6 / 8], [-7 / 8]]
    assert logprobs.dtype == np.float32
    assert ranks.tolist() == [2, 0, 1]
    assert counts is None
    (other,) = handed(scheduler, token("b", 42, finish_reason="length"))
    assert other.new_token_ids == [40, 41, 42]


def test_what_is_kept_does_not_keep_the_arrays_of_whole_batches() -> None:
    scheduler = open_scheduler(Request("a"))
    first = token("a", 5)
    assert first.new_logprobs is not None
    batch = [
        weakref.ref(first.new_logprobs.logprobs),
        weakref.ref(first.new_logprobs.sampled_token_ranks),
    ]
    handed(scheduler, first)
    assert [array() for array in batch] == [None, None]
    (whole,) = handed(scheduler, token("a", 6, finish_reason="stop"))
    assert whole.new_logprobs is not None
    assert whole.new_logprobs.logprobs.tolist() == [[-5 / 8], [-6 / 8]]


def test_one_token_alone_and_no_log_probabilities() -> None:
    scheduler = open_scheduler(Request("a"), Request("b", Parameters(logprobs=None)))
    only = token("a", 5, finish_reason="stop", prefill_stats="cached")
    assert handed(scheduler, only) == [only]
    assert handed(scheduler, Output("b", [1])) == []
    (whole,) = handed(scheduler, Output("b", [2], finish_reason="stop"))
    assert (whole.new_token_ids, whole.new_logprobs, whole.events) == ([1, 2], None, None)


def test_an_end_without_a_token() -> None:
    scheduler = open_scheduler(Request("a"))
    handed(scheduler, token("a", 5))
    (whole,) = handed(scheduler, Output("a", [], finish_reason="error"))
    assert (whole.new_token_ids, whole.finish_reason) == ([5], "error")
    assert whole.new_logprobs is not None
    assert whole.new_logprobs.logprobs.tolist() == [[-5 / 8]]


@pytest.mark.parametrize(
    "parameters",
    [
        None,
        Parameters(output_kind=OutputKind.CUMULATIVE),
        Parameters(detokenize=True),
        Parameters(n=2),
        Parameters(logprobs=1),
        Parameters(prompt_logprobs=0),
        Parameters(logprobs=None, logprob_token_ids=[5, 9]),
    ],
)
def test_other_requests_get_every_token_at_once(parameters: Parameters | None) -> None:
    assert not wanted_at_end(parameters)
    scheduler = open_scheduler(Request("a", parameters), Request("b"))
    assert [one.request_id for one in handed(scheduler, token("a", 5), token("b", 6))] == ["a"]
    (last,) = handed(scheduler, token("a", 7, finish_reason="stop"))
    assert last.new_token_ids == [7]


def test_requests_that_are_broken_off_bring_what_they_have_before_they_end() -> None:
    engine_class = type("Patched", (Engine,), {})
    send_tokens_before_ends(engine_class, Outputs)
    scheduler = open_scheduler(
        Request("a"), Request("new"), Request("b", Parameters(detokenize=True))
    )
    handed(scheduler, token("a", 5, prefill_stats="cached"), token("b", 8))
    handed(scheduler, token("a", 6))
    sent = engine_class(scheduler).pause()
    assert [(one.request_id, one.new_token_ids, one.finish_reason) for one in sent] == [
        ("a", [5, 6], None),
        ("a", [], "abort"),
        ("new", [], "abort"),
        ("b", [], "abort"),
    ]
    assert sent[0].prefill_stats == "cached"
    assert sent[0].new_logprobs is not None
    assert sent[0].new_logprobs.logprobs.tolist() == [[-5 / 8], [-6 / 8]]


def test_each_client_is_sent_what_its_own_requests_have() -> None:
    engine_class = type("Patched", (Engine,), {})
    send_tokens_before_ends(engine_class, Outputs)
    scheduler = open_scheduler(Request("a"), Request("b"), Request("new"))
    engine = engine_class(scheduler)
    handed(scheduler, token("a", 5), token("b", 6))
    scheduler.finish_requests(None, "aborted")
    for client, ids in ((2, ["b"]), (1, ["new"]), (0, ["a"])):
        engine.end(ids, client)
    assert [
        (client, [(one.request_id, one.new_token_ids) for one in sent.outputs])
        for client, sent in engine.output_queue.queue
    ] == [
        (2, [("b", [6])]),
        (2, [("b", [])]),
        (1, [("new", [])]),
        (0, [("a", [5])]),
        (0, [("a", [])]),
    ]


def test_outputs_of_requests_that_the_scheduler_no_longer_has_are_passed_on() -> None:
    scheduler = open_scheduler()
    assert [one.new_token_ids for one in handed(scheduler, token("a", 5))] == [[5]]


def test_nothing_is_kept_of_requests_that_have_left() -> None:
    scheduler = open_scheduler(Request("a"), Request("b"), Request("c"))
    handed(scheduler, token("a", 5), token("b", 6))
    scheduler.finish_requests(["a"], "aborted")  # whoever asked has left: nobody is sent anything
    scheduler.finish_requests(["b", "c"], "aborted")
    assert scheduler.keeper.take(["a"]) == []
    assert [one.request_id for one in scheduler.keeper.take(["b", "c", "never"])] == ["b"]
    assert scheduler.keeper.take(["b"]) == []


@pytest.mark.parametrize("finished", [False, True], ids=["broken off", "finished"])
def test_a_request_with_the_id_of_one_that_has_ended_starts_anew(finished: bool) -> None:
    scheduler = open_scheduler(Request("a"))
    handed(scheduler, token("a", 5))
    if finished:
        handed(scheduler, token("a", 6, finish_reason="stop"))
    else:
        scheduler.finish_requests(["a"], "aborted")
    scheduler.requests["a"] = Request("a")
    handed(scheduler, token("a", 7))
    (whole,) = handed(scheduler, token("a", 8, finish_reason="stop"))
    assert whole.new_token_ids == [7, 8]


def test_a_request_that_the_scheduler_itself_gives_up_keeps_its_tokens() -> None:
    class Failing(Base):
        def update_from_output(self, outputs: Sequence[Output]) -> dict[int, Outputs]:
            if any(one.finish_reason == "error" for one in outputs):
                self.finish_requests([one.request_id for one in outputs], "error")
            return {0: Outputs(list(outputs), "stats")}

    scheduler = outputs_at_end(Failing)(Request("a"))
    handed(scheduler, token("a", 5))
    (whole,) = handed(scheduler, Output("a", [], finish_reason="error"))
    assert whole.new_token_ids == [5]
    assert scheduler.keeper.take(["a"]) == []


class Overlapped(Base):
    """What vLLM takes where a step is prepared while the last one runs."""


class Labeled(Outputs):
    """Outputs of vLLM 0.29 and later."""

    weight_version: str = "default"


class Older:
    """An engine process that ends requests in another way."""


def opened(
    monkeypatch: pytest.MonkeyPatch,
    *,
    overlapped: bool = False,
    engine: type = Engine,
    outputs: type[Outputs] = Outputs,
    **model: bool,
) -> tuple[Any, Any]:
    """The scheduler of a vLLM with these classes and settings, and its engine's class."""

    def init(self: Base, *, vllm_config: object, block_size: int) -> None:
        assert vllm_config is config
        assert block_size == 16
        self.requests = {"a": Request("a")}

    process = type("Proc", (engine,), {})
    modules = {
        "core.sched.async_scheduler": {
            "AsyncScheduler": type("Async", (Overlapped,), {"__init__": init})
        },
        "core.sched.scheduler": {"Scheduler": type("Plain", (Base,), {"__init__": init})},
        "engine": {"EngineCoreOutputs": outputs},
        "engine.core": {"EngineCoreProc": process},
    }
    for name, contents in modules.items():
        module = ModuleType(f"vllm.v1.{name}")
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    config = SimpleNamespace(
        scheduler_config=SimpleNamespace(async_scheduling=overlapped),
        model_config=SimpleNamespace(**model),
    )
    return vllm_scheduler.scheduler(vllm_config=config, block_size=16), process


@pytest.mark.parametrize("overlapped", [False, True])
def test_it_is_a_scheduler_as_vllm_would_take(
    monkeypatch: pytest.MonkeyPatch, overlapped: bool
) -> None:
    scheduler, engine = opened(
        monkeypatch, overlapped=overlapped, enable_return_routed_experts=False
    )
    assert isinstance(scheduler, Overlapped) == overlapped
    assert handed(scheduler, token("a", 5)) == []
    assert [one.new_token_ids for one in engine(scheduler).pause()] == [[5], []]


@pytest.mark.parametrize(
    "vllm",
    [
        {"enable_return_routed_experts": True},
        {"return_sampling_mask": True},
        {"outputs": Labeled},
        {"engine": Older},
    ],
)
def test_where_outputs_bring_more_of_tokens_they_are_not_kept(
    monkeypatch: pytest.MonkeyPatch, vllm: dict[str, Any]
) -> None:
    scheduler, _ = opened(monkeypatch, **vllm)
    assert [one.new_token_ids for one in handed(scheduler, token("a", 5))] == [[5]]
