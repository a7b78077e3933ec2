"""Reads the emulator's journal; test/emulator/README.md has its format."""

import fnmatch
import json
import os

from . import AuditError

NEVER = float("inf")


class Journal:
    """A journal directory.

    requests  seq -> (started, replied); replied is NEVER unless the reply was
              sent and parsable, so it is also when the records with state A
              were acknowledged
    """

    def __init__(self, directory, stream=None):
        self._records = os.path.join(directory, "records.tsv")
        self._stream = stream
        self.requests = {}
        try:
            with open(os.path.join(directory, "journal.ndjson"),
                      "rb") as file:
                for line in file:
                    request = json.loads(line)
                    self.requests[request["seq"]] = (
                        request["started"], request["replied"]
                        if request["reply_sent"] else NEVER)
        except (OSError, ValueError, KeyError) as error:
            raise AuditError(f"journal.ndjson: {error}") from None

    def replied(self, seq):
        """When a request was answered; NEVER if it was not."""
        request = self.requests.get(seq)
        return NEVER if request is None else request[1]

    def started(self, seq):
        """When a request began; NEVER if it has no line."""
        request = self.requests.get(seq)
        return NEVER if request is None else request[0]

    def records(self):
        """Yield (seq, stream, state, payload) in order of processing."""
        wanted = {}
        try:
            with open(self._records, "rb") as file:
                for line in file:
                    seq, stream, _, state, _, payload = line.split(b"\t")
                    if self._stream is not None:
                        if stream not in wanted:
                            wanted[stream] = fnmatch.fnmatchcase(
                                stream.decode(), self._stream)
                        if not wanted[stream]:
                            continue
                    yield int(seq), stream, state, payload[:-1]
        except (OSError, ValueError) as error:
            raise AuditError(f"records.tsv: {error}") from None
