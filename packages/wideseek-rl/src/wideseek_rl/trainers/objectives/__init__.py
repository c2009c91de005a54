"""The parts of the policy loss: ratios, surrogates, corrections and divergences."""
