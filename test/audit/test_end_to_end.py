"""A small sender that resends what was not acknowledged, an emulator that
fails at random, and the audit: together they must find nothing.  A sender
that forgets, and one that resends too much, must be found out.
"""

import base64
import http.client
import json
import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "emulator"))

from emulator_process import EmulatorProcess

HEADERS = {"Content-Type": "application/x-amz-json-1.1",
           "X-Amz-Target": "Firehose_20150804.PutRecordBatch"}
FAULTS = ("fail_records", "throttle", "reset_mid_upload",
          "close_before_processing", "close_after_processing",
          "reset_after_processing", "short_reply", "truncated_body",
          "empty_body", "responses_short", "entry_both", "close_on_reuse",
          "failed_put_count")


class Sender:
    """Sends records at least once, in batches of 20."""

    def __init__(self, where):
        self._address = where["host"], where["port"]
        self._connection = None

    def send(self, records, resend=True):
        waiting = list(records)
        while waiting:
            batch, waiting = waiting[:20], waiting[20:]
            failed = self._attempt(batch)
            if resend:
                waiting = failed + waiting

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _attempt(self, batch):
        """Return the records that are not acknowledged."""
        body = json.dumps({"DeliveryStreamName": "s", "Records": [
            {"Data": base64.b64encode(data).decode()} for data in batch]})
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(*self._address)
                self._connection.connect()
            # Not request(): it would reconnect, and resend, by itself.
            self._connection.auto_open = 0
            self._connection.request("POST", "/", body, HEADERS)
            reply = self._connection.getresponse()
            entries = json.loads(reply.read())["RequestResponses"]
            if len(entries) != len(batch):
                raise ValueError("another number of entries")
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            self.close()
            return batch
        return [data for data, entry in zip(batch, entries)
                if "ErrorCode" in entry or not entry.get("RecordId")]


class EndToEnd(unittest.TestCase):
    def setUp(self):
        self.emulator = EmulatorProcess("--no-verify-signature")
        self.addCleanup(self.emulator.stop)
        self.sender = Sender(self.emulator.where)
        self.addCleanup(self.sender.close)
        self.records = [b"record %d\n" % i for i in range(2000)]

    def fail_at_random(self):
        for seed, action in enumerate(FAULTS):
            self.emulator.rule(action, {"probability": 0.08, "seed": seed})

    def audit(self, *options):
        """Return the exit status and the report."""
        self.emulator.control("POST", "flush")
        path = os.path.join(self.emulator.directory, "committed")
        with open(path, "wb") as file:
            file.writelines(base64.b64encode(data) + b"\n"
                            for data in self.records)
        done = subprocess.run(
            [os.path.join(HERE, "firehose-audit"), "--json", "--journal",
             self.emulator.data, "--committed-file", path, *options],
            capture_output=True, text=True)
        return done.returncode, json.loads(done.stdout)

    def test_a_good_sender_is_clean(self):
        self.fail_at_random()
        self.sender.send(self.records)
        status, report = self.audit("--allow-duplicates", "unacknowledged",
                                    "--ordered")
        self.assertEqual((status, report["faults"]), (0, []))
        self.assertGreater(report["resent_unacknowledged"], 100)
        faults = self.emulator.control("GET", "stats")["faults"]
        self.assertEqual(set(FAULTS) - set(faults), set())

    def test_a_forgetful_sender_is_not(self):
        self.fail_at_random()
        self.sender.send(self.records, resend=False)
        status, report = self.audit("--allow-duplicates", "all")
        self.assertEqual((status, report["faults"]), (1, ["lost"]))

    def test_a_babbling_sender_is_not(self):
        self.sender.send(self.records + self.records[:30])
        status, report = self.audit("--allow-duplicates", "unacknowledged")
        self.assertEqual((status, report["resent_acknowledged"]), (1, 30))


if __name__ == "__main__":
    unittest.main()
