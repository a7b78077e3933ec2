"""Tests of the emulator's page and of its events.

    /usr/bin/python3 -m unittest discover test/emulator

t/066_page.pl looks at it with a browser.
"""

import json
import os
import re
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from emulator_testcase import EmulatorTestCase, batch_body
from firehose_emulator import page, watch

FILES = ("/", "/_page/page.js", "/_page/page.css")


class Events:
    """A reader of the event stream."""

    def __init__(self, case, host=None):
        self.socket = case.connect()
        self.socket.settimeout(60)
        case.send(self.socket, b"", {"Host": host or "127.0.0.1"},
                  path="/_page/events", method="GET")
        self._file = self.socket.makefile("rb")
        self.head = b""
        while not self.head.endswith(b"\r\n\r\n"):
            line = self._file.readline()
            if not line:
                break
            self.head += line
        self.status = int(self.head.split(b" ")[1])

    def next(self):
        """The next event: its name, and what it tells."""
        name = self._file.readline().decode("ascii")
        data = self._file.readline().decode("ascii")
        assert self._file.readline() == b"\n", (name, data)
        return (re.fullmatch("event: (.*)\n", name)[1],
                json.loads(re.fullmatch("data: (.*)\n", data)[1]))

    def wait(self, wanted, test=bool):
        """The next event of a name that passes a test."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            name, document = self.next()
            if name == wanted and test(document):
                return document
        raise AssertionError(f"no such event {wanted}")

    def close(self):
        self._file.close()
        self.socket.close()


class Page(EmulatorTestCase):

    def events(self, host=None):
        events = Events(self, host)
        self.addCleanup(events.close)
        return events

    def get(self, path, **headers):
        return self.post(b"", {"Host": "127.0.0.1", **headers}, path=path,
                         method="GET")

    def test_files(self):
        for path in FILES:
            reply = self.get(path)
            self.assertEqual(reply.status, 200, path)
            policy = reply.headers["content-security-policy"]
            self.assertIn("default-src 'none'", policy)
            self.assertNotIn("unsafe", policy)
            text = reply.body.decode()
            self.assertNotRegex(text.replace(
                "http://www.w3.org/2000/svg", ""), r"(https?:)?//\w", path)
            self.assertNotRegex(text, "(inner|outer)HTML|insertAdjacent|"
                                r"document\.write|\beval\b|new Function| on\w+=")
        self.assertEqual(self.get("/_page/../page.py").status, 404)
        self.assertEqual(self.get("/_page/other").status, 404)
        self.assertEqual(self.post(b"", {"Host": "127.0.0.1"},
                                   path="/_page/events").status, 405)

    def test_is_none_of_firehoses(self):
        before = self.control("GET", "stats")
        self.emulator.rule("hang_before_body", {"operation": "*"})
        for path in FILES:
            self.assertEqual(self.get(path).status, 200)
        self.events().wait("state")
        after = self.control("GET", "stats")
        for name in ("requests", "connections"):
            self.assertEqual(after[name], before[name], name)
        self.assertEqual(self.emulator.journal(), [])

    def test_records_as_they_arrive(self):
        events = self.events()
        self.assertEqual(events.status, 200)
        events.wait("state")
        self.post(batch_body(b"<script>alert(1)</script>\n", b"\xff\x00\x1b",
                             "\u202egnp.exe \u00e9".encode(), b"x" * 5000))
        records = events.wait("records")
        self.assertEqual([record["data"] for record in records], [
            "<script>alert(1)</script>\\n", "\\xff\\x00\\x1b",
            "\\u202egnp.exe \u00e9", "x" * watch.DATA])
        self.assertEqual([record["cut"] for record in records],
                         [False, False, False, True])
        self.assertEqual([record["bytes"] for record in records],
                         [26, 3, 13, 5000])
        self.assertEqual({(record["stream"], record["state"],
                           record["error"]) for record in records},
                         {("s", "A", None)})
        state = events.wait("state", lambda state: sum(
            state["streams"][0]["accepted_by_second"]) == 4)
        self.assertEqual(state["streams"][0]["accepted"], 4)

    def test_refusals(self):
        events = self.events()

        def refusal():
            return events.wait("refusals")[-1]
        self.post(batch_body(b"x"), self.signed(
            b"x", after={"Authorization": "nonsense"}))
        self.assertEqual(refusal()["reason"], "IncompleteSignatureException")
        rule = self.emulator.rule("throttle", message="<b>slow\0</b>")
        self.post(batch_body(b"x", b"y"))
        found = refusal()
        del found["number"], found["time"]
        self.assertEqual(found, {
            "stream": "s", "records": 2, "reason": "ThrottlingException",
            "message": "<b>slow\\x00</b>", "fault": "throttle"})
        self.control("DELETE", f"rules/{rule}")
        rule = self.emulator.rule("fail_records", indexes=[1])
        self.post(batch_body(b"x", b"y"))
        records = events.wait("records")
        self.assertEqual([record["error"] for record in records[-2:]],
                         [None, "ServiceUnavailableException"])
        found = refusal()
        self.assertEqual((found["records"], found["message"]),
                         (1, "Slow down."))
        self.control("DELETE", f"rules/{rule}")
        rule = self.emulator.rule("truncated_body")
        self.post(batch_body(b"x"))
        found = refusal()
        self.assertEqual((found["records"], found["fault"]),
                         (0, "truncated_body"))
        self.control("DELETE", f"rules/{rule}")
        self.post(batch_body(*[b"x"] * 501))
        self.assertIn("500", refusal()["message"])
        connection = self.connect()
        connection.sendall(b"nonsense\r\n\r\n")
        self.assertEqual(refusal()["reason"], "HTTP 400")
        state = events.wait("state")
        self.assertEqual(sum(state["streams"][0]["refused_by_second"]), 3)

    def test_forgets_at_a_reset(self):
        events = self.events()
        self.post(batch_body(b"before"))
        events.wait("records")
        self.control("POST", "reset")
        events.wait("cleared", lambda _: True)
        self.post(batch_body(b"after"))
        self.assertEqual([record["data"] for record
                          in events.wait("records")], ["after"])

    def test_keeps_little(self):
        for stream in range(watch.STREAMS + 20):
            self.post(batch_body(b"x", stream=f"s{stream}"))
        self.post(batch_body(*[b"y" * 2000] * 500))
        for _ in range(watch.REFUSALS + 20):
            self.post(b"", {"Host": "127.0.0.1"}, path="/other")
        events = self.events()
        records = events.wait("records")
        self.assertEqual(len(records), watch.RECORDS)
        self.assertEqual(sum(record["stream"] == "s" for record in records),
                         watch.PER_CALL)
        self.assertEqual(len(events.wait("refusals")), watch.REFUSALS)
        state = events.wait("state")
        self.assertEqual(len(state["streams"]), page.STREAMS)
        self.assertIn("s", [stream["name"] for stream in state["streams"]])
        self.assertGreater(state["more_streams"], 0)

    def test_one_who_does_not_read(self):
        """A page that stands still holds nothing up and piles nothing up."""
        self.events()
        body = batch_body(*[b"z" * 1000] * 500)

        def resident():
            with open(f"/proc/{self.where['pid']}/status",
                      encoding="ascii") as file:
                return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1])
        connection = self.connect()
        sizes = []
        for _ in range(2):
            for _ in range(60):
                self.send(connection, body, self.signed(body))
                self.assertEqual(self.receive(connection).status, 200)
            sizes.append(resident())
        self.assertLess(sizes[1] - sizes[0], 2048)     # kB; 60 MB came

    def test_so_many_watch(self):
        # those of other tests may not have been seen to leave yet
        deadline = time.monotonic() + 60
        watching = []
        while len(watching) < page.WATCHERS:
            events = self.events()
            if events.status == 200:
                watching.append(events)
            self.assertLess(time.monotonic(), deadline)
        self.assertEqual(self.events().status, 503)
        watching[0].close()
        while self.events().status != 200:
            self.assertLess(time.monotonic(), deadline)

    def test_pages_of_others(self):
        """Neither another site's page nor a site of another name may."""
        rule = b'{"action": {"type": "throttle"}}'
        here = f"127.0.0.1:{self.where['port']}"
        for headers, status in (
                ({"Host": here}, 200),
                ({"Host": "emulator:7400"}, 200),
                ({"Host": here, "Origin": f"http://{here}"}, 200),
                ({"Host": "localhost", "Origin": "http://localhost"}, 200),
                ({"Host": "[::1]:1", "Origin": "http://[::1]:1"}, 200),
                ({"Host": here, "Origin": "https://example.com"}, 403),
                ({"Host": here, "Origin": "null"}, 403),
                ({"Host": "a.example:1", "Origin": "http://a.example:1"},
                 403)):
            headers["Content-Length"] = str(len(rule))
            self.control("DELETE", "rules")
            reply = self.post(rule, headers, path="/_control/rules")
            self.assertEqual(reply.status, status, headers)
            self.assertEqual(len(self.control("GET", "rules")["rules"]),
                             status == 200, headers)
        for path in FILES:
            self.assertEqual(self.get(path, Host="a.example").status, 403)
            self.assertEqual(self.get(path, Host="localhost:1").status, 200)
        self.assertEqual(self.events("a.example").status, 403)


if __name__ == "__main__":
    unittest.main()
