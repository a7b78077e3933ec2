"""Tests of the emulator's service: what it takes, refuses and remembers.

    /usr/bin/python3 -m unittest discover test/emulator

It is driven by botocore's own client, which shows that it speaks Firehose,
and by raw sockets, which show that it is strict.
"""

import base64
import os
import socket
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from emulator_testcase import (JSON_TYPE, KEY, SECRET, EmulatorTestCase,
                               batch_body)
from firehose_emulator.settings import Settings
from firehose_emulator.sigv4 import Key, Verifier
from firehose_emulator.store import Store

# From section 7 of the API reference: (host, region, operation, body, token,
# signature), all at 20150830T123600Z.
BATCH = b'{"DeliveryStreamName":"t1","Records":[{"Data":"YQo="}]}'
KNOWN_SIGNATURES = (
    ("firehose.us-east-1.amazonaws.com", "us-east-1", "PutRecordBatch",
     BATCH, None,
     "49db2ff603e7567ac777d5fa87e4b0c2ddf2e6a70e6b52f7c095b6297eea3f7b"),
    ("firehose.us-east-1.amazonaws.com", "us-east-1", "PutRecordBatch",
     BATCH, "AQoDYXdzEPT//////////wEXAMPLE+/=",
     "1bcca2ecc801a5fd2a571f3321dd39bcf907aecc4c3eacf879ecb8dbd2ff18d7"),
    ("firehose.cn-north-1.amazonaws.com.cn", "cn-north-1", "PutRecord",
     b'{"DeliveryStreamName":"t1","Record":{"Data":""}}', None,
     "421aa1457fa74a7a3904fed912a05f4eca68159b3b3dfa2bd6ea27f5100cca7a"),
    ("127.0.0.1:7400", "us-east-1", "PutRecordBatch", BATCH, None,
     "535297a134db627d446229a13544d8466625c68f6095ae5dddb17524a87782dc"),
)


class KnownSignatures(unittest.TestCase):
    """The verifier agrees with signatures known from elsewhere."""

    def test_known(self):
        now = 1440938160
        for host, region, operation, body, token, known in KNOWN_SIGNATURES:
            signed = "content-type;host;x-amz-date;" + (
                "x-amz-security-token;" if token else "") + "x-amz-target"
            request = type("Request", (), {})()
            request.method, request.path, request.body = "POST", "/", body
            request.headers = {
                "content-type": JSON_TYPE, "host": host,
                "x-amz-date": "20150830T123600Z",
                "x-amz-target": "Firehose_20150804." + operation,
                "authorization": "AWS4-HMAC-SHA256 Credential="
                f"{KEY}/20150830/{region}/firehose/aws4_request, "
                f"SignedHeaders={signed}, Signature={known}"}
            if token:
                request.headers["x-amz-security-token"] = token
            verifier = Verifier(region, [Key(KEY, SECRET, token)])
            self.assertEqual(verifier.verify(request, now), KEY)


class Service(EmulatorTestCase):
    """What a well-behaved client sees, over HTTP and HTTPS."""

    OPTIONS = ("--tls-port", "0", "--stream", "made")

    def test_put_record(self):
        for tls in (False, True):
            with self.subTest(tls=tls):
                reply = self.client(tls).put_record(
                    DeliveryStreamName="one", Record={"Data": b"hello\n"})
                self.assertEqual(len(reply["RecordId"]), 220)
                self.assertFalse(reply["Encrypted"])
        self.assertEqual(self.emulator.delivered("one"), b"hello\nhello\n")

    def test_put_record_batch(self):
        datas = [b"a", b"", b"\0\xff", b"x" * 1024000]
        for tls in (False, True):
            with self.subTest(tls=tls):
                self.control("POST", "reset", {"journal": True})
                reply = self.client(tls).put_record_batch(
                    DeliveryStreamName="many",
                    Records=[{"Data": data} for data in datas])
                self.assertEqual(reply["FailedPutCount"], 0)
                ids = [e["RecordId"] for e in reply["RequestResponses"]]
                self.assertEqual(len(set(ids)), 4)
                self.assertEqual(self.emulator.delivered("many"),
                                 b"".join(datas))
                line = self.last_line()
                self.assertTrue(line["reply_sent"])
                self.assertEqual(
                    (line["records"], line["accepted"], line["acknowledged"],
                     line["raw_bytes"], line["tls"]),
                    (4, 4, 4, 1024003, tls))
                self.assertEqual(
                    self.emulator.records(),
                    [(str(line["seq"]), "many", str(i), "A", ids[i],
                      base64.b64encode(data).decode())
                     for i, data in enumerate(datas)])

    def test_streams(self):
        client = self.client()
        client.create_delivery_stream(DeliveryStreamName="new")
        description = client.describe_delivery_stream(
            DeliveryStreamName="new")["DeliveryStreamDescription"]
        self.assertEqual(description["DeliveryStreamStatus"], "ACTIVE")
        names = client.list_delivery_streams()["DeliveryStreamNames"]
        self.assertLessEqual({"made", "new"}, set(names))
        with self.assertRaises(client.exceptions.ResourceInUseException):
            client.create_delivery_stream(DeliveryStreamName="new")
        client.delete_delivery_stream(DeliveryStreamName="new")
        with self.assertRaises(client.exceptions.ResourceNotFoundException):
            client.describe_delivery_stream(DeliveryStreamName="new")

    def test_strict_streams(self):
        self.control("POST", "settings", {"strict_streams": True})
        client = self.client()
        try:
            with self.assertRaises(
                    client.exceptions.ResourceNotFoundException):
                client.put_record(DeliveryStreamName="none",
                                  Record={"Data": b"x"})
            self.control("POST", "streams/none")
            client.put_record(DeliveryStreamName="none",
                              Record={"Data": b"x"})
        finally:
            self.control("POST", "settings", {"strict_streams": False})

    def test_connection_is_kept_and_pipelined(self):
        connection = self.connect()
        for _ in range(3):
            self.send(connection, batch_body(b"x"))
            self.assertEqual(self.receive(connection).status, 200)
        body = batch_body(b"y")
        self.send(connection, body)
        self.send(connection, body)
        time.sleep(0.1)
        raw = b""
        while raw.count(b"HTTP/1.1 200") < 2:
            raw += connection.recv(65536)
        exchanges = [line["exchange"] for line in self.emulator.journal()]
        self.assertEqual(exchanges, [1, 2, 3, 4, 5])

    def test_byte_by_byte(self):
        connection = self.connect()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        body = batch_body(b"x")
        head = "POST / HTTP/1.1\r\n" + "".join(
            f"{name}: {value}\r\n"
            for name, value in self.signed(body).items()) + "\r\n"
        for byte in head.encode() + body:
            connection.sendall(bytes((byte,)))
        self.assertEqual(self.receive(connection).status, 200)

    def test_expect_100_continue(self):
        connection = self.connect()
        body = batch_body(b"x")
        self.send(connection, b"", self.signed(
            body, after={"Expect": "100-continue"}))
        self.assertEqual(connection.recv(100),
                         b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.sendall(body)
        self.assertEqual(self.receive(connection).status, 200)

    def test_stats(self):
        client = self.client()
        for count in (3, 7, 5):
            client.put_record_batch(DeliveryStreamName="st",
                                    Records=[{"Data": b"12345"}] * count)
        stats = self.control("GET", "stats")
        self.assertEqual((stats["requests"], stats["records"],
                          stats["accepted"], stats["bytes"]), (3, 15, 15, 75))
        self.assertEqual((stats["connections"], stats["open_connections"]),
                         (1, 1))
        stream = stats["streams"]["st"]
        self.assertEqual((stream["max_batch_records"],
                          stream["max_batch_bytes"],
                          stream["max_in_flight"]), (7, 35, 1))

    def test_sequence_goes_on_after_restart(self):
        self.client().put_record(DeliveryStreamName="s",
                                 Record={"Data": b"x"})
        seq = self.last_line()["seq"]
        self.assertEqual(Store(self.emulator.data, Settings())
                         .next_sequence(), seq + 1)


class Strictness(EmulatorTestCase):
    """Whatever AWS might refuse is refused."""

    def assert_error(self, reply, status, code):
        self.assertEqual((reply.status, reply.error), (status, code))
        self.assertEqual(reply.headers["content-type"], JSON_TYPE)
        self.assertIn("x-amzn-requestid", reply.headers)
        self.assertIn("date", reply.headers)

    def test_serialization(self):
        for body in (b"", b"[]", b"{", b"\xff{}", b"[" * 100000,
                     b'{"DeliveryStreamName":"s","Records":{}}',
                     b'{"DeliveryStreamName":"s","Records":["YQ=="]}',
                     b'{"DeliveryStreamName":"s","Records":[{"Data":1}]}',
                     b'{"DeliveryStreamName":7,"Records":[{"Data":""}]}',
                     b'{"DeliveryStreamName":"s","Records":[{"data":""}]}',
                     b'{"DeliveryStreamName":"s","Records":[{"Data":"",'
                     b'"X":1}]}',
                     b'{"DeliveryStreamName":"s","Records":[{"Data":"",'
                     b'"Data":""}]}',
                     b'{"DeliveryStreamName":"s","Records":[{"Data":""}],'
                     b'"X":1}',
                     b'{"DeliveryStreamName":"s","Record":{"Data":""}}'):
            with self.subTest(body=body[:60]):
                self.assert_error(self.post(body), 400,
                                  "SerializationException")

    def test_base64(self):
        for text in ("YQ", "YQ=", "Y Q==", "YQ==\\n", "YR==", "YWJ=",
                     "YQ==YQ==", "_-==", "=", "====", "\\u00e9"):
            body = ('{"DeliveryStreamName":"s","Records":[{"Data":"%s"}]}'
                    % text).encode()
            with self.subTest(text=text):
                self.assert_error(self.post(body), 400,
                                  "SerializationException")

    def test_validation(self):
        for body in (b'{"Records":[{"Data":""}]}',
                     b'{"DeliveryStreamName":"s"}',
                     b'{"DeliveryStreamName":"s","Records":[]}',
                     b'{"DeliveryStreamName":"s","Records":[{}]}',
                     batch_body(b"x", stream=""),
                     batch_body(b"x", stream="a b"),
                     batch_body(b"x", stream="\u00e9"),
                     batch_body(b"x", stream="n" * 65),
                     batch_body(*[b""] * 501),
                     batch_body(b"x" * 1024001)):
            with self.subTest(body=body[:60]):
                self.assert_error(self.post(body), 400,
                                  "ValidationException")

    def test_limits(self):
        for datas in ([b"x"] * 500, [b"x" * 1024000],
                      [b"x" * 524288] * 8):
            self.assertEqual(self.post(batch_body(*datas)).status, 200)
        self.assert_error(self.post(batch_body(*[b"x" * 524288] * 8, b"x")),
                          400, "InvalidArgumentException")
        self.control("POST", "limits", {"max_call_bytes": 10})
        self.assert_error(self.post(batch_body(b"x" * 11)), 400,
                          "InvalidArgumentException")

    def test_envelope(self):
        body = batch_body(b"x")
        reply = self.post(body, self.signed(
            body, before={"Content-Type": "application/json"}))
        self.assertEqual(reply.status, 404)
        self.assertEqual(self.post(body, path="/other").status, 404)
        self.assertEqual(self.post(b"", {"Host": "x"}, path="/other",
                                   method="GET").status, 404)
        self.assert_error(self.post(body, self.signed(body, "PutRecords")),
                          400, "UnknownOperationException")

    def test_http(self):
        for text, status in (
                (b"nonsense\r\n\r\n", 400),
                (b"POST / HTTP/2.0\r\n\r\n", 505),
                (b"POST / HTTP/1.1\r\n\r\n", 400),
                (b"POST / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
                (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                 400),
                (b"POST / HTTP/1.1\r\nHost: x\r\n"
                 b"Transfer-Encoding: chunked\r\n\r\n", 411),
                (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999"
                 b"\r\n\r\n", 413),
                (b"x" * 65536, 431)):
            with self.subTest(text=text[:50]):
                connection = self.connect()
                connection.sendall(text)
                self.assertEqual(self.receive(connection).status, status)
                self.assertEqual(connection.recv(1), b"")


class Signatures(EmulatorTestCase):
    """Who may call."""

    def assert_refused(self, code, message="", **change):
        body = batch_body(b"x")
        reply = self.post(body, self.signed(body, **change))
        self.assertEqual((reply.status, reply.error), (400, code))
        self.assertIn(message, reply.json["message"])

    def test_wrong_keys(self):
        for key, secret, code in (
                ("AKIDOTHER", SECRET, "UnrecognizedClientException"),
                (KEY, "wrong", "InvalidSignatureException")):
            with self.assertRaises(ClientError) as caught:
                self.client(aws_access_key_id=key,
                            aws_secret_access_key=secret).put_record(
                    DeliveryStreamName="s", Record={"Data": b"x"})
            self.assertEqual(caught.exception.response["Error"]["Code"],
                             code)

    def test_authorization_header(self):
        self.assert_refused("MissingAuthenticationTokenException",
                            after={"Authorization": None})
        for value in ("Basic abc", "AWS4-HMAC-SHA256 Credential=x",
                      "AWS4-HMAC-SHA256 Credential=x/y, SignedHeaders=host, "
                      "Signature=" + "0" * 64):
            self.assert_refused("IncompleteSignatureException",
                                after={"Authorization": value})
        self.assert_refused("IncompleteSignatureException",
                            after={"X-Amz-Date": "yesterday"})

    def test_scope(self):
        self.assert_refused("InvalidSignatureException", "valid region",
                            region="eu-west-1")

    def test_what_must_be_signed(self):
        """Host and x-amz-*; other SDKs leave the content type unsigned."""
        body = batch_body(b"x")
        headers = self.signed(body, after={"Content-Type": None})
        headers["Authorization"] = self.unsigned_type(body)
        headers["Content-Type"] = JSON_TYPE
        self.assertEqual(self.post(body, headers).status, 200)

    def unsigned_type(self, body):
        """Sign as the SDK for JavaScript 2 does."""
        request = AWSRequest("POST", "http://x/", {
            "X-Amz-Target": "Firehose_20150804.PutRecordBatch",
            "Host": f"127.0.0.1:{self.where['port']}"}, body)
        SigV4Auth(Credentials(KEY, SECRET), "firehose",
                  "us-east-1").add_auth(request)
        self.assertNotIn("content-type", request.headers["Authorization"])
        return request.headers["Authorization"]

    def test_tampering(self):
        body = batch_body(b"x")
        headers = self.signed(body)
        self.assertEqual(self.post(batch_body(b"y"), headers).error,
                         "InvalidSignatureException")
        self.assert_refused("InvalidSignatureException",
                            after={"Host": "127.0.0.1:1"})
        self.assert_refused("InvalidSignatureException", "x-amz-extra",
                            after={"x-amz-extra": "1"})
        self.assert_refused("InvalidSignatureException", "content-sha256",
                            before={"x-amz-content-sha256": "0" * 64})

    def test_window(self):
        for offset, message in ((290, None), (-290, None),
                                (310, "Signature expired: "),
                                (-310, "Signature not yet current: ")):
            self.control("POST", "clock", {"offset": offset})
            if message:
                self.assert_refused("InvalidSignatureException", message)
            else:
                self.assertEqual(self.post(batch_body(b"x")).status, 200)

    def test_date_header_follows_the_clock(self):
        self.control("POST", "clock", {"offset": 86400})
        date = self.post(batch_body(b"x")).headers["date"]
        day = time.strftime("%d %b", time.gmtime(time.time() + 86400))
        self.assertIn(day, date)

    def test_session_token(self):
        key = {"access_key": KEY, "secret_key": SECRET,
               "session_token": "T+/="}
        self.control("POST", "credentials", key)
        body = batch_body(b"x")
        self.assertEqual(
            self.post(body, self.signed(body, token="T+/=")).status, 200)
        self.assert_refused("UnrecognizedClientException")
        self.assert_refused("UnrecognizedClientException", token="other")
        self.control("POST", "credentials",
                     {**key, "expires": time.time() - 1})
        self.assert_refused("ExpiredTokenException", token="T+/=")
        self.control("POST", "credentials", {**key, "denied": True})
        reply = self.post(body, self.signed(body, token="T+/="))
        self.assertEqual(reply.error, "AccessDeniedException")
        self.assertIn("Message", reply.json)


class Quotas(EmulatorTestCase):
    """Token buckets and what they answer."""

    def put(self, count, size=10):
        return self.client().put_record_batch(
            DeliveryStreamName="q", Records=[{"Data": b"x" * size}] * count)

    def test_records(self):
        self.control("POST", "quota", {"stream": "q",
                                       "records_per_second": 0.001,
                                       "burst_seconds": 3000})
        reply = self.put(5)
        self.assertEqual(reply["FailedPutCount"], 2)
        self.assertEqual(
            [entry.get("ErrorCode") for entry in reply["RequestResponses"]],
            [None] * 3 + ["ServiceUnavailableException"] * 2)
        self.assertEqual(reply["RequestResponses"][4]["ErrorMessage"],
                         "Slow down.")
        self.assertEqual(self.emulator.delivered("q"), b"x" * 30)
        self.assertEqual([record[3] for record in self.emulator.records()],
                         list("AAARR"))

    def test_bytes(self):
        self.control("POST", "quota", {"bytes_per_second": 0.001,
                                       "burst_seconds": 25000})
        self.assertEqual(self.put(5)["FailedPutCount"], 2)

    def test_requests(self):
        quota = {"requests_per_second": 0.001, "burst_seconds": 1000}
        self.control("POST", "quota", quota)
        self.assertEqual(self.put(2)["FailedPutCount"], 0)
        self.assertEqual(self.put(2)["FailedPutCount"], 2)
        self.control("POST", "quota", {**quota, "burst_seconds": 0,
                                       "put_record_error": "throttle",
                                       "over_requests": "error"})
        with self.assertRaises(ClientError) as caught:
            self.put(2)
        self.assertEqual(caught.exception.response["Error"]["Code"],
                         "ThrottlingException")

    def test_by_call(self):
        quota = {"records_per_second": 0.001, "burst_seconds": 3000,
                 "over_records": "error"}
        self.control("POST", "quota", quota)
        self.assertEqual(self.put(2)["FailedPutCount"], 0)
        with self.assertRaises(ClientError) as caught:
            self.put(2)
        self.assertEqual(caught.exception.response["Error"]["Code"],
                         "ServiceUnavailableException")
        self.assertEqual(self.put(1)["FailedPutCount"], 0)
        # more than the bucket holds passes when it is full
        self.control("POST", "quota", quota)
        self.assertEqual(self.put(5)["FailedPutCount"], 0)
        self.control("POST", "quota", {"bytes_per_second": 0.001,
                                       "burst_seconds": 25000,
                                       "over_records": "error"})
        self.put(2)
        with self.assertRaises(ClientError):
            self.put(1)

    def test_put_record(self):
        self.control("POST", "quota", {"records_per_second": 0.001,
                                       "burst_seconds": 0})
        with self.assertRaises(ClientError) as caught:
            self.client().put_record(DeliveryStreamName="q",
                                     Record={"Data": b"x"})
        response = caught.exception.response
        self.assertEqual(response["Error"]["Code"],
                         "ServiceUnavailableException")
        self.assertEqual(response["ResponseMetadata"]["HTTPStatusCode"], 503)


class Unsigned(EmulatorTestCase):
    """The options that make it fast."""

    OPTIONS = ("--no-verify-signature", "--journal-data", "hash",
               "--short-record-ids", "--encrypted")

    def test_put(self):
        body = batch_body(b"x")
        reply = self.post(body, {
            "Host": "x", "Content-Type": JSON_TYPE,
            "X-Amz-Target": "Firehose_20150804.PutRecordBatch",
            "Content-Length": len(body)})
        self.assertTrue(reply.json["Encrypted"])
        record_id = reply.json["RequestResponses"][0]["RecordId"]
        self.assertEqual(len(record_id), 16)
        self.assertEqual(self.emulator.records()[0][5],
                         "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc"
                         "4db02258717921a4881")


if __name__ == "__main__":
    unittest.main()
