"""Multi-agent reinforcement learning: groups, rewards, advantages, losses, engines and trainers."""
