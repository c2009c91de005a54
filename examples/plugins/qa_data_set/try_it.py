"""Loads the data set as every command does."""

from wideseek_core import Config, load_config
from wideseek_eval import DataConfig, load_tasks


class Settings(Config):
    """What a command would read."""

    data: DataConfig


for task in load_tasks(load_config(Settings, ["data.kind=sums", "data.limit=3"]).data):
    print(task.id, task.question, task.gold)
