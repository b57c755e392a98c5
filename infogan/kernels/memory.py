"""How the process keeps its memory."""

import ctypes
import mmap
import platform

# mallopt's numbers in malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
KEPT_BYTES = 1 << 30


def reuse_freed_memory() -> None:
    """Let glibc keep up to 1 GiB of what a batch frees for the next one; ask no other C library.

    For speed alone: it would give large tensors back to the system and fetch them again, page by
    page, in every batch.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        use_huge_pages(libc)


def use_huge_pages(libc: ctypes.CDLL) -> None:
    """Reserve 1 GiB of addresses for what is to be kept, and ask the system for huge pages there.

    For speed alone: a pass over 13 million parameters looks up thousands of small pages. A system
    that has no huge pages, or no such addresses, goes on as before.
    """
    libc.sbrk.restype = libc.malloc.restype = ctypes.c_void_p
    libc.sbrk.argtypes, libc.malloc.argtypes = [ctypes.c_ssize_t], [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.mallopt(M_TOP_PAD, KEPT_BYTES)
    start = libc.sbrk(0)
    # More than the heap has left makes it grow, by the reserve as well.
    libc.free(libc.malloc(64 << 20))
    aligned = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    libc.madvise(aligned, max(libc.sbrk(0) - aligned, 0), mmap.MADV_HUGEPAGE)
