"""The folder of a run: who may write to it, and which settings a resumed run must share."""

import fcntl
import json
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from pydantic import BaseModel, JsonValue

from wideseek_core.errors import ConfigError, DataError
from wideseek_core.files import write_atomically
from wideseek_core.json_text import parse_json
from wideseek_core.shown_settings import hide_secrets

SERVICE_KEYS = frozenset(
    f"*.{name}"
    for name in (
        *("base_url", "api_key_env", "max_concurrent", "max_requests_per_s", "max_attempts"),
        *("backoff_s", "timeout_s", "deadline_s", "queue_timeout_s", "processes", "device"),
        *("base_urls", "more_base_urls", "address_file", "route", "max_running", "max_queued"),
        *("outage_timeout_s", "probe_interval_s", "probe_timeout_s", "max_failed_probes"),
        *("affinity_wait_s", "check_logprobs", "batch_window_s", "max_bytes", "max_per_host"),
        *("tool_timeout_s", "connect_timeout_s", "extract_timeout_s", "extract_processes"),
        *("call_timeout_s", "transfer_timeout_s", "start_timeout_s", "stop_timeout_s"),
        *("place_timeout_s", "update_timeout_s", "api_processes", "host", "port", "devices"),
        *("master_address", "master_port", "max_cache_tokens", "threads", "outputs_at_end"),
        *("price", "cache", "transcripts", "record"),
    )
)
"""Settings that say where a service is, how it is asked and what it costs, and which files are
kept of that, wherever in a configuration they are.

They shape no answer and no score, so a resumed run may change them.
"""

ABSENT = "absent"


@contextmanager
def sole_writer(folder: Path) -> Generator[None]:
    """Keeps other processes out of a run's folder. Raises `ConfigError` if one is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another process is writing to {folder}") from None
        # The system frees the lock with the file, however the process ends.
        yield


def store_config(
    path: Path,
    config: BaseModel | Mapping[str, JsonValue],
    *,
    resuming: bool,
    resumable_keys: Collection[str] = (),
) -> None:
    """Writes a run's resolved configuration; on resume, compares it with the stored one first.

    Raises `ConfigError` naming the first key that differs, `DataError` if what is stored is no
    configuration.
    """
    values = plain(config)
    if resuming and path.exists():
        try:
            check_resumed_config(read_config(path), values, resumable_keys)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
    write_atomically(path, json.dumps(values, indent=2) + "\n")


def read_config(path: Path) -> dict[str, JsonValue]:
    """A stored configuration. Raises `DataError`."""
    try:
        value = parse_json(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"no such file: {path}") from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object")
    return value


def check_resumed_config(
    old: BaseModel | Mapping[str, JsonValue],
    new: BaseModel | Mapping[str, JsonValue],
    resumable_keys: Collection[str] = (),
) -> None:
    """Compares the configuration of a run with that of its continuation.

    `resumable_keys` may change between the two: dotted keys (or their parents), or `*.name` for
    keys of that name wherever they are. Raises `ConfigError` naming the first other key that
    differs.
    """
    before, after = flat(plain(old)), flat(plain(new))
    for key in [*before, *(key for key in after if key not in before)]:
        was, is_now = before.get(key, ABSENT), after.get(key, ABSENT)
        if was != is_now and not _is_resumable(key, resumable_keys):
            raise ConfigError(
                f"{key} was {was}, is {is_now}; use the old value, or another run folder"
            )


def _is_resumable(key: str, resumable_keys: Collection[str]) -> bool:
    parts = key.split(".")
    paths = {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
    return not (paths | {f"*.{part}" for part in parts}).isdisjoint(resumable_keys)


def plain(config: BaseModel | Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """A configuration as JSON keeps it, so that a stored one equals a fresh one.

    Passwords and keys in it are left out: reports and loggers show what is stored.
    """
    if isinstance(config, BaseModel):
        values: JsonValue = config.model_dump(mode="json")
    else:
        values = json.loads(json.dumps(dict(config), default=str))
    return cast(dict[str, JsonValue], hide_secrets(values))


def flat(value: Mapping[str, JsonValue], prefix: str = "") -> dict[str, str]:
    """Leaves as JSON text by dotted key; lists and empty objects are leaves."""
    leaves: dict[str, str] = {}
    for key, below in value.items():
        if isinstance(below, dict) and below:
            leaves |= flat(below, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = json.dumps(below, ensure_ascii=False)
    return leaves
