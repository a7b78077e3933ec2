"""What identifies a record, the same for committed and arrived ones.

The whole payload, unless a regular expression finds a key in it.
"""

import binascii
import gzip
import hashlib
import re

from . import AuditError

LONG = 64       # keys beyond this many bytes are replaced by their digests


class Keys:
    def __init__(self, options):
        self._regex = None
        if options.key_regex:
            self._regex = re.compile(options.key_regex.encode(), re.DOTALL)
        self.by_regex = self._regex is not None
        self._by_stream = options.by_stream
        self._gunzip = options.gunzip
        self._split = options.split_lines
        self._strip = options.strip_newline
        self._hashed = None         # the journal holds hashes, known by now
        self._plain = not (self._gunzip or self._split or self._strip)

    def use_hashes_of(self, journal):
        """Look at the journal's first payload: data, or hashes of it?"""
        for _, _, _, payload in journal.records():
            if payload.startswith(b"bytes:"):
                raise AuditError("the journal holds no data "
                                 "(--journal-data none)")
            self._hashed = payload.startswith(b"sha256:")
            break
        if self._hashed and (self.by_regex or not self._plain):
            raise AuditError("the journal holds hashes: records can only be "
                             "compared whole")

    def of_committed(self, key, data, stream):
        """The key of a committed record."""
        if self._hashed:
            if data is None:
                raise AuditError("the journal holds hashes, and a committed "
                                 "record has no data")
            key = b"sha256:" + hashlib.sha256(data).hexdigest().encode()
        elif key is None or not self.by_regex:
            if data is None:
                raise AuditError("a committed record has a key alone: "
                                 "--key-regex must find it in the data")
            key = self.of_data(data)
        if self._by_stream:
            if stream is None:
                raise AuditError("--by-stream, and a committed record names "
                                 "no stream")
            return self.shorten(self.with_stream(key, stream.encode()))
        return self.shorten(key)

    def of_data(self, data):
        """The key within data; the data itself if none is found."""
        if self._regex is None:
            return data
        match = self._regex.search(data)
        if match is None:
            return data
        return match.group(1) if self._regex.groups else match.group()

    def with_stream(self, key, stream):
        return stream + b"\0" + key if self._by_stream else key

    @staticmethod
    def shorten(key):
        if len(key) <= LONG:
            return key
        return hashlib.blake2b(key, digest_size=16).digest()

    def of_arrived(self, payload, stream):
        """Return [(key, data)] of a journaled payload, mostly one."""
        if self._hashed:
            datas = (payload,)
        else:
            data = binascii.a2b_base64(payload)
            datas = (data,) if self._plain else self._unpack(data)
        return [(self.shorten(self.with_stream(self.of_data(data), stream)),
                 data) for data in datas]

    def _unpack(self, data):
        """The records in an arrived one, as they were committed."""
        if self._gunzip:
            try:
                data = gzip.decompress(data)
            except (OSError, EOFError):
                pass                # no gzip: a phantom, most likely
        if self._split:
            lines = data.split(b"\n")
            return lines[:-1] if lines[-1] == b"" else lines
        if self._strip and data.endswith(b"\n"):
            data = data[:-1]
        return (data,)
