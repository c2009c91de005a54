"""What a report says of a run beside its numbers: model, date, code and settings."""

from collections.abc import Iterator, Mapping

from pydantic import Field, JsonValue

from wideseek_core.runs import flat
from wideseek_core.tasks import Record
from wideseek_eval.runs.folder import RunHeader

_POLICIES = ("policy", "fixed_role", "summarizer")


class About(Record):
    """Where a run's answers and scores come from."""

    model: str = ""
    """Names of the models that answered; empty for answers that were imported."""
    judge: str = ""
    started: str = ""
    """Date and time in UTC."""
    code: str = ""
    settings: dict[str, str] = Field(default_factory=dict)
    """By dotted key, values as JSON."""

    @property
    def facts(self) -> dict[str, str]:
        """What is known, by its label."""
        values = {"Model": self.model, "Judge": self.judge, "Date": self.started, "Code": self.code}
        return {
            label: f"{value} UTC" if label == "Date" else value
            for label, value in values.items()
            if value
        }


def about_run(header: RunHeader | None) -> About:
    """What the settings of a run say."""
    if header is None:
        return About()
    settings = header.settings
    models = (model for key in _POLICIES for model in _models(settings.get(key)))
    step = settings.get("step")  # of training, where a training run measures its policy
    trained = f" after {step} training step{'s' * (step != 1)}" if step else ""
    return About(
        model=", ".join(dict.fromkeys(models)) + trained,
        judge=_judge(settings),
        started=header.started,
        code=", then ".join(header.code),
        settings=flat(settings),
    )


def _models(settings: JsonValue | None) -> Iterator[str]:
    """The values of all keys `model`, wherever they are."""
    if not isinstance(settings, Mapping):
        return
    for key, value in settings.items():
        if key == "model" and isinstance(value, str):
            yield value
        else:
            yield from _models(value)


def _judge(settings: Mapping[str, JsonValue]) -> str:
    """Its mode and kind, and the model of a judge that asks one."""
    judge = settings.get("judge")
    if not isinstance(judge, Mapping):
        return ""
    kind, mode = judge.get("kind", ""), judge.get("mode", settings.get("mode", ""))
    models = list(_models(judge)) if kind == "llm" else []
    return ", ".join(str(part) for part in (mode, kind, *models) if part)
