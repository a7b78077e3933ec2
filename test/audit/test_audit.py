"""Tests of the audit: each kind of finding is found, and nothing else.

    /usr/bin/python3 -m unittest discover test/audit

The journals are made by the emulator's own store, so the two agree about
their format.
"""

import base64
import gzip
import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "emulator"))

from firehose_emulator.settings import Settings
from firehose_emulator.store import Store


class AuditTestCase(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="firehose-audit.")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.journal = os.path.join(self.directory, "journal")
        self.settings = Settings()
        self.store = Store(self.journal, self.settings)
        self.addCleanup(self.store.close)
        self.clock = 0

    def request(self, *datas, states=None, sent=True, stream="s",
                started=None, replied=None, line=True):
        """Journal a request; it takes a second unless told."""
        states = states or "A" * len(datas)
        seq = self.store.next_sequence()
        self.store.append_records(
            seq, stream, states, ["id"] * len(datas),
            [base64.b64encode(data).decode() for data in datas], datas)
        started = self.clock if started is None else started
        replied = started + 1 if replied is None else replied
        self.clock = max(self.clock, replied) + 1
        if line:
            self.store.append_request(
                {"seq": seq, "started": started, "replied": replied,
                 "reply_sent": sent})

    def file(self, *lines):
        handle, path = tempfile.mkstemp(dir=self.directory)
        with open(handle, "wb") as file:
            file.writelines(line + b"\n" for line in lines)
        return path

    def committed(self, *datas):
        return self.file(*[base64.b64encode(data) for data in datas])

    def audit(self, committed, *options, status=None):
        """Run the audit; return its findings that are not zero."""
        done = subprocess.run(
            [os.path.join(HERE, "firehose-audit"), "--json", "--journal",
             self.journal, "--committed-file", committed, *options],
            capture_output=True, text=True)
        if status is not None:
            self.assertEqual(done.returncode, status,
                             done.stdout + done.stderr)
        if done.returncode == 2:
            return done.stderr
        answer = json.loads(done.stdout)
        self.assertEqual(answer["clean"], done.returncode == 0)
        return {kind: answer[kind] for kind in answer["examples"]
                if answer[kind]}


class Findings(AuditTestCase):
    def test_clean(self):
        self.request(b"a", b"b")
        self.request(b"\0\xff")
        self.assertEqual(
            self.audit(self.committed(b"a", b"b", b"\0\xff"), "--ordered",
                       status=0), {})

    def test_nothing_at_all(self):
        self.assertEqual(self.audit(self.file(), status=0), {})
        self.assertEqual(self.audit(self.committed(b"a"), status=1),
                         {"lost": 1})

    def test_lost(self):
        self.request(b"a", b"b", states="AR")
        self.assertEqual(self.audit(self.committed(b"a", b"b", b"c"),
                                    status=1), {"lost": 2})

    def test_elsewhere(self):
        self.request(b"a")
        self.assertEqual(
            self.audit(self.committed(b"a", b"b"), "--elsewhere-file",
                       self.committed(b"b", b"never"), status=0),
            {"excused": 1})

    def test_phantom(self):
        self.request(b"a", b"x")
        self.assertEqual(self.audit(self.committed(b"a"), status=1),
                         {"phantom": 1})

    def test_equal_records_are_counted(self):
        self.request(b"a", b"a", b"a")
        self.assertEqual(self.audit(self.committed(*[b"a"] * 3), status=0),
                         {})
        self.assertEqual(self.audit(self.committed(*[b"a"] * 4), status=1),
                         {"lost": 1})
        self.assertEqual(self.audit(self.committed(*[b"a"] * 2), status=1),
                         {"resent_unacknowledged": 1})

    def test_long_records(self):
        self.request(b"x" * 100000 + b"1")
        self.assertEqual(
            self.audit(self.committed(b"x" * 100000 + b"1",
                                      b"x" * 100000 + b"2"), status=1),
            {"lost": 1})


class Duplicates(AuditTestCase):
    def check(self, findings, *datas):
        """Resends found; allowed only by what allows them."""
        committed = self.committed(*datas)
        needless = "resent_acknowledged" in findings
        self.assertEqual(self.audit(committed, status=1), findings)
        self.audit(committed, "--allow-duplicates", "unacknowledged",
                   status=int(needless))
        self.audit(committed, "--allow-duplicates", "all", status=0)
        self.audit(committed, "--allow-duplicates", "all",
                   "--max-duplicates", "0", status=1)

    def test_after_a_lost_reply(self):
        self.request(b"a", b"b", sent=False)
        self.request(b"a", b"b")
        self.check({"resent_unacknowledged": 2}, b"a", b"b")

    def test_after_an_unfinished_request(self):
        self.request(b"a", line=False)
        self.request(b"a")
        self.check({"resent_unacknowledged": 1}, b"a")

    def test_after_an_entry_that_lied(self):
        self.request(b"a", b"b", states="AU")
        self.request(b"b")
        self.check({"resent_unacknowledged": 1}, b"a", b"b")

    def test_after_an_acknowledgement(self):
        self.request(b"a", b"b")
        self.request(b"b")
        self.check({"resent_acknowledged": 1}, b"a", b"b")

    def test_both(self):
        self.request(b"a", sent=False)
        self.request(b"a")
        self.request(b"a")
        self.check({"resent_unacknowledged": 1, "resent_acknowledged": 1},
                   b"a")

    def test_resent_before_the_acknowledgement_left(self):
        self.request(b"a", started=0, replied=10)
        self.request(b"a", started=5, replied=6)
        self.check({"resent_unacknowledged": 1}, b"a")

    def test_refused_attempts_are_no_duplicates(self):
        self.request(b"a", states="R")
        self.request(b"a")
        self.assertEqual(self.audit(self.committed(b"a"), status=0), {})

    def test_never_acknowledged(self):
        self.request(b"a", sent=False)
        self.assertEqual(self.audit(self.committed(b"a"), status=0),
                         {"unconfirmed": 1})


class Order(AuditTestCase):
    def test_first_attempts_count(self):
        self.request(b"1", b"2", states="RA")
        self.request(b"1", b"3")
        self.assertEqual(self.audit(self.committed(b"1", b"2", b"3"),
                                    "--ordered", status=0), {})

    def test_disorder(self):
        self.request(b"2", b"1", b"3")
        committed = self.committed(b"1", b"2", b"3")
        self.assertEqual(self.audit(committed, "--ordered", status=1),
                         {"disordered": 1})
        self.audit(committed, status=0)

    def test_streams_are_separate(self):
        self.request(b"2", stream="t")
        self.request(b"1")
        self.audit(self.committed(b"1", b"2"), "--ordered", status=0)


class Identity(AuditTestCase):
    REGEX = r'"id": (\d+)'

    def test_corrupt(self):
        self.request(b'{"id": 1, "v": "x"}', b'{"id": 2, "v": "CHANGED"}')
        self.assertEqual(
            self.audit(self.committed(b'{"id": 1, "v": "x"}',
                                      b'{"id": 2, "v": "y"}'),
                       "--key-regex", self.REGEX, status=1), {"corrupt": 1})

    def test_keys_alone(self):
        committed = self.file(b'{"key": 1}', b'{"key": "2"}')
        self.request(b'{"id": 1}', b'{"id": 2, "v": 1}', sent=False)
        self.audit(committed, "--key-regex", self.REGEX, status=0)
        self.request(b'{"id": 2, "v": 2}')
        self.assertEqual(
            self.audit(committed, "--key-regex", self.REGEX, status=1),
            {"corrupt": 1, "resent_unacknowledged": 1, "unconfirmed": 1})
        self.assertIn("--key-regex", self.audit(committed, status=2))

    def test_streams(self):
        self.request(b"a", stream="s1")
        self.request(b"b", stream="s1")
        committed = self.file(b'{"text": "a", "stream": "s1"}',
                              b'{"text": "b", "stream": "s2"}')
        self.audit(committed, status=0)
        self.assertEqual(self.audit(committed, "--by-stream", status=1),
                         {"lost": 1, "phantom": 1})
        self.audit(self.committed(b"a"), "--by-stream", status=2)
        self.assertEqual(self.audit(committed, "--stream", "s2", status=1),
                         {"lost": 2})

    def test_hashes(self):
        self.settings.journal_data = "hash"
        self.request(b"a", b"b", b"b")
        self.assertEqual(self.audit(self.committed(b"a", b"b", b"c"),
                                    status=1),
                         {"lost": 1, "resent_unacknowledged": 1})
        self.audit(self.committed(b"a"), "--key-regex", "a", status=2)

    def test_no_data(self):
        self.settings.journal_data = "none"
        self.request(b"a")
        self.audit(self.committed(b"a"), status=2)


class Forms(AuditTestCase):
    def test_lines(self):
        data = '\u00e9"\\'.encode()
        self.request(data, data, data)
        self.audit(self.file(json.dumps(data.decode()).encode(),
                             base64.b64encode(data),
                             json.dumps({"text": data.decode()}).encode()),
                   status=0)
        self.audit(self.file(data, data, data), "--format", "text", status=0)

    def test_wrong_lines(self):
        for line in (b'{"page": "/"}', b"\xff", b'"', b"{", b"{}"):
            self.assertIn(":1: not auto", self.audit(self.file(line),
                                                     status=2))

    def test_newline(self):
        self.request(b"a\n", b"b")
        self.audit(self.committed(b"a", b"b"), "--strip-newline", status=0)

    def test_packed_and_compressed(self):
        self.request(b"a\nb\n", b"c")
        self.audit(self.committed(b"a", b"b", b"c"), "--split-lines",
                   status=0)
        self.request(gzip.compress(b"d\ne\n"))
        self.audit(self.committed(b"a", b"b", b"c", b"d", b"e"), "--gunzip",
                   "--split-lines", status=0)

    def test_text_report(self):
        self.request(b"a", b"x")
        done = subprocess.run(
            [os.path.join(HERE, "firehose-audit"), "--journal", self.journal,
             "--committed-file", self.committed(b"a")], capture_output=True,
            text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("FAULT: phantom (never committed): 1\n    'x'",
                      done.stdout)


if __name__ == "__main__":
    unittest.main()
