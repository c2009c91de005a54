"""Opens the algorithm that a configuration names.

Algorithms of installed distributions are `Plugin` entry points of `wideseek.algorithms`: `open`
takes the configuration and returns an `Algorithm`.
"""

from wideseek_core import Config
from wideseek_core.plugins import opener
from wideseek_rl.algorithm.best_of_group import BestOfGroupConfig, best_of_group
from wideseek_rl.algorithm.group_relative import GroupRelativeConfig, group_relative
from wideseek_rl.algorithm.protocol import Algorithm

ALGORITHMS = "wideseek.algorithms"


def open_algorithm(config: Config) -> Algorithm:
    """The algorithm of a configuration. Raises `ConfigError` if nothing installed knows it."""
    match config:
        case GroupRelativeConfig():
            return group_relative(config)
        case BestOfGroupConfig():
            return best_of_group(config)
        case _:
            return opener(ALGORITHMS, config)(config)
