"""Checks a request's JSON as strictly as the service model allows.

Whatever passes here is well-formed: right members, right types, valid base64,
within the limits of one call.
"""

import binascii
import json
import re

from .errors import ApiError

STREAM_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}\Z")

_decode = binascii.a2b_base64


def parse_object(body):
    """Parse a body as one JSON object."""
    try:
        document = json.loads(str(body, "utf-8"))
    except (ValueError, RecursionError):
        raise ApiError("serialization") from None
    if type(document) is not dict:
        raise ApiError("serialization", "Start of structure or map found "
                       "where not expected.")
    return document


def parse_put(body, member):
    """Return (stream name, list of record objects) of a put.

    member is Record or Records.
    """
    document = parse_object(body)
    for name in document:
        if name not in ("DeliveryStreamName", member):
            raise ApiError("serialization", f"unknown member {name}")
    stream = check_stream_name(document.get("DeliveryStreamName"))
    records = document.get(member)
    if records is None:
        raise invalid(f"Value null at '{member.lower()}' failed to satisfy "
                      "constraint: Member must not be null")
    if member == "Record":
        records = [records]
    if type(records) is not list:
        raise ApiError("serialization", f"{member} is not a list")
    # A member that is there twice is invisible after parsing, but each adds
    # at least two quotes to the text, and nothing valid contains one.
    if body.count(b'"') > 6 + 4 * len(records):
        raise ApiError("serialization", "duplicate member")
    return stream, records


def check_stream_name(name):
    """Return the name if a stream can be called that."""
    if name is None:
        raise invalid("Value null at 'deliveryStreamName' failed to satisfy "
                      "constraint: Member must not be null")
    if type(name) is not str:
        raise ApiError("serialization", "DeliveryStreamName is no string")
    if not STREAM_NAME.match(name):
        raise invalid(f"Value '{name}' at 'deliveryStreamName' failed to "
                      "satisfy constraint: Member must satisfy regular "
                      "expression pattern: [a-zA-Z0-9_.-]+ and have length "
                      "between 1 and 64")
    return name


def decode_records(records, limits):
    """Return ([base64 text], [bytes]) of the records, or raise."""
    if not 1 <= len(records) <= limits.max_records:
        raise invalid("Value at 'records' failed to satisfy constraint: "
                      "Member must have length less than or equal to "
                      f"{limits.max_records} and at least 1")
    texts = []
    raws = []
    for number, record in enumerate(records, 1):
        if type(record) is not dict:
            raise ApiError("serialization", "a record is not an object")
        text = record.get("Data")
        if text is None and not record:
            raise invalid(f"Value null at 'records.{number}.member.data' "
                          "failed to satisfy constraint: Member must not be "
                          "null")
        if type(text) is not str or len(record) != 1:
            raise ApiError("serialization", "a record has other than Data")
        try:
            raw = _decode(text, strict_mode=True)
        except ValueError:
            raise ApiError("serialization", "invalid base64") from None
        if text[-1:] == "=" and not _canonical_end(text, raw):
            raise ApiError("serialization", "invalid base64 padding bits")
        if len(raw) > limits.max_record_bytes:
            raise invalid(f"Value at 'records.{number}.member.data' failed "
                          "to satisfy constraint: Member must have length "
                          "less than or equal to "
                          f"{limits.max_record_bytes}")
        texts.append(text)
        raws.append(raw)
    if sum(map(len, raws)) > limits.max_call_bytes:
        raise ApiError("size")
    return texts, raws


def _canonical_end(text, raw):
    """True if the bits that padding leaves over are zero."""
    tail = raw[-((len(raw) - 1) % 3 + 1):]
    return binascii.b2a_base64(tail, newline=False).decode() == text[-4:]


def invalid(detail):
    """A ValidationException in the service's wording."""
    return ApiError("validation", f"1 validation error detected: {detail}")
