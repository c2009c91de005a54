"""What runs where in a cluster, for a person."""

import contextlib
from collections.abc import Iterator
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util import list_named_actors

from wideseek_rl.cluster.ray.launcher import NAMESPACE, join

SHOWN = ("CPU", "GPU")
ASK_TIMEOUT_S = 30.0
"""Time for all processes together to say what they do."""


def cluster_text(address: str) -> str:
    """The nodes of a cluster, each with the processes of runs on it.

    Raises `ConfigError` if there is no cluster.
    """
    join(address)
    try:
        return "\n".join(_lines())
    finally:
        ray.shutdown()


def _lines() -> Iterator[str]:
    processes = list(_processes())
    for node in ray.nodes():
        resources: dict[str, float] = node["Resources"]
        amounts = ", ".join(f"{resources[name]:g} {name}" for name in SHOWN if name in resources)
        state = "alive" if node["Alive"] else "lost"
        yield f"{node['NodeManagerAddress']}  {node['NodeID'][:8]}  {state}  {amounts or 'no CPU'}"
        if node["Alive"]:
            yield from (f"  {text}" for place, text in processes if place == node["NodeID"])
    yield from (text for place, text in processes if not place)
    if not processes:
        yield "No process of a run."


def _processes() -> Iterator[tuple[str, str]]:
    """Node and description of every process; no node for those that do not answer."""
    named: Any = list_named_actors(all_namespaces=True)
    asked: dict[str, list[Any]] = {}
    for entry in sorted(named, key=lambda entry: entry["name"]):
        if entry["namespace"] == NAMESPACE:
            with contextlib.suppress(ValueError):  # it has just ended
                actor: Any = ray.get_actor(entry["name"], NAMESPACE)
                asked[entry["name"]] = [actor.about.remote(), actor.place.remote()]
    answers = [answer for pair in asked.values() for answer in pair]
    if answers:
        ray.wait(answers, num_returns=len(answers), timeout=ASK_TIMEOUT_S)
    for name, pair in asked.items():
        try:
            about, place = ray.get(pair, timeout=0)
        except GetTimeoutError:
            yield "", f"{name} does not answer"
        except RayError:
            continue  # it has just ended
        else:
            gpus = f"GPU {','.join(map(str, place.gpus))}" if place.gpus else "CPU"
            yield place.node, f"{about['name']}  {gpus}  {about['state']}  {about['command']}"
