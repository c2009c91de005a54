"""Control of vLLM and SGLang servers: start and stop, pause, weight versions, caches, memory.

Requests for tokens go another way, which needs neither torch nor this package.
"""
