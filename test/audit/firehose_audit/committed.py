"""Reads files of records that should have arrived, one per line.

auto    by a line's first character: a JSON string, a JSON object, or base64
json    a JSON string
object  {"key": ..., "data": base64 | "text": ..., "stream": ...}; an object
        with a key alone says that such a record exists, whatever its bytes
base64  the bytes in base64
text    the line itself
"""

import base64
import binascii
import json
import sys

from . import AuditError

FORMATS = ("auto", "json", "object", "base64", "text")
_MEMBERS = {"key", "data", "text", "stream"}


def read(paths, form):
    """Yield (key or None, data or None, stream or None) of each line."""
    parse = _PARSERS[form]
    for path in paths:
        file = sys.stdin.buffer if path == "-" else open(path, "rb")
        with file:
            for number, line in enumerate(file, 1):
                try:
                    yield parse(line.rstrip(b"\n"))
                except (ValueError, TypeError) as error:
                    raise AuditError(
                        f"{path}:{number}: not {form}: {error}") from None


def _parse_auto(line):
    first = line[:1]
    if first == b'"':
        return _parse_json(line)
    if first == b"{":
        return _parse_object(line)
    return _parse_base64(line)


def _parse_json(line):
    value = json.loads(line)
    if type(value) is not str:
        raise ValueError("no JSON string")
    return None, value.encode(), None


def _parse_object(line):
    value = json.loads(line)
    if type(value) is not dict or not value.keys() <= _MEMBERS:
        raise ValueError("the members are key, data, text and stream; say "
                         "--format text if the lines are the records")
    key = value.get("key")
    if key is not None:
        key = (key if type(key) is str else json.dumps(key)).encode()
    data = value.get("data")
    text = value.get("text")
    if data is not None:
        data = base64.b64decode(data, validate=True)
    elif text is not None:
        data = text.encode()
    elif key is None:
        raise ValueError("neither key nor data")
    return key, data, value.get("stream")


def _parse_base64(line):
    return None, binascii.a2b_base64(line, strict_mode=True), None


def _parse_text(line):
    return None, line, None


_PARSERS = {"auto": _parse_auto, "json": _parse_json,
            "object": _parse_object, "base64": _parse_base64,
            "text": _parse_text}
