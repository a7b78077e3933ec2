"""Starts an emulator for a Python test or benchmark and talks to it."""

import http.client
import json
import os
import shutil
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))


class EmulatorProcess:
    """An emulator in a temporary directory; a context manager.

    where  the port file: url, tls_url, port, ca_file, listeners, ...
    """

    def __init__(self, *options):
        self.directory = tempfile.mkdtemp(prefix="firehose-emulator-test.")
        port_file = os.path.join(self.directory, "ports.json")
        self.data = os.path.join(self.directory, "data")
        self._process = subprocess.Popen(
            [os.path.join(HERE, "firehose-emulator"), "--quiet",
             "--exit-on-eof", "--dir", self.data, "--port-file", port_file,
             *options], stdin=subprocess.PIPE)
        deadline = time.monotonic() + 20
        while not os.path.exists(port_file):
            if self._process.poll() is not None:
                raise RuntimeError("the emulator did not start")
            if time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("the emulator is not ready")
            time.sleep(0.02)
        with open(port_file, encoding="utf-8") as file:
            self.where = json.load(file)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.stop()

    def stop(self):
        """End the emulator and remove its directory."""
        self._process.stdin.close()
        self._process.wait(10)
        shutil.rmtree(self.directory, ignore_errors=True)

    def control(self, method, path, body=None):
        """Call the control API; return its answer or raise."""
        connection = http.client.HTTPConnection(
            self.where["host"], self.where["control_port"], timeout=30)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, "/_control/" + path, text)
            reply = connection.getresponse()
            answer = json.loads(reply.read())
        finally:
            connection.close()
        if reply.status != 200:
            raise RuntimeError(f"{method} {path}: {answer}")
        return answer

    def rule(self, action, match=None, **parameters):
        """Add a fault rule; return its id."""
        document = {"match": match or {},
                    "action": {"type": action, **parameters}}
        return self.control("POST", "rules", document)["ids"][0]

    def journal(self):
        """The journal's requests, by sequence number."""
        self.control("POST", "flush")
        with open(os.path.join(self.data, "journal.ndjson"),
                  encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        return sorted(lines, key=lambda line: line["seq"])

    def records(self):
        """The journal's records: (seq, stream, index, state, word, data)."""
        with open(os.path.join(self.data, "records.tsv"),
                  encoding="utf-8") as file:
            return [tuple(line.rstrip("\n").split("\t")) for line in file]

    def delivered(self, stream):
        """The bytes that a stream delivered."""
        path = os.path.join(self.data, "streams", stream, "data")
        with open(path, "rb") as file:
            return file.read()
