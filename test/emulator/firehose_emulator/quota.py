"""Quotas: token buckets per stream for records, requests and bytes a second.

The bucket of bytes lets a record through while it holds anything at all and
may then go below zero, so a large record never waits for ever and the average
is exact.  The other buckets deal in whole tokens.  A quota by call takes a call as
a whole or refuses it as a whole.
"""

import time

RATES = ("records_per_second", "requests_per_second", "bytes_per_second")


class Bucket:
    def __init__(self, rate, burst_seconds):
        self.rate = rate
        self.room = max(rate * burst_seconds, 1) if burst_seconds else 0
        self.tokens = self.room
        self.filled_at = time.monotonic()

    def refill(self, now):
        gained = (now - self.filled_at) * self.rate
        self.tokens = min(self.room, self.tokens + gained)
        self.filled_at = now


class Quota:
    """The quota of one stream.

    over_requests   what a batch over requests_per_second gets: partial (all
                    its entries fail) or error (as put_record_error)
    over_records    what a batch over one of the others gets: partial (its
                    first records are taken) or error
    put_record_error  catalogue name of the answer to a lone record, and to a
                    call that fails as a whole
    """

    def __init__(self, records_per_second=None, requests_per_second=None,
                 bytes_per_second=None, burst_seconds=1.0,
                 over_requests="partial", over_records="partial",
                 put_record_error="service_unavailable"):
        rates = (records_per_second, requests_per_second, bytes_per_second)
        self._records, self._requests, self._bytes = (
            Bucket(rate, burst_seconds) if rate else None for rate in rates)
        self.over_requests = over_requests
        self.over_records = over_records
        self.put_record_error = put_record_error

    def admit_request(self):
        """Take one request's token; false when there is none."""
        bucket = self._requests
        if bucket is None:
            return True
        bucket.refill(time.monotonic())
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def admit_call(self, raws):
        """Take a whole call's tokens; false when they are not all there.

        A call that is larger than a bucket passes when that is full.
        """
        now = time.monotonic()
        costs = [(bucket, cost) for bucket, cost
                 in ((self._records, len(raws)),
                     (self._bytes, sum(map(len, raws))))
                 if bucket is not None]
        for bucket, _ in costs:
            bucket.refill(now)
        if any(bucket.tokens <= 0 or bucket.tokens < min(cost, bucket.room)
               for bucket, cost in costs):
            return False
        for bucket, cost in costs:
            bucket.tokens -= cost
        return True

    def admit_records(self, raws):
        """Return how many of the records, from the first, are within."""
        now = time.monotonic()
        records, octets = self._records, self._bytes
        for bucket in (records, octets):
            if bucket is not None:
                bucket.refill(now)
        for count, raw in enumerate(raws):
            if ((records is not None and records.tokens < 1)
                    or (octets is not None and octets.tokens <= 0)):
                return count
            if records is not None:
                records.tokens -= 1
            if octets is not None:
                octets.tokens -= len(raw)
        return len(raws)


class QuotaTable:
    """Quotas by stream; the options of '*' apply to each other stream."""

    def __init__(self):
        self._options = {}
        self._quotas = {}

    def set(self, stream, options):
        Quota(**options)            # refuse unknown options now
        self._options[stream] = options
        self._quotas.clear()

    def clear(self):
        self._options.clear()
        self._quotas.clear()

    def list(self):
        return self._options

    def of(self, stream):
        """The quota of a stream, or None."""
        if not self._options:
            return None
        if stream not in self._quotas:
            options = self._options.get(stream, self._options.get("*"))
            self._quotas[stream] = (None if options is None
                                    else Quota(**options))
        return self._quotas[stream]
