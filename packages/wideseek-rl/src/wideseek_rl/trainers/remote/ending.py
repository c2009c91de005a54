"""How a rank ends, so that its starter knows whether another attempt may help."""

import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import torch

from wideseek_core import ConfigError, RanksLost, TrainError, WideSeekError
from wideseek_core.processes import REFUSED as REFUSED
from wideseek_core.processes import TEMPORARY
from wideseek_rl.native_errors import reason, wrong_setting
from wideseek_rl.trainers.remote.channel import Channel
from wideseek_rl.trainers.remote.requests import Failed


@contextmanager
def reported(channel: Channel) -> Generator[None]:
    """Ends the process by the errors of the block; the last line of its log has the reason.

    The first rank answers with the reason. A rank that lost its client or its peers ends with
    `TEMPORARY`; one that can't reach its peers because of a setting would fail again.
    """
    try:
        yield
    except (ConnectionError, RanksLost) as error:
        traceback.print_exc()
        raise SystemExit(TEMPORARY) from error
    except (WideSeekError, OSError) as error:  # of the system: a full disk, a file of another user
        _refuse(channel, error)
    except RuntimeError as error:
        if not lost_peers(error):
            raise
        if setting := wrong_setting(error):
            problem = f"the trainer's ranks can't reach each other ({setting}): {reason(error)}"
            _refuse(channel, ConfigError(problem))
        traceback.print_exc()
        raise SystemExit(TEMPORARY) from error


def harmless(error: Exception, *, ranks: int) -> Failed | None:
    """The answer to a request that has changed nothing; None if the ranks are of no more use.

    An error on one of several ranks leaves the others amid a pass that they make together: only
    what all of them raise alike, the errors of the trainer itself, leaves them of use. Errors that
    are not of our kinds are lost ranks': another trainer may do better from where this one is.
    """
    alike = isinstance(error, TrainError) and not isinstance(error, RanksLost)
    if ranks > 1 and not alike:
        return None
    traceback.print_exc()
    if isinstance(error, WideSeekError | OSError):
        return Failed(message=str(error), error=type(error).__name__, intact=True)
    message = f"an update failed: {type(error).__name__}: {reason(error)}"
    return Failed(message=message, error=RanksLost.__name__, intact=True)


def _refuse(channel: Channel, error: Exception) -> NoReturn:
    with suppress(OSError):  # the client may be gone
        channel.answer(Failed(message=str(error), error=type(error).__name__))
    sys.stderr.write(f"{type(error).__name__}: {error}\n")
    raise SystemExit(REFUSED) from error


def lost_peers(error: RuntimeError) -> bool:
    """Whether an error of torch says that other ranks can't be reached.

    Of gloo's errors only the text, which names its source files, tells them from others.
    """
    distributed: Any = torch.distributed
    return isinstance(error, distributed.DistError) or "gloo" in str(error).lower()
