"""What rollouts are worth: reward, credit, advantage, turn selection, token weights."""
