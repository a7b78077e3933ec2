"""Counters that tests read at /_control/stats."""

import collections


class StreamStats:
    def __init__(self):
        self.requests = 0
        self.records = 0
        self.accepted = 0
        self.refused = 0
        self.acknowledged = 0
        self.bytes = 0              # raw, accepted
        self.in_flight = 0
        self.max_in_flight = 0
        self.max_batch_records = 0
        self.max_batch_bytes = 0

    def begin(self, records, octets):
        self.requests += 1
        self.records += records
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        self.max_batch_records = max(self.max_batch_records, records)
        self.max_batch_bytes = max(self.max_batch_bytes, octets)


class Stats:
    def __init__(self):
        self.connections = 0
        self.open_connections = 0
        self.max_open_connections = 0
        self._clear()

    def _clear(self):
        self.requests = 0
        self.malformed = 0
        self.broken_uploads = 0
        self.replies_lost = 0
        self.operations = collections.Counter()
        self.statuses = collections.Counter()
        self.errors = collections.Counter()
        self.faults = collections.Counter()
        self.streams = collections.defaultdict(StreamStats)

    def reset(self):
        """Zero all but what is open now."""
        in_flight = {name: stream.in_flight
                     for name, stream in self.streams.items()
                     if stream.in_flight}
        self.connections = self.open_connections
        self.max_open_connections = self.open_connections
        self._clear()
        for name, count in in_flight.items():
            self.streams[name].in_flight = count

    def connected(self):
        self.connections += 1
        self.open_connections += 1
        self.max_open_connections = max(self.max_open_connections,
                                        self.open_connections)

    def disconnected(self):
        self.open_connections -= 1

    def report(self):
        streams = {name: vars(stream)
                   for name, stream in sorted(self.streams.items())}
        totals = {name: sum(stream[name] for stream in streams.values())
                  for name in ("records", "accepted", "refused",
                               "acknowledged", "bytes")}
        return {**vars(self), **totals, "streams": streams}
