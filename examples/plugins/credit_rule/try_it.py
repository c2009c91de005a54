"""Shows what each agent of two rollouts is credited for."""

from wideseek_rl import GroupRelativeConfig, open_algorithm
from wideseek_rl.testing import make_agent, make_scored

algorithm = open_algorithm(GroupRelativeConfig(credit="lead_more"))
group = [
    make_scored(make_agent(role="lead"), make_agent(role="subagent", agent=1), value=value)
    for value in (0.2, 0.8)
]
for turns in algorithm.credit(group, [0.2, 0.8]) or []:
    print([round(turn.advantage, 2) for turn in turns])
