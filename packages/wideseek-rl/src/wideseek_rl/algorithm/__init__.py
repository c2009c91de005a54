"""What rollouts are worth: reward, advantage, turn selection, weights. Plain Python."""
