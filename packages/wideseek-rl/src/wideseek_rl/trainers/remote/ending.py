"""How a rank ends, so that its starter knows whether another attempt may help."""

import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

import torch

from wideseek_core import RanksLost, WideSeekError
from wideseek_core.processes import TEMPORARY
from wideseek_rl.trainers.remote.channel import Channel
from wideseek_rl.trainers.remote.requests import Failed

REFUSED = 2
"""Exit code of a rank that says why it can't go on."""


@contextmanager
def reported(channel: Channel) -> Generator[None]:
    """Ends the process by the errors of the block; the last line of its log has the reason.

    The first rank answers with the reason. A rank that lost its client or its peers ends with
    `TEMPORARY`.
    """
    try:
        yield
    except (ConnectionError, RanksLost) as error:
        traceback.print_exc()
        raise SystemExit(TEMPORARY) from error
    except (WideSeekError, OSError) as error:  # of the system: a full disk, a file of another user
        with suppress(OSError):  # the client may be gone
            channel.answer(Failed(message=str(error), error=type(error).__name__))
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        raise SystemExit(REFUSED) from error
    except RuntimeError as error:
        if not lost_peers(error):
            raise
        traceback.print_exc()
        raise SystemExit(TEMPORARY) from error


def lost_peers(error: RuntimeError) -> bool:
    """Whether an error of torch says that other ranks can't be reached.

    Of gloo's errors only the text, which names its source files, tells them from others.
    """
    distributed: Any = torch.distributed
    return isinstance(error, distributed.DistError) or "gloo" in str(error).lower()
