"""How new weights travel from a trainer to the rollout engines."""
