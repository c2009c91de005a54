"""What runs where in a cluster, for a person."""

from collections.abc import Iterator
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util import list_named_actors

from wideseek_rl.cluster.ray.launcher import NAMESPACE, join

SHOWN = ("CPU", "GPU")
ASK_TIMEOUT_S = 10.0
"""Time for an actor to say what it does."""


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
    if not processes:
        yield "No process of a run."


def _processes() -> Iterator[tuple[str, str]]:
    """Node and description of every process."""
    named: Any = list_named_actors(all_namespaces=True)
    for entry in sorted(named, key=lambda entry: entry["name"]):
        if entry["namespace"] != NAMESPACE:
            continue
        try:
            actor: Any = ray.get_actor(entry["name"], NAMESPACE)
            about, place = ray.get(
                [actor.about.remote(), actor.place.remote()], timeout=ASK_TIMEOUT_S
            )
        except (RayError, ValueError):
            continue  # it has just ended
        gpus = f"GPU {','.join(map(str, place.gpus))}" if place.gpus else "CPU"
        yield place.node, f"{about['name']}  {gpus}  {about['state']}  {about['command']}"
