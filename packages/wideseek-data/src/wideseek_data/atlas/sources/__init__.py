"""One module per domain of the atlas; each makes a `Domain` from data packages."""

from wideseek_data.atlas.sources import (
    airports,
    cities,
    computer_languages,
    countries,
    deep_sky,
    elements,
    holidays,
    human_languages,
    us_states,
)
from wideseek_data.atlas.world import Domain


def build_domains() -> tuple[Domain, ...]:
    """All domains, in the order of the atlas. Needs the extra `atlas-build`."""
    return (
        countries.build(),
        cities.build(),
        airports.build(),
        elements.build(),
        elements.build_isotopes(),
        deep_sky.build(),
        us_states.build(),
        holidays.build(),
        computer_languages.build(),
        human_languages.build(),
    )
