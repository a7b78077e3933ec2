"""A slow line to the service: uploads are read no faster than it carries.

A connection asks take(count) for each piece it has read, and reads on after
so many seconds.  A shared line is one for all connections; otherwise each has
one of its own.
"""

import time

PIECE = 16384       # the most that is read at once, and the socket's buffer


class Line:
    """One line, a debt in time: free_at is when all that came is carried."""

    def __init__(self, bytes_per_second):
        self.rate = bytes_per_second
        self.free_at = 0.0

    def take(self, count):
        """Carry so many bytes; return the seconds until the line is free."""
        now = time.monotonic()
        self.free_at = max(self.free_at, now) + count / self.rate
        return self.free_at - now


class Uplink:
    """What the control API sets: a rate, and whether all share it."""

    def __init__(self, bytes_per_second, shared=True):
        if not bytes_per_second > 0:
            raise ValueError("bytes_per_second must be positive")
        self.bytes_per_second = bytes_per_second
        self.shared = shared
        self._line = Line(bytes_per_second)

    def line(self):
        """The line of a new connection."""
        return self._line if self.shared else Line(self.bytes_per_second)
