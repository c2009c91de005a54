"""Training with NeMo-Aligner and megatron-core, in rank processes of their own environment.

`config` and `client` run anywhere; the other modules run in the ranks, whose environment has the
`nemo-aligner` extra.
"""
