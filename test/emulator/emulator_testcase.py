"""What the emulator's tests share: an emulator, clients, raw sockets."""

import base64
import json
import re
import socket
import time
import unittest

import botocore.config
import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from emulator_process import EmulatorProcess

KEY = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
JSON_TYPE = "application/x-amz-json-1.1"


def batch_body(*datas, stream="s"):
    return json.dumps({
        "DeliveryStreamName": stream,
        "Records": [{"Data": base64.b64encode(data).decode()}
                    for data in datas]}).encode()


class HttpReply:
    """A reply as it came over the wire."""

    def __init__(self, raw):
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1]) if raw else None
        self.headers = {name.lower(): value for name, _, value in
                        (line.partition(": ") for line in lines[1:])}

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json["__type"]


class EmulatorTestCase(unittest.TestCase):
    """Runs against one emulator for the class, reset before each test."""

    OPTIONS = ()

    @classmethod
    def setUpClass(cls):
        cls.emulator = EmulatorProcess(*cls.OPTIONS)
        cls.where = cls.emulator.where

    @classmethod
    def tearDownClass(cls):
        cls.emulator.stop()

    def setUp(self):
        self.control("POST", "reset", {"journal": True})
        self._sockets = []

    def tearDown(self):
        for opened in self._sockets:
            opened.close()

    def control(self, *arguments):
        return self.emulator.control(*arguments)

    def client(self, tls=False, retries=1, **options):
        """A botocore client that tries once."""
        config = botocore.config.Config(
            retries={"total_max_attempts": retries}, connect_timeout=5,
            read_timeout=options.pop("read_timeout", 5))
        client = botocore.session.Session().create_client(
            "firehose", config=config,
            endpoint_url=self.where["tls_url" if tls else "url"],
            verify=self.where["ca_file"] if tls else None,
            **{"region_name": "us-east-1", "aws_access_key_id": KEY,
               "aws_secret_access_key": SECRET, **options})
        self.addCleanup(client.close)
        return client

    # -- raw requests

    def signed(self, body, operation="PutRecordBatch", token=None, **change):
        """Headers of a signed request; change replaces or removes some."""
        headers = {"Content-Type": JSON_TYPE,
                   "X-Amz-Target": "Firehose_20150804." + operation,
                   "Host": f"127.0.0.1:{self.where['port']}"}
        headers.update(change.pop("before", {}))
        request = AWSRequest("POST", "http://x/", headers, body)
        SigV4Auth(Credentials(KEY, SECRET, token), "firehose",
                  change.pop("region", "us-east-1")).add_auth(request)
        headers = dict(request.headers.items())
        headers["Content-Length"] = str(len(body))
        headers.update(change.pop("after", {}))
        return {name: value for name, value in headers.items()
                if value is not None}

    def connect(self, port=None):
        opened = socket.create_connection(
            ("127.0.0.1", port or self.where["port"]), timeout=5)
        self._sockets.append(opened)
        return opened

    def send(self, connection, body, headers=None, path="/", method="POST"):
        headers = headers if headers is not None else self.signed(body)
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in headers.items())
        connection.sendall(head.encode("latin-1") + b"\r\n" + body)

    def receive(self, connection):
        """Read one reply by its Content-Length, or up to the end."""
        raw = b""
        while True:
            head, found, body = raw.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            if found and length and len(body) >= int(length.group(1)):
                return HttpReply(raw)
            piece = connection.recv(1 << 20)
            if not piece:
                return HttpReply(raw)
            raw += piece

    def post(self, body, headers=None, **how):
        """One request on a connection of its own."""
        connection = self.connect()
        self.send(connection, body, headers, **how)
        return self.receive(connection)

    def last_line(self, seq=None):
        """The journal's last line, waited for."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            lines = [line for line in self.emulator.journal()
                     if seq in (None, line["seq"])]
            if lines:
                return lines[-1]
            time.sleep(0.01)
        self.fail("nothing was journaled")
