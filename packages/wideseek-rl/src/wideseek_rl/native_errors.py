"""What errors of torch, NCCL and gloo mean; their texts are all that says so."""

import re
import socket

from wideseek_core.text import one_line

_TRACE = re.compile(r"\n(?:Exception raised from|frame #\d)")
_SETTINGS = (
    (r"unable to find (?:address|interface) for: *(?P<name>\S*)", "GLOO_SOCKET_IFNAME={name}"),
    (r"no socket interface found", "NCCL_SOCKET_IFNAME"),
    (r"invalid nccl_comm_id", "NCCL_COMM_ID"),
    (r"duplicate gpu detected", "two ranks on one GPU"),
    (r"nccl ?invalid ?(?:usage|argument)", "NCCL's settings"),
    (rf"gai error(?!: {socket.EAI_AGAIN}\b)", "an address that is not known"),
    (r"eaddrnotavail|cannot assign requested address", "an address of another host"),
)
"""What is wrong where a text is found, which is in small letters there."""


def reason(error: BaseException) -> str:
    """The text of an error in one line, without the stack of the library."""
    text = str(error)
    found = _TRACE.search(text)
    return one_line(text[: found.start()] if found else text)


def wrong_setting(error: BaseException) -> str:
    """The setting that an error is about, which another attempt would meet again; "" if none."""
    text = reason(error)
    for pattern, setting in _SETTINGS:
        if found := re.search(pattern, text, re.IGNORECASE):
            return setting.format(**found.groupdict())
    return ""
