"""What was delivered, and the journal that proves it.

DIR/streams/NAME/data   the bytes of the accepted records, nothing between
DIR/journal.ndjson      a line per request, written when its outcome is known
DIR/records.tsv         a line per record, written before the reply is

Every write goes straight to the file (no buffer of ours), so a reader sees
all that happened.  The README describes the formats.
"""

import base64
import hashlib
import json
import os
import random
import re

ACCEPTED = "A"      # stored; its entry of the reply says so
UNSAID = "U"        # stored; its entry of the reply does not say so
REFUSED = "R"       # not stored

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_APPEND


class Store:
    def __init__(self, directory, settings):
        self.directory = directory
        self._settings = settings
        self._data = {}             # stream -> descriptor
        os.makedirs(os.path.join(directory, "streams"), exist_ok=True)
        self._journal_path = os.path.join(directory, "journal.ndjson")
        self._records_path = os.path.join(directory, "records.tsv")
        self._sequence = max(_last_number(self._journal_path),
                             _last_number(self._records_path))
        self._journal = os.open(self._journal_path, _CREATE, 0o600)
        self._records = os.open(self._records_path, _CREATE, 0o600)

    def next_sequence(self):
        self._sequence += 1
        return self._sequence

    def known_streams(self):
        """Streams that an earlier run left in the directory."""
        return sorted(os.listdir(os.path.join(self.directory, "streams")))

    def create_stream(self, name):
        if name not in self._data:
            path = os.path.join(self.directory, "streams", name)
            os.makedirs(path, exist_ok=True)
            self._data[name] = os.open(os.path.join(path, "data"), _CREATE,
                                       0o600)

    def forget_stream(self, name):
        """Close a deleted stream's file; what was delivered stays."""
        descriptor = self._data.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)

    def append_data(self, stream, raws):
        self.create_stream(stream)
        _write(self._data[stream], b"".join(raws))

    def append_records(self, sequence, stream, states, words, texts, raws):
        """Write the lines of one request's records.

        states  a letter per record; words  its record id or error code
        """
        if self._settings.journal_data == "full":
            payloads = texts
        elif self._settings.journal_data == "hash":
            payloads = ["sha256:" + hashlib.sha256(raw).hexdigest()
                        for raw in raws]
        else:
            payloads = [f"bytes:{len(raw)}" for raw in raws]
        start = f"{sequence}\t{stream}\t"
        lines = [f"{start}{index}\t{state}\t{word}\t{payload}\n"
                 for index, (state, word, payload)
                 in enumerate(zip(states, words, payloads))]
        _write(self._records, "".join(lines).encode())

    def append_request(self, line):
        _write(self._journal, json.dumps(line).encode() + b"\n")

    def truncate(self):
        """Forget everything delivered and journaled."""
        for descriptor in self._descriptors():
            os.ftruncate(descriptor, 0)

    def sync(self):
        """Make everything durable."""
        for descriptor in self._descriptors():
            os.fsync(descriptor)

    def close(self):
        for descriptor in self._descriptors():
            os.close(descriptor)

    def _descriptors(self):
        return (self._journal, self._records, *self._data.values())

    def make_record_ids(self, count):
        """Return ids like AWS's: long, and never the same twice."""
        if self._settings.short_record_ids:
            return [f"{random.getrandbits(64):016x}" for _ in range(count)]
        # One random text serves a batch: every id is a slice of it, made
        # unique by 16 characters of its own.
        text = base64.b64encode(random.randbytes(200 + count)).decode()
        return [f"{random.getrandbits(64):016x}{text[i:i + 204]}"
                for i in range(count)]


def _write(descriptor, data):
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view):]


def _last_number(path):
    """The largest request number near a file's end, 0 if there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - 16 * 1024 * 1024))
            tail = file.read()
    except FileNotFoundError:
        return 0
    numbers = re.findall(rb'^(?:\{"seq": )?(\d+)[,\t]', tail, re.MULTILINE)
    return max(map(int, numbers), default=0)
