"""What the memory allocator holds for a process that has freed it."""

import ctypes
import sys


def return_freed_memory() -> None:
    """Gives memory that this process has freed, but its allocator holds, back to the system.

    glibc's allocator serves tensors of up to 32 MB from heaps whose free parts it keeps. As no two
    updates ask for tensors of the same sizes, the heaps fill with holes and grow by hundreds of
    megabytes an update. A call takes some milliseconds a gigabyte and changes nothing where the
    allocator is another one.
    """
    if not sys.platform.startswith("linux"):
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
