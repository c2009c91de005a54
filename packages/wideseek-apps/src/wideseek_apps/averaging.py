"""Averages of adapters with what says how they are used."""

from wideseek_agents.profile import read_profile, write_profile
from wideseek_apps.average_config import AverageConfig
from wideseek_core import ConfigError
from wideseek_rl.models.average import Average, average_adapters
from wideseek_rl.models.lora_config import adapter_folder
from wideseek_rl.models.lora_files import read_settings


def average(config: AverageConfig) -> Average:
    """Writes the average, with the profile of the first adapter that has one.

    Raises `ConfigError` and `CheckpointError`.
    """
    folders = [adapter_folder(path, "adapters") for path in config.adapters]
    if config.folder.resolve() in [folder.resolve() for folder in folders]:
        raise ConfigError(f"folder: {config.folder} is one of the adapters")
    count = len(folders)
    weights = config.weights or (1 / count,) * count
    rank = config.rank or max(int(read_settings(folder)["r"]) for folder in folders)
    found = average_adapters(folders, config.folder, weights=weights, rank=rank)
    profile = next((one for one in map(read_profile, folders) if one is not None), None)
    if profile is not None:
        write_profile(config.folder, profile)
    return found
