"""What each scripted fault does, one table: ACTIONS.

A function of phase           is called with                and returns
    reuse, head               (parameters)                  an EarlyFault
    request                   (parameters, raws)            a Reply or None
    records                   (parameters, raws, random)    {index: (code,
                                                            message)}
    delay                     (parameters, raws)            seconds
    reply                     (parameters, outcome, reply)  nothing; changes
                                                            outcome or reply
"""

import asyncio
import base64
import collections
import gzip

from . import damage
from .errors import CATALOGUE, JSON_TYPE, error_body
from .wire import EarlyFault, Reply

Action = collections.namedtuple("Action", "phase function defaults")

FOREVER = 86400


# -- reuse, head

def _early(kind):
    def act(parameters):
        reply = None
        if kind == "reply":
            reply = _http_error(parameters, ())
            reply.close = True
        return EarlyFault(kind, parameters.get("after_bytes", 0), reply)
    return act


# -- request: nothing is stored

def _http_error(parameters, _raws):
    """Answer with an error document, or with any bytes at all."""
    headers = dict(parameters["headers"])
    code = parameters["code"]
    if parameters["body"] is not None:
        body = parameters["body"].encode()
    elif parameters["body_base64"] is not None:
        body = base64.b64decode(parameters["body_base64"])
    else:
        if parameters["code_in"] == "header":
            headers["x-amzn-ErrorType"] = code
            code = None
        body = error_body(code, parameters["message"],
                          parameters["message_key"])
    return Reply(parameters["status"], body, headers,
                 parameters["content_type"])


def _preset(name):
    """Parameters of _http_error for an entry of the catalogue."""
    status, code, message, key = CATALOGUE[name]
    return {**HTTP_ERROR, "status": status, "code": code, "message": message,
            "message_key": key}


def _size_limit(parameters, raws):
    """Refuse what is larger than a limit of our own."""
    def over(limit, value):
        return limit is not None and value > limit
    if not (over(parameters["call_bytes"], sum(map(len, raws)))
            or over(parameters["records"], len(raws))
            or over(parameters["record_bytes"], max(map(len, raws)))):
        return None
    return _http_error(parameters, raws)


def _no_answer(sender):
    def act(_parameters, _raws):
        reply = Reply(200)
        reply.sender = sender
        reply.silent = True
        return reply
    return act


# -- records

def _plain(raw):
    """A record as it was before a stream compressed it."""
    return gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw


def _fail_records(parameters, raws, dice):
    """Choose records by dice, by index or by what they contain."""
    failure = (parameters["code"], parameters["message"])
    containing = parameters["containing"]
    if containing is not None:
        needle = containing.encode()
        return {i: failure for i, raw in enumerate(raws)
                if needle in _plain(raw)}
    if parameters["indexes"] is not None:
        return {i: failure for i in parameters["indexes"] if i < len(raws)}
    probability = parameters["probability"]
    return {i: failure for i in range(len(raws))
            if probability >= 1 or dice.random() < probability}


# -- delay

def _service_time(parameters, raws):
    """What a call costs: so much, and more with each record and byte."""
    return (parameters["seconds"] + parameters["per_record"] * len(raws)
            + parameters["per_byte"] * sum(map(len, raws)))


# -- reply: stored unless told otherwise, now spoil the answer

def _lose(sender):
    def act(parameters, outcome, reply):
        outcome.garbled = True
        reply.sender = sender
        reply.silent = True
    return act


def _slow(parameters, _outcome, reply):
    rate = parameters["bytes_per_second"]
    chunk = max(1, int(rate * 0.1))

    async def send(connection, _data):
        data = reply.encode()
        for at in range(0, len(data), chunk):
            if at:
                await asyncio.sleep(chunk / rate)
            if not await connection.write(data[at:at + chunk]):
                return False
        return True
    reply.sender = send


def _short(parameters, outcome, reply):
    """Promise more than is sent, then close."""
    outcome.garbled = True
    reply.headers["Content-Length"] = (len(reply.body)
                                       + parameters["missing_bytes"])
    reply.close = True


def _until_close(_parameters, _outcome, reply):
    """No Content-Length: the end of the connection ends the body."""
    reply.headers["Content-Length"] = None
    reply.close = True


def _chunked(_parameters, _outcome, reply):
    """A good reply in chunks."""
    body = reply.body
    parts = [body[at:at + 100] for at in range(0, len(body), 100)]
    reply.headers["Transfer-Encoding"] = "chunked"
    reply.body = b"".join(b"%x\r\n%s\r\n" % (len(part), part)
                          for part in parts) + b"0\r\n\r\n"


def _chunked_short(parameters, outcome, reply):
    """A whole document in chunks, and no last chunk."""
    outcome.garbled = True
    _chunked(parameters, outcome, reply)
    reply.body = reply.body.removesuffix(b"0\r\n\r\n")
    reply.close = True


def _gzip(_parameters, outcome, reply):
    """A good answer that is compressed though the request did not allow it."""
    outcome.garbled = True
    reply.headers["Content-Encoding"] = "gzip"
    reply.body = gzip.compress(reply.body)


def _close_after(parameters, _outcome, reply):
    """Answer well, then close without having said so."""
    async def send(connection, _data):
        reply.written = await connection.write(reply.encode())
        await asyncio.sleep(parameters["seconds"])
        if parameters["reset"]:
            connection.reset()
        else:
            connection.hang_up()
        return reply.written
    reply.sender = send


def _body(make, content_type=JSON_TYPE):
    """Replace the body; what make returns acknowledges nothing."""
    def act(parameters, outcome, reply):
        outcome.garbled = True
        reply.body = make(reply.body, parameters)
        reply.headers["Content-Type"] = content_type
    return act


def _entries(change):
    """Change the document; change marks what is no longer acknowledged."""
    def act(parameters, outcome, reply):
        if outcome.document is None:
            return
        change(outcome, parameters)
        reply.body = outcome.encode()
    return act


# -- senders of replies that never come

async def _hang(_connection, _data):
    await asyncio.sleep(FOREVER)
    return False


async def _close(connection, _data):
    connection.hang_up()
    return False


async def _reset(connection, _data):
    connection.reset()
    return False


HTTP_ERROR = {"status": 500, "code": "InternalFailure", "message": None,
              "message_key": "message", "body": None, "body_base64": None,
              "headers": {}, "code_in": "body", "content_type": JSON_TYPE}
SIZE = {"call_bytes": None, "records": None, "record_bytes": None}
FAIL = {"code": "ServiceUnavailableException", "message": "Slow down.",
        "containing": None, "indexes": None}


def _table():
    table = {}

    def add(phase, name, function, **defaults):
        table[name] = Action(phase, function, defaults)

    add("reuse", "close_on_reuse", _early("close"))
    add("reuse", "reset_on_reuse", _early("reset"))

    add("head", "hang_before_body", _early("hang"), after_bytes=0)
    add("head", "close_mid_upload", _early("close"), after_bytes=0)
    add("head", "reset_mid_upload", _early("reset"), after_bytes=0)
    add("head", "early_reply", _early("reply"), after_bytes=0, **HTTP_ERROR)
    add("head", "no_continue", _early("no_continue"))
    add("head", "expectation_failed", _early("reply"),
        **{**HTTP_ERROR, "status": 417, "body": ""})

    add("request", "http_error", _http_error, **HTTP_ERROR)
    for name in CATALOGUE:
        add("request", name, _http_error, **_preset(name))
    add("request", "redirect", _redirect, status=307, location="")
    add("request", "size_limit", _size_limit, **SIZE, **_preset("size"))
    add("request", "size_limit_413", _size_limit, **SIZE,
        **{**HTTP_ERROR, "status": 413, "body": ""})
    add("request", "hang_before_processing", _no_answer(_hang))
    add("request", "close_before_processing", _no_answer(_close))
    add("request", "reset_before_processing", _no_answer(_reset))

    add("records", "fail_records", _fail_records, **FAIL, probability=0.5)
    add("records", "fail_all_records", _fail_records, **FAIL, probability=1)

    add("delay", "delay", _service_time, seconds=1.0, per_record=0,
        per_byte=0)

    add("reply", "hang_after_processing", _lose(_hang))
    add("reply", "close_after_processing", _lose(_close))
    add("reply", "reset_after_processing", _lose(_reset))
    add("reply", "close_after_reply", _close_after, reset=False, seconds=0)
    add("reply", "slow_reply", _slow, bytes_per_second=10)
    add("reply", "short_reply", _short, missing_bytes=10, stored=True)
    add("reply", "chunked_short_reply", _chunked_short, stored=True)
    add("reply", "gzip_reply", _gzip, stored=True)
    add("reply", "reply_until_close", _until_close)
    add("reply", "chunked_reply", _chunked)
    for name, (make, content_type, defaults) in damage.BODIES.items():
        add("reply", name, _body(make, content_type or JSON_TYPE),
            stored=True, **defaults)
    for name, (change, defaults) in damage.DOCUMENTS.items():
        add("reply", name, _entries(change), stored=True, **defaults)
    return table


def _redirect(parameters, _raws):
    return Reply(parameters["status"], b"",
                 {"Location": parameters["location"]})


ACTIONS = _table()
