"""A scheduler for vLLM before 0.29 that hands the tokens of a request over when it ends.

vLLM's engine process sends an output of each request for each token to the process that answers
HTTP requests. With a small model and hundreds of requests, writing and reading them takes both
processes as long as sampling does. Requests for plain arrays (`vllm_route`) want their tokens at
the end alone, so theirs are kept until then.

From 0.29 on outputs carry the version of the weights, and must come token by token.
"""

# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUntypedBaseClass=false
# pyright: reportUnknownArgumentType=false

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)

_FINAL_ONLY = "FINAL_ONLY"
_SEND_ENDS = "_send_finish_outputs_to_client"
"""The method of vLLM's engine process that ends requests which are broken off."""
_LABEL = "weight_version"
"""The field of outputs that says which weights sampled them."""
_MORE_OF_TOKENS = ("enable_return_routed_experts", "return_sampling_mask")
"""Settings of vLLM's `ModelConfig` by which outputs bring more of each token than is kept here."""


def scheduler(**arguments: Any) -> Any:
    """What `--scheduler-cls` names: vLLM's own scheduler, with outputs at the end."""
    from vllm.v1.core.sched.async_scheduler import AsyncScheduler
    from vllm.v1.core.sched.scheduler import Scheduler
    from vllm.v1.engine import EngineCoreOutputs
    from vllm.v1.engine.core import EngineCoreProc

    engine: Any = EngineCoreProc
    config: Any = arguments["vllm_config"]
    base: Any = AsyncScheduler if config.scheduler_config.async_scheduling else Scheduler
    more = any(getattr(config.model_config, name, False) for name in _MORE_OF_TOKENS)
    if more or hasattr(EngineCoreOutputs, _LABEL) or not hasattr(engine, _SEND_ENDS):
        logger.warning("this server hands tokens over one by one")
        return base(**arguments)
    send_tokens_before_ends(engine, EngineCoreOutputs)
    return outputs_at_end(base)(**arguments)


@dataclass(slots=True)
class Kept:
    """What a request has sampled."""

    first: Any
    """The first output, of which the others are copies but for what is below."""
    ids: list[int] = field(default_factory=list[int])
    events: list[Any] = field(default_factory=list[Any])
    logprobs: list[float] = field(default_factory=list[float])
    """Of the sampled tokens, as numbers: arrays are views of those of whole batches, which would
    stay in pinned memory."""
    ranks: list[int] = field(default_factory=list[int])
    lists: Any = None
    """vLLM's class for log-probabilities and ranks."""

    def add(self, output: Any) -> None:
        """Takes what one output brings."""
        self.ids += output.new_token_ids
        if output.events:
            self.events += output.events
        lists = output.new_logprobs
        if lists is not None:
            self.lists = type(lists)
            # Where other requests of a batch asked for more, there are more columns.
            self.logprobs += lists.logprobs[:, 0].tolist()
            self.ranks += lists.sampled_token_ranks.tolist()
            output.new_logprobs = None

    def put_into(self, output: Any) -> Any:
        """The output, as one that has brought all tokens."""
        output.new_token_ids = self.ids
        output.events = self.events or None
        output.prefill_stats = self.first.prefill_stats
        if self.logprobs:
            ids = np.array(self.ids, np.int32)[:, None]
            values = np.array(self.logprobs, np.float32)[:, None]
            output.new_logprobs = self.lists(ids, values, np.array(self.ranks, np.int32), None)
        return output


class Keeper:
    """What all requests have sampled that want it at their end."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}
        self._broken_off: dict[str, Kept] = {}

    def passed(self, output: Any, requests: Mapping[str, Any]) -> Any:
        """The output to hand over for one that was made; None if it is kept.

        `requests` are those that the scheduler has, by id.
        """
        id: str = output.request_id
        kept = self._kept.get(id) or self._broken_off.get(id)
        if output.finish_reason is not None:
            self._kept.pop(id, None)
            self._broken_off.pop(id, None)
            if kept is None:
                return output
            kept.add(output)
            return kept.put_into(output)
        if kept is None:
            request = requests.get(id)
            if request is None or not wanted_at_end(request.sampling_params):
                return output
            kept = self._kept[id] = Kept(output)
        kept.add(output)
        return None

    def forget_broken_off(self) -> None:
        """Drops what nobody has taken: whoever asked for it has left."""
        self._broken_off.clear()

    def break_off(self, ids: Iterable[str]) -> None:
        """What these requests have can be had until the next step, or until the next call."""
        self._broken_off = {id: self._kept.pop(id) for id in ids if id in self._kept}

    def take(self, ids: Iterable[str]) -> list[Any]:
        """Outputs, which end nothing, of requests that have been broken off."""
        kept = [self._broken_off.pop(id) for id in ids if id in self._broken_off]
        return [one.put_into(one.first) for one in kept]


def outputs_at_end(base: Any) -> Any:
    """A subclass of one of vLLM's schedulers that keeps outputs until requests end."""

    class OutputsAtEnd(base):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self.keeper = Keeper()

        def update_from_output(self, *arguments: Any, **named: Any) -> Mapping[int, Any]:
            """Outputs to hand over, by client."""
            self.keeper.forget_broken_off()
            made: Mapping[int, Any] = super().update_from_output(*arguments, **named)
            for step in made.values():
                passed = (self.keeper.passed(one, self.requests) for one in step.outputs)
                step.outputs = [one for one in passed if one is not None]
            return made

        def finish_requests(self, *arguments: Any, **named: Any) -> Sequence[Any]:
            """Breaks requests off."""
            ended: Sequence[Any] = super().finish_requests(*arguments, **named)
            self.keeper.break_off(map(_request_id, ended))
            return ended

    return OutputsAtEnd


def wanted_at_end(parameters: Any) -> bool:
    """Whether a request has no use for its tokens before its end."""
    return (
        parameters is not None
        and parameters.output_kind.name == _FINAL_ONLY
        and not parameters.detokenize  # text may end a request where its tokens do not
        and parameters.n == 1
        and parameters.logprobs in (None, 0)
        and parameters.prompt_logprobs is None
        and not parameters.logprob_token_ids
    )


def send_tokens_before_ends(engine: Any, outputs: Any) -> None:
    """Makes the engine process hand over what broken off requests had sampled, and then end them.

    `outputs` is vLLM's class for the outputs of several requests.
    """
    send: Any = getattr(engine, _SEND_ENDS)

    def send_all(self: Any, req_ids: list[str], client_index: int, *others: Any) -> None:
        last = self.scheduler.keeper.take(req_ids)
        if last:
            self.output_queue.put_nowait((client_index, outputs(outputs=last)))
        send(self, req_ids, client_index, *others)

    setattr(engine, _SEND_ENDS, send_all)


def _request_id(ended: Any) -> str:
    """Of what the scheduler says of a request that it has ended, in whatever version."""
    return ended[0] if isinstance(ended, tuple) else ended.request_id
