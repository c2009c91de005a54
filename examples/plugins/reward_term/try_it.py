"""Shows the terms of a rollout's reward."""

from wideseek_rl import RewardConfig, open_reward
from wideseek_rl.testing import make_agent, make_scored, make_turn

reward = open_reward(RewardConfig(weights={"brevity": 0.1}))
for turns in (1, 10):
    agent = make_agent(*[make_turn() for _ in range(turns)])
    print(turns, reward(make_scored(agent, value=0.5)).terms)
