"""Passes packets between two TUN devices, each a while after it came: a long cable. links.py starts it.

    python bench/delay.py SECONDS

Makes `tun0` and `tun1` in its network namespace, says "ready", and runs until it is stopped. It drops nothing but what
would be more than `MOST` packets on their way, and keeps their order.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys
import time
from collections import deque

MOST = 20_000
"""Packets on their way in one direction: a gigabit's, in a quarter of a second."""
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 1, 0x1000


def device(name: str) -> int:
    """Make a TUN device and return its descriptor."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return fd


def main(delay: float) -> None:
    ends = [device("tun0"), device("tun1")]
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    waiting: dict[int, deque[tuple[float, bytes]]] = {fd: deque() for fd in ends}
    print("ready", flush=True)
    while True:
        due = min((queue[0][0] for queue in waiting.values() if queue), default=None)
        wait = None if due is None else max(0.0, due - time.monotonic())
        for fd in select.select(ends, [], [], wait)[0]:
            take(fd, waiting[other[fd]], delay)
        now = time.monotonic()
        for fd, queue in waiting.items():
            while queue and queue[0][0] <= now:
                give(fd, queue.popleft()[1])


def take(fd: int, queue: deque[tuple[float, bytes]], delay: float) -> None:
    """Read the packets that have come, at most some, and note when each is due."""
    due = time.monotonic() + delay
    for _ in range(64):
        try:
            packet = os.read(fd, 65536)
        except BlockingIOError:
            return
        except OSError:
            return  # the device is not up yet
        if len(queue) < MOST:
            queue.append((due, packet))


def give(fd: int, packet: bytes) -> None:
    """Write a packet; a device that is down, or full, loses it, as a cable would."""
    try:
        os.write(fd, packet)
    except OSError:
        return


if __name__ == "__main__":
    main(float(sys.argv[1]))
