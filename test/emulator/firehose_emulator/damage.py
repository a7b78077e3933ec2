"""Damaged replies: bodies that are no answer, and answers that lie.

BODIES     name -> (make(body, parameters), content type, defaults)
DOCUMENTS  name -> (change(outcome, parameters), defaults); change edits
           outcome.document and calls outcome.unsay(index) for each record
           that the reply no longer acknowledges
"""


# -- bodies

def _empty(_body, _parameters):
    return b""


def _truncated(body, parameters):
    return body[:int(len(body) * parameters["fraction"])]


def _garbage(_body, parameters):
    return bytes((i * 167 + 13) % 256 for i in range(parameters["bytes"]))


def _html(_body, _parameters):
    return (b"<!DOCTYPE html><html><body><h1>It works!</h1></body></html>")


def _xml(_body, _parameters):
    return b'<?xml version="1.0"?><PutRecordBatchResponse/>'


def _huge(body, parameters):
    """A good answer followed by blanks, larger than anyone should read."""
    return body + b" " * max(0, parameters["bytes"] - len(body))


def _deep(_body, parameters):
    depth = parameters["depth"]
    return (b'{"FailedPutCount":0,"RequestResponses":' + b"[" * depth
            + b"]" * depth + b"}")


def _nul(body, _parameters):
    return body.replace(b'"RecordId": "', b'"RecordId": "\0')


def _duplicate_keys(body, _parameters):
    """The good answer, and the same members again, empty."""
    return (body.rstrip()[:-1] + b', "RequestResponses": [], '
            b'"FailedPutCount": 0, "RecordId": ""}')


def _wrong_type(_body, parameters):
    return parameters["body"].encode()


BODIES = {
    "empty_body": (_empty, None, {}),
    "truncated_body": (_truncated, None, {"fraction": 0.5}),
    "garbage_body": (_garbage, None, {"bytes": 1000}),
    "html_body": (_html, "text/html", {}),
    "xml_body": (_xml, "text/xml", {}),
    "huge_body": (_huge, None, {"bytes": 20 * 1024 * 1024}),
    "deep_body": (_deep, None, {"depth": 200000}),
    "nul_body": (_nul, None, {}),
    "duplicate_keys_body": (_duplicate_keys, None, {}),
    "wrong_type_body": (_wrong_type, None, {"body": "[]"}),
}


# -- documents

def _failed_put_count(outcome, parameters):
    """Lie about the count; the entries stay true."""
    document = outcome.document
    if parameters["missing"]:
        document.pop("FailedPutCount", None)
    elif parameters["value"] is not None:
        document["FailedPutCount"] = parameters["value"]
    else:
        document["FailedPutCount"] = (document.get("FailedPutCount", 0)
                                      + parameters["offset"])


def _responses_short(outcome, parameters):
    entries = outcome.document.get("RequestResponses")
    if entries is None:         # PutRecord has one response, or none
        outcome.document.pop("RecordId", None)
    else:
        del entries[max(0, len(entries) - parameters["by"]):]
    outcome.unsay_all()


def _responses_long(outcome, parameters):
    entries = outcome.document.get("RequestResponses")
    if entries is None:
        outcome.document.pop("RecordId", None)
    else:
        entries.extend({"RecordId": f"surplus{i}"}
                       for i in range(parameters["by"]))
    outcome.unsay_all()


def _responses_missing(outcome, _parameters):
    outcome.document.pop("RequestResponses", None)
    outcome.document.pop("RecordId", None)
    outcome.unsay_all()


def _chosen(outcome, parameters):
    """Yield (index, entry) of the accepted entries to falsify."""
    indexes = parameters["indexes"]
    probability = parameters["probability"]
    for index, entry in enumerate(outcome.entries()):
        if "RecordId" not in entry or "ErrorCode" in entry:
            continue
        if indexes is not None:
            if index not in indexes:
                continue
        elif probability < 1 and outcome.random.random() >= probability:
            continue
        yield index, entry


def _both(outcome, parameters):
    for index, entry in _chosen(outcome, parameters):
        entry["ErrorCode"] = "InternalFailure"
        entry["ErrorMessage"] = "stored and failed"
        outcome.unsay(index)


def _neither(outcome, parameters):
    for index, entry in _chosen(outcome, parameters):
        entry.pop("RecordId")
        outcome.unsay(index)


def _record_id(outcome, parameters):
    for index, entry in _chosen(outcome, parameters):
        entry["RecordId"] = parameters["value"]
        outcome.unsay(index)


_WHICH = {"probability": 1.0, "indexes": None}

DOCUMENTS = {
    "failed_put_count": (_failed_put_count,
                         {"offset": 1, "value": None, "missing": False}),
    "responses_short": (_responses_short, {"by": 1}),
    "responses_long": (_responses_long, {"by": 1}),
    "responses_missing": (_responses_missing, {}),
    "entry_both": (_both, _WHICH),
    "entry_neither": (_neither, _WHICH),
    "bad_record_id": (_record_id, {**_WHICH, "value": ""}),
}
