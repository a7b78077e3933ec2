"""Tests of the scripted faults: each does what it says, on the wire and in
the journal, when its rule says so.
"""

import gzip
import json
import os
import ssl
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from emulator_testcase import EmulatorTestCase, batch_body
from firehose_emulator.actions import ACTIONS


class Rules(EmulatorTestCase):
    """When a rule fires."""

    def fired(self, match, puts=6, stream="s"):
        """Statuses of some puts under a rule."""
        self.emulator.rule("http_error", match)
        return [self.post(batch_body(b"x%d" % i, stream=stream)).status
                for i in range(puts)]

    def test_skip_every_count(self):
        self.assertEqual(self.fired({"skip": 1, "every": 2, "count": 2}),
                         [200, 500, 200, 500, 200, 200])
        rule = self.control("GET", "rules")["rules"][0]
        self.assertEqual((rule["matched"], rule["fired"]), (6, 2))

    def test_probability_is_seeded(self):
        first = self.fired({"probability": 0.5, "seed": 7}, 12)
        self.control("DELETE", "rules")
        self.assertEqual(first,
                         self.fired({"probability": 0.5, "seed": 7}, 12))
        self.assertEqual({200, 500}, set(first))

    def test_stream_operation_content(self):
        self.assertEqual(self.fired({"stream": "other*"}, 1), [200])
        self.assertEqual(self.fired({"operation": "PutRecord"}, 1), [200])
        self.assertEqual(self.fired({"containing": "x2"}, 4),
                         [200, 200, 500, 200])

    def test_remove(self):
        number = self.emulator.rule("http_error")
        self.control("DELETE", f"rules/{number}")
        self.assertEqual(self.post(batch_body(b"x")).status, 200)

    def test_nonsense_is_refused(self):
        for rule in ({}, {"action": {"type": "nothing"}},
                     {"action": {"type": "delay", "second": 1}},
                     {"action": {"type": "delay"}, "match": {"table": 1}},
                     {"action": {"type": "delay"}, "when": {}}):
            with self.assertRaises(RuntimeError):
                self.control("POST", "rules", rule)


class Faults(EmulatorTestCase):
    """Each fault does what it says, on the wire and in the journal."""

    OPTIONS = ("--tls-port", "0")

    def strike(self, action, request_body=None, match=None,
               **parameters):
        """One request under a fault: its reply, its journal line."""
        self.control("DELETE", "rules")
        self.emulator.rule(action, match, **parameters)
        request_body = request_body or batch_body(b"a", b"b", b"c")
        try:
            reply = self.post(request_body)
        except ConnectionResetError:
            reply = "reset"
        line = self.last_line()
        self.assertEqual(line["fault"], action)
        self.states = "".join(r[3] for r in self.emulator.records())
        self.control("POST", "reset", {"journal": True})
        return reply, line

    def test_failed_records(self):
        reply, line = self.strike("fail_records", batch_body(*[b"x"] * 100),
                                  {"seed": 3}, probability=0.3)
        failed = [e.get("ErrorCode") for e in reply.json["RequestResponses"]]
        self.assertEqual(failed.count("ServiceUnavailableException"),
                         reply.json["FailedPutCount"])
        self.assertEqual(line["refused"], reply.json["FailedPutCount"])
        self.assertTrue(10 < line["refused"] < 60)
        self.assertEqual(self.states,
                         "".join("R" if e else "A" for e in failed))
        reply, line = self.strike("fail_records", containing="b",
                                  code="InternalFailure")
        self.assertEqual(self.states, "ARA")
        reply, line = self.strike("fail_all_records")
        self.assertEqual((line["accepted"], self.states), (0, "RRR"))
        body = b'{"DeliveryStreamName":"s","Record":{"Data":""}}'
        self.emulator.rule("fail_all_records")
        reply = self.post(body, self.signed(body, "PutRecord"))
        self.assertEqual((reply.status, reply.error),
                         (503, "ServiceUnavailableException"))

    def test_error_documents(self):
        for action, status, code in (
                ("throttle", 400, "ThrottlingException"),
                ("service_unavailable", 503, "ServiceUnavailableException"),
                ("access_denied", 400, "AccessDeniedException"),
                ("kms_fault", 400, "InvalidKMSResourceException"),
                ("invalid_source", 400, "InvalidSourceException"),
                ("unknown_stream", 400, "ResourceNotFoundException"),
                ("expired_signature", 400, "InvalidSignatureException"),
                ("expired_token", 400, "ExpiredTokenException"),
                ("unknown_operation", 400, "UnknownOperationException"),
                ("internal_failure", 500, "InternalFailure")):
            with self.subTest(action=action):
                reply, line = self.strike(action)
                self.assertEqual((reply.status, reply.error), (status, code))
                self.assertEqual((line["status"], line["error"],
                                  line["accepted"], self.states),
                                 (status, code, 0, "RRR"))

    def test_http_error(self):
        reply, _ = self.strike("http_error", status=429,
                               headers={"x-amz-retry-after": "1500"})
        self.assertEqual((reply.status, reply.headers["x-amz-retry-after"]),
                         (429, "1500"))
        reply, _ = self.strike("http_error", status=400, code="Throttling",
                               code_in="header", message="Rate")
        self.assertEqual((reply.headers["x-amzn-errortype"], reply.json),
                         ("Throttling", {"message": "Rate"}))
        reply, _ = self.strike("http_error", status=502, body="<html>",
                               content_type="text/html")
        self.assertEqual((reply.status, reply.body), (502, b"<html>"))
        reply, _ = self.strike("redirect", status=301,
                               location="http://127.0.0.1:9/")
        self.assertEqual((reply.status, reply.headers["location"]),
                         (301, "http://127.0.0.1:9/"))

    def test_size_limits(self):
        for limit in ({"call_bytes": 2}, {"records": 2}, {"record_bytes": 0}):
            reply, _ = self.strike("size_limit", **limit)
            self.assertEqual(reply.error, "InvalidArgumentException")
        reply, _ = self.strike("size_limit_413", records=2)
        self.assertEqual((reply.status, reply.body), (413, b""))
        self.emulator.rule("size_limit", records=3, call_bytes=3)
        self.assertEqual(self.post(batch_body(b"a", b"b", b"c")).status, 200)
        self.assertIsNone(self.last_line()["fault"])

    def test_no_reply(self):
        for when, accepted in (("before", 0), ("after", 3)):
            for how, expected in (("close", None), ("reset", "reset")):
                with self.subTest(when=when, how=how):
                    reply, line = self.strike(f"{how}_{when}_processing")
                    if expected is None:
                        self.assertIsNone(reply.status)
                    else:
                        self.assertEqual(reply, expected)
                    self.assertEqual(
                        (line["accepted"], line["acknowledged"],
                         line["reply_sent"], line["status"]),
                        (accepted, 0, False, None))
                    self.assertEqual(self.states,
                                     "AAA" if accepted else "RRR")

    def test_hang(self):
        for action, accepted in (("hang_before_processing", 0),
                                 ("hang_after_processing", 3),
                                 ("hang_before_body", 0)):
            with self.subTest(action=action):
                self.control("POST", "reset", {"journal": True})
                self.emulator.rule(action)
                connection = self.connect()
                self.send(connection, batch_body(b"a", b"b", b"c"))
                connection.settimeout(0.2)
                with self.assertRaises(TimeoutError):
                    connection.recv(1)
                self.assertEqual(self.emulator.journal(), [])
                if action == "hang_before_body":
                    dropped = self.control("POST", "connections",
                                           {"which": "stuck"})
                    self.assertEqual(dropped, {"dropped": 1})
                else:
                    connection.close()
                line = self.last_line()
                self.assertEqual(
                    (line["fault"], line["accepted"], line["reply_sent"]),
                    (action, accepted, False))

    def test_mid_upload(self):
        for action, expected in (("reset_mid_upload", ConnectionResetError),
                                 ("close_mid_upload", None)):
            with self.subTest(action=action):
                self.control("POST", "reset", {"journal": True})
                self.emulator.rule(action, {"stream": "s"}, after_bytes=3000)
                body = batch_body(b"x" * 9000)
                connection = self.connect()
                self.send(connection, body[:4000], self.signed(body))
                if expected:
                    with self.assertRaises(expected):
                        connection.recv(1)
                else:
                    self.assertEqual(connection.recv(1), b"")
                line = self.last_line()
                self.assertEqual((line["fault"], line["stream"],
                                  line["accepted"]), (action, "s", 0))
                self.assertGreaterEqual(line["body_bytes"], 3000)

    def test_client_gives_up_in_mid_upload(self):
        body = batch_body(b"x" * 9000)
        connection = self.connect()
        self.send(connection, body[:4000], self.signed(body))
        connection.close()
        line = self.last_line()
        self.assertEqual((line["fault"], line["stream"], line["body_bytes"]),
                         (None, "s", 4000))

    def test_early_reply(self):
        self.emulator.rule("early_reply", status=413, body="")
        body = batch_body(b"x" * 9000)
        connection = self.connect()
        self.send(connection, body[:100], self.signed(body))
        reply = self.receive(connection)
        self.assertEqual((reply.status, reply.headers["connection"]),
                         (413, "close"))
        self.assertEqual(self.last_line()["status"], 413)

    def test_continue(self):
        body = batch_body(b"x")
        headers = self.signed(body, after={"Expect": "100-continue"})
        self.emulator.rule("no_continue", {"count": 1})
        connection = self.connect()
        self.send(connection, b"", headers)
        connection.settimeout(0.2)
        with self.assertRaises(TimeoutError):
            connection.recv(1)
        connection.settimeout(5)
        connection.sendall(body)
        self.assertEqual(self.receive(connection).status, 200)
        self.emulator.rule("expectation_failed")
        connection = self.connect()
        self.send(connection, b"", headers)
        self.assertEqual(self.receive(connection).status, 417)

    def test_reuse(self):
        for how in ("close", "reset"):
            with self.subTest(how=how):
                self.control("POST", "reset", {"journal": True})
                self.emulator.rule(f"{how}_on_reuse", {"count": 1})
                connection = self.connect()
                self.send(connection, batch_body(b"a"))
                self.assertEqual(self.receive(connection).status, 200)
                try:
                    self.send(connection, batch_body(b"b"))
                    self.assertEqual(connection.recv(1), b"")
                except ConnectionError:
                    pass
                self.assertEqual(self.post(batch_body(b"b")).status, 200)
                self.assertEqual(
                    [line["fault"] for line in self.emulator.journal()],
                    [None, f"{how}_on_reuse", None])

    def test_idle_connections_are_dropped(self):
        connection = self.connect()
        self.send(connection, batch_body(b"a"))
        self.receive(connection)
        self.assertEqual(self.control("POST", "connections",
                                      {"which": "idle"}), {"dropped": 1})
        self.assertEqual(connection.recv(1), b"")

    def test_close_after_reply(self):
        reply, line = self.strike("close_after_reply")
        self.assertEqual(reply.status, 200)
        self.assertNotIn("connection", reply.headers)
        self.assertEqual((line["acknowledged"], line["reply_sent"]),
                         (3, True))

    def test_delay(self):
        begun = time.monotonic()
        reply, line = self.strike("delay", seconds=0.3)
        self.assertGreaterEqual(time.monotonic() - begun, 0.3)
        self.assertEqual(line["acknowledged"], 3)
        # A client that leaves meanwhile was not acknowledged.
        self.emulator.rule("delay", seconds=0.3)
        connection = self.connect()
        self.send(connection, batch_body(b"a"))
        time.sleep(0.05)
        connection.close()
        line = self.last_line()
        self.assertEqual((line["accepted"], line["acknowledged"],
                          line["reply_sent"]), (1, 0, False))

    def test_concurrency_is_counted(self):
        self.emulator.rule("delay", seconds=0.2)
        threads = [threading.Thread(target=self.post,
                                    args=(batch_body(b"a"),))
                   for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stream = self.control("GET", "stats")["streams"]["s"]
        self.assertEqual((stream["max_in_flight"], stream["in_flight"]),
                         (4, 0))

    def test_slow_reply(self):
        begun = time.monotonic()
        reply, line = self.strike("slow_reply", bytes_per_second=5000)
        self.assertGreaterEqual(time.monotonic() - begun, 0.1)
        self.assertEqual((len(reply.json["RequestResponses"]),
                          line["acknowledged"]), (3, 3))

    def test_slow_reply_over_tls(self):
        self.emulator.rule("slow_reply", bytes_per_second=5000)
        self.emulator.rule("delay", seconds=0.1)
        reply = self.client(tls=True).put_record(DeliveryStreamName="s",
                                                 Record={"Data": b"x"})
        self.assertIn("RecordId", reply)
        line = self.last_line()
        self.assertEqual((line["fault"], line["acknowledged"]),
                         ("delay+slow_reply", 1))

    def test_short_reply(self):
        reply, line = self.strike("short_reply", missing_bytes=10)
        self.assertEqual(int(reply.headers["content-length"]),
                         len(reply.body) + 10)
        self.assert_lost(line)

    def assert_lost(self, line):
        """Stored, though no reply said so."""
        self.assertEqual((line["accepted"], line["acknowledged"],
                          line["reply_sent"]), (3, 0, False))
        self.assertEqual(self.states, "AAA")

    def test_bodies(self):
        def broken(body):
            try:
                json.loads(body)
            except (ValueError, RecursionError):
                return True
            return False

        for action, parameters, check in (
                ("empty_body", {}, lambda body: body == b""),
                ("truncated_body", {}, broken),
                ("garbage_body", {}, broken),
                ("html_body", {}, lambda body: b"<html>" in body),
                ("xml_body", {}, lambda body: b"<?xml" in body),
                ("nul_body", {}, lambda body: b"\0" in body),
                ("huge_body", {}, lambda body: len(body) == 20 << 20),
                ("deep_body", {}, lambda body: b"[" * 200000 in body),
                ("duplicate_keys_body", {},
                 lambda body: body.count(b'"RequestResponses"') == 2),
                ("wrong_type_body", {"body": "null"},
                 lambda body: body == b"null")):
            with self.subTest(action=action):
                reply, line = self.strike(action, **parameters)
                self.assertEqual(reply.status, 200)
                self.assertTrue(check(reply.body))
                self.assert_lost(line)

    def test_good_replies_in_other_forms(self):
        for action in ("chunked_reply", "reply_until_close"):
            self.emulator.rule(action)
            reply = self.client().put_record_batch(
                DeliveryStreamName="s", Records=[{"Data": b"x"}] * 3)
            self.assertEqual(len(reply["RequestResponses"]), 3)
            self.assertEqual(self.last_line()["acknowledged"], 3)
            self.control("POST", "reset", {"journal": True})

    def test_lying_count(self):
        for parameters, count in (({}, 1), ({"offset": -1}, -1),
                                  ({"value": 3}, 3),
                                  ({"missing": True}, None)):
            reply, line = self.strike("failed_put_count", **parameters)
            self.assertEqual(reply.json.get("FailedPutCount"), count)
            self.assertEqual(line["acknowledged"], 3)

    def test_lying_responses(self):
        for action, length in (("responses_short", 2), ("responses_long", 4),
                               ("responses_missing", 0)):
            reply, line = self.strike(action)
            self.assertEqual(len(reply.json.get("RequestResponses", ())),
                             length)
            self.assertEqual((line["accepted"], line["acknowledged"],
                              self.states), (3, 0, "UUU"))

    def test_lying_entries(self):
        for action, keys in (
                ("entry_both", {"RecordId", "ErrorCode", "ErrorMessage"}),
                ("entry_neither", set()), ("bad_record_id", {"RecordId"})):
            reply, line = self.strike(action, indexes=[1])
            self.assertEqual(set(reply.json["RequestResponses"][1]), keys)
            self.assertEqual((line["accepted"], line["acknowledged"],
                              self.states), (3, 2, "AUA"))

    def test_damaged_and_not_stored(self):
        """With stored=False, what a reply does not say is not there."""
        for action in ("short_reply", "chunked_short_reply", "gzip_reply",
                       "truncated_body", "html_body", "nul_body",
                       "responses_short", "responses_long",
                       "responses_missing", "entry_both", "entry_neither",
                       "bad_record_id"):
            with self.subTest(action=action):
                _, line = self.strike(action, stored=False)
                self.assertEqual((line["accepted"], line["refused"],
                                  line["acknowledged"], self.states),
                                 (0, 3, 0, "RRR"))
        for action in ("responses_short", "responses_long",
                       "responses_missing"):
            with self.subTest(action=action, operation="PutRecord"):
                self.control("DELETE", "rules")
                self.emulator.rule(action, stored=False)
                body = b'{"DeliveryStreamName":"s","Record":{"Data":"YQ=="}}'
                reply = self.post(body, self.signed(body, "PutRecord"))
                self.assertNotIn("RecordId", reply.json)
                self.control("POST", "reset", {"journal": True})
        self.control("DELETE", "rules")
        self.emulator.rule("entry_both", indexes=[1], stored=False)
        self.post(batch_body(b"a", b"b", b"c"))
        self.assertEqual(self.emulator.delivered("s"), b"ac")
        self.assertEqual([record[3:5] for record in self.emulator.records()
                          if record[3] == "R"], [("R", "entry_both")])

    def test_incomplete_replies(self):
        reply, line = self.strike("chunked_short_reply")
        self.assertTrue(reply.body.endswith(b"\r\n"))
        self.assertNotIn(b"\r\n0\r\n", reply.body)
        self.assert_lost(line)
        reply, line = self.strike("gzip_reply")
        self.assertEqual(len(json.loads(gzip.decompress(reply.body))
                             ["RequestResponses"]), 3)
        self.assert_lost(line)

    def test_service_time(self):
        for datas, seconds in (([b"a"], 0.2), ([b"a"] * 5, 0.6),
                               ([b"a" * 1000], 0.4)):
            # a busy machine may add to any single one, but not to each
            for _ in range(10):
                begun = time.monotonic()
                self.strike("delay", batch_body(*datas), seconds=0.1,
                            per_record=0.1, per_byte=0.0002)
                took = time.monotonic() - begun
                self.assertGreaterEqual(took, seconds)
                if took < seconds + 0.15:
                    break
            self.assertLess(took, seconds + 0.15)

    def test_every_action_is_documented(self):
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                            "README.md")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        self.assertEqual([name for name in ACTIONS
                          if f"`{name}`" not in text], [])


class Uplinks(EmulatorTestCase):
    """Uploads over a slow line."""

    OPTIONS = ("--tls-port", "0")

    def upload(self, connections, **uplink):
        """Seconds until all of some uploads of 20 kB are answered."""
        self.control("POST", "uplink", uplink)
        body = batch_body(b"x" * 15000)
        begun = time.monotonic()
        threads = [threading.Thread(target=self.post, args=(body,))
                   for _ in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({line["status"] for line
                          in self.emulator.journal()[-connections:]}, {200})
        return time.monotonic() - begun

    def test_rate(self):
        alone = self.upload(1, bytes_per_second=60000)
        self.assertTrue(0.3 < alone < 0.8, alone)
        each = self.upload(3, bytes_per_second=60000, shared=False)
        self.assertTrue(0.3 < each < 0.8, each)
        together = self.upload(3, bytes_per_second=60000)
        self.assertTrue(0.9 < together < 1.6, together)
        self.control("DELETE", "uplink")
        self.control("POST", "uplink", {"bytes_per_second": 1})
        self.control("POST", "reset")
        self.assertEqual(self.post(batch_body(b"x" * 15000)).status, 200)

    def test_over_tls(self):
        self.control("POST", "uplink", {"bytes_per_second": 100000})
        begun = time.monotonic()
        self.client(tls=True).put_record(DeliveryStreamName="s",
                                         Record={"Data": b"x" * 30000})
        self.assertGreaterEqual(time.monotonic() - begun, 0.35)

    def test_nonsense_is_refused(self):
        for uplink in ({}, {"bytes_per_second": 0}, {"rate": 1}):
            with self.assertRaises(RuntimeError):
                self.control("POST", "uplink", uplink)


class BadListeners(EmulatorTestCase):
    """Listeners that a careful client refuses."""

    OPTIONS = ("--tls-port", "0", "--listener", "expired")

    def handshake(self, mode, **settings):
        port = self.where["listeners"].get(mode) or self.control(
            "POST", "listeners", {"mode": mode})["port"]
        context = ssl.create_default_context(cafile=self.where["ca_file"])
        for name, value in settings.items():
            setattr(context, name, value)
        with context.wrap_socket(self.connect(port),
                                 server_hostname="127.0.0.1") as wrapped:
            return wrapped.version()

    def test_certificates(self):
        self.assertEqual(self.handshake("https"), "TLSv1.3")
        for mode, reason in (("expired", "expired"),
                             ("wrong-host", "mismatch"),
                             ("self-signed", "self-signed")):
            with self.subTest(mode=mode):
                with self.assertRaisesRegex(ssl.SSLCertVerificationError,
                                            reason):
                    self.handshake(mode)

    def test_tls_1_1(self):
        with self.assertRaises(ssl.SSLError):
            self.handshake("tls1.1")
        self.assertIn("tls1.1", self.control("GET", "health")["ports"])

    def test_silent(self):
        port = self.control("POST", "listeners", {"mode": "silent"})["port"]
        connection = self.connect(port)
        connection.sendall(b"POST / HTTP/1.1\r\n\r\n")
        connection.settimeout(0.2)
        with self.assertRaises(TimeoutError):
            connection.recv(1)

    def test_unknown_mode(self):
        with self.assertRaises(RuntimeError):
            self.control("POST", "listeners", {"mode": "odd"})


if __name__ == "__main__":
    unittest.main()
