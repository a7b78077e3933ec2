"""The operations of Firehose_20150804.

A put goes through: envelope, signature, JSON and limits, scripted faults of
phase request, the stream, the quota, scripted failures of records, storage,
scripted faults of the reply.  Its lines are in the journal's records file
before the reply leaves, its line in the journal once the reply's outcome is
known.
"""

import json
import re
import time
import uuid

from .errors import JSON_TYPE, ApiError, error_reply
from .requests import (check_stream_name, decode_records, parse_object,
                       parse_put)
from .router import is_own
from .store import ACCEPTED, REFUSED, UNSAID
from .wire import WAIT, Reply, http_date

TARGET = "Firehose_20150804."
PEEK = 1024         # bytes of a body that surely hold the stream's name

_NAME_IN_BODY = re.compile(rb'"DeliveryStreamName"\s*:\s*"([^"]*)"')
_SLOW_DOWN = ("ServiceUnavailableException", "Slow down.")


class Call:
    """One request on its way, and what the journal will say of it."""

    def __init__(self, sequence, request):
        self.sequence = sequence
        self.request = request
        self.request_id = str(uuid.uuid4())
        self.operation = None
        self.stream = None
        self.access_key = None
        self.texts = ()
        self.raws = ()
        self.raw_bytes = 0
        self.accepted = 0
        self.accepted_bytes = 0
        self.said = 0               # accepted, and the reply says so
        self.error = None
        self.message = None         # of the error, or of a record's
        self.faults = []
        self.reason = None          # error code of the first record refused
        self.garbled = False
        self.delay = 0
        self.counted = False        # among the stream's requests in flight


class Outcome:
    """What became of a put's records, and the document that tells it.

    states     a letter per record (see store.py); words: id or error code
    document   the reply as an object
    garbled    set when the reply acknowledges nothing at all
    """

    def __init__(self, single, count, record_ids, failures, encrypted):
        self.single = single
        self.garbled = False
        self.random = None          # dice of the rule that strikes
        self.states = [ACCEPTED] * count
        self.words = record_ids
        entries = [{"RecordId": word} for word in record_ids]
        for index, (code, message) in failures.items():
            self.states[index] = REFUSED
            self.words[index] = code
            entries[index] = {"ErrorCode": code, "ErrorMessage": message}
        if single:
            self.document = {**entries[0], "Encrypted": encrypted}
            self._entries = [self.document]
        else:
            self.document = {"Encrypted": encrypted,
                             "FailedPutCount": len(failures),
                             "RequestResponses": entries}
            self._entries = entries

    def entries(self):
        return self._entries

    def unsay(self, index):
        if self.states[index] == ACCEPTED:
            self.states[index] = UNSAID

    def unsay_all(self):
        for index in range(len(self.states)):
            self.unsay(index)

    def forget_unsaid(self, word):
        """Refuse what the reply does not acknowledge: it is not stored."""
        if self.garbled:
            self.unsay_all()
        for index, state in enumerate(self.states):
            if state == UNSAID:
                self.states[index] = REFUSED
                self.words[index] = word

    def encode(self):
        return json.dumps(self.document).encode()


class Firehose:
    def __init__(self, app):
        self._app = app
        self._operations = {
            "PutRecord": self._put_record,
            "PutRecordBatch": self._put_record_batch,
            "CreateDeliveryStream": self._create_stream,
            "DescribeDeliveryStream": self._describe_stream,
            "ListDeliveryStreams": self._list_streams,
            "DeleteDeliveryStream": self._delete_stream,
        }

    # -- entry points

    def handle(self, request):
        """Answer one request."""
        app = self._app
        app.stats.requests += 1
        call = Call(app.store.next_sequence(), request)
        try:
            reply = self._answer(call)
        except ApiError as error:
            call.error = error.code
            call.message = error.message
            reply = error.reply()
            self._refuse_records(call)
        headers = reply.headers
        headers.setdefault("x-amzn-RequestId", call.request_id)
        headers.setdefault("Date", http_date(app.clock_offset))
        reply.delay = call.delay
        reply.done = lambda sent: self._finish(call, reply, sent)
        request.connection.last_call = (call.operation, call.stream)
        return reply

    def on_first_byte(self, connection):
        """Phase reuse: strike a kept-alive connection; true if struck."""
        if (connection.last_call is None
                or not self._app.rules.rules_of("reuse")):
            return False
        operation, stream = connection.last_call
        rule = self._app.rules.find("reuse", operation, stream)
        if rule is None:
            return False
        self._journal_broken(connection, operation, stream, rule.name,
                             connection.first_byte_at, None, 0)
        if rule.action.function(rule.parameters).kind == "reset":
            connection.reset()
        else:
            connection.hang_up()
        return True

    def early_fault(self, request, have):
        """Phase head: None, WAIT for more of the body, or an EarlyFault."""
        rules = self._app.rules.rules_of("head")
        if not rules or is_own(request):
            return None
        stream = None
        if any(rule.stream for rule in rules):
            if have < min(request.length, PEEK):
                return WAIT
            stream = _peek_stream(request, have)
        rule = self._app.rules.find("head", _operation(request), stream)
        if rule is None:
            return None
        fault = rule.action.function(rule.parameters)
        fault.name = rule.name
        if fault.kind == "no_continue":
            self._app.stats.faults[rule.name] += 1
        if fault.reply is not None:
            fault.reply.headers["Date"] = http_date(self._app.clock_offset)
        return fault

    def on_broken(self, request, have):
        """Journal an upload that ended before its end."""
        if is_own(request):
            return
        fault = request.fault
        status = None
        if fault is not None and fault.reply is not None:
            status = fault.reply.status
        self._journal_broken(request.connection, _operation(request),
                             _peek_stream(request, have),
                             fault.name if fault else None, request.started,
                             status, have)

    # -- one request

    def _answer(self, call):
        request = call.request
        if request.method != "POST" or request.path != "/":
            return _not_found()
        if request.headers.get("content-type") != JSON_TYPE:
            return _not_found()
        if self._app.settings.verify_signature:
            call.access_key = self._app.verifier.verify(
                request, time.time() + self._app.clock_offset)
        call.operation = _operation(request)
        self._app.stats.operations[call.operation] += 1
        operation = self._operations.get(call.operation)
        if operation is None:
            raise ApiError("unknown_operation")
        return operation(call)

    def _put_record(self, call):
        return self._put(call, "Record")

    def _put_record_batch(self, call):
        return self._put(call, "Records")

    def _put(self, call, member):
        app = self._app
        call.stream, records = parse_put(call.request.body, member)
        call.texts, call.raws = decode_records(records, app.limits)
        call.raw_bytes = sum(map(len, call.raws))
        app.stats.streams[call.stream].begin(len(call.raws), call.raw_bytes)
        call.counted = True
        rule = self._strike("delay", call)
        if rule is not None:
            call.delay = rule.action.function(rule.parameters, call.raws)
        rule = self._strike("request", call)
        if rule is not None:
            reply = rule.action.function(rule.parameters, call.raws)
            if reply is not None:
                call.error = rule.parameters.get("code", rule.name)
                call.message = rule.parameters.get("message")
                self._refuse_records(call)
                return reply
            call.faults.remove(rule.name)
        self._check_stream_exists(call.stream)
        return self._store(call, member == "Record")

    def _strike(self, phase, call):
        """Return the rule that strikes this call in a phase, or None."""
        if not self._app.rules.rules_of(phase):
            return None
        rule = self._app.rules.find(phase, call.operation, call.stream,
                                    call.raws)
        if rule is not None:
            call.faults.append(rule.name)
        return rule

    def _check_stream_exists(self, stream):
        if stream in self._app.streams:
            return
        if self._app.settings.strict_streams:
            raise ApiError("unknown_stream", f"Firehose {stream} not found "
                           f"under account {self._app.settings.account}.")
        self._app.create_stream(stream)

    def _store(self, call, single):
        """Store what no quota and no fault refuses; return the reply."""
        app = self._app
        failures = self._over_quota(call, single)
        rule = self._strike("records", call)
        if rule is not None:
            failures = {**rule.action.function(rule.parameters, call.raws,
                                               rule.random), **failures}
        if single and failures:
            return self._fail_single(call, failures[0])
        if failures:
            code, call.message = next(iter(failures.values()))
            call.reason = code
        count = len(call.raws)
        outcome = Outcome(single, count, app.store.make_record_ids(count),
                          failures, app.settings.encrypted)
        reply = Reply(200, outcome.encode(), content_type=JSON_TYPE)
        rule = self._strike("reply", call)
        if rule is not None:
            outcome.random = rule.random
            rule.action.function(rule.parameters, outcome, reply)
            if not rule.parameters.get("stored", True):
                outcome.forget_unsaid(rule.name)
        call.garbled = outcome.garbled
        call.accepted = count - outcome.states.count(REFUSED)
        call.said = outcome.states.count(ACCEPTED)
        accepted = call.raws
        if call.accepted < count:
            accepted = [raw for raw, state in zip(call.raws, outcome.states)
                        if state != REFUSED]
        call.accepted_bytes = sum(map(len, accepted))
        app.store.append_data(call.stream, accepted)
        app.store.append_records(call.sequence, call.stream, outcome.states,
                                 outcome.words, call.texts, call.raws)
        app.watch.stored(time.time(), call.stream, outcome.states,
                         outcome.words, call.raws)
        return reply

    def _over_quota(self, call, single):
        """Return {index: failure} of the records beyond the quota, or raise."""
        quota = self._app.quotas.of(call.stream)
        if quota is None:
            return {}
        if not quota.admit_request():
            if single or quota.over_requests == "error":
                raise ApiError(quota.put_record_error)
            return dict.fromkeys(range(len(call.raws)), _SLOW_DOWN)
        if quota.over_records == "error":
            if not quota.admit_call(call.raws):
                raise ApiError(quota.put_record_error)
            return {}
        admitted = quota.admit_records(call.raws)
        if single and not admitted:
            raise ApiError(quota.put_record_error)
        return dict.fromkeys(range(admitted, len(call.raws)), _SLOW_DOWN)

    def _fail_single(self, call, failure):
        """A lone record cannot fail partially: the whole call does."""
        code, message = failure
        status = 503 if code == "ServiceUnavailableException" else 500
        call.error = code
        call.message = message
        self._refuse_records(call)
        return error_reply(status, code, message)

    def _refuse_records(self, call):
        """Journal the records of a call that failed as a whole."""
        count = len(call.raws)
        if count:
            self._app.store.append_records(
                call.sequence, call.stream, REFUSED * count,
                [call.error] * count, call.texts, call.raws)

    # -- the other operations, as little as clients need

    def _create_stream(self, call):
        document = parse_object(call.request.body)
        name = check_stream_name(document.get("DeliveryStreamName"))
        call.stream = name
        if name in self._app.streams:
            raise ApiError("resource_in_use")
        self._app.create_stream(name)
        return _json({"DeliveryStreamARN": self._arn(name)})

    def _describe_stream(self, call):
        name = self._named_stream(call)
        return _json({"DeliveryStreamDescription": {
            "DeliveryStreamName": name,
            "DeliveryStreamARN": self._arn(name),
            "DeliveryStreamStatus": "ACTIVE",
            "DeliveryStreamType": "DirectPut",
            "VersionId": "1",
            "Destinations": [],
            "HasMoreDestinations": False}})

    def _list_streams(self, call):
        document = parse_object(call.request.body)
        after = document.get("ExclusiveStartDeliveryStreamName") or ""
        limit = document.get("Limit") or 10
        names = sorted(name for name in self._app.streams if name > after)
        return _json({"DeliveryStreamNames": names[:limit],
                      "HasMoreDeliveryStreams": len(names) > limit})

    def _delete_stream(self, call):
        self._app.delete_stream(self._named_stream(call))
        return _json({})

    def _named_stream(self, call):
        document = parse_object(call.request.body)
        name = check_stream_name(document.get("DeliveryStreamName"))
        call.stream = name
        if name not in self._app.streams:
            raise ApiError("unknown_stream", f"Firehose {name} not found "
                           f"under account {self._app.settings.account}.")
        return name

    def _arn(self, name):
        settings = self._app.settings
        return (f"arn:aws:firehose:{settings.region}:{settings.account}:"
                f"deliverystream/{name}")

    # -- the journal

    def _finish(self, call, reply, sent):
        """Count and journal a request whose reply's outcome is known."""
        request = call.request
        reply_sent = sent and not call.garbled
        acknowledged = call.said if reply_sent else 0
        refused = len(call.raws) - call.accepted
        stats = self._app.stats
        status = None if reply.silent else reply.status
        stats.statuses[str(status)] += 1
        if call.error:
            stats.errors[call.error] += 1
        if not reply_sent:
            stats.replies_lost += 1
        for name in call.faults:
            stats.faults[name] += 1
        if call.counted:
            stream = stats.streams[call.stream]
            stream.in_flight -= 1
            stream.accepted += call.accepted
            stream.refused += refused
            stream.acknowledged += acknowledged
            stream.bytes += call.accepted_bytes
        self._show(call, status, refused, reply_sent)
        self._app.store.append_request({
            "seq": call.sequence, "started": request.started,
            "received": request.received, "replied": time.time(),
            "connection": request.connection.number,
            "exchange": request.exchange,
            "tls": request.connection.site.tls,
            "operation": call.operation, "stream": call.stream,
            "records": len(call.raws), "raw_bytes": call.raw_bytes,
            "body_bytes": request.length, "accepted": call.accepted,
            "refused": refused, "acknowledged": acknowledged,
            "status": status, "error": call.error,
            "fault": "+".join(call.faults) or None,
            "reply_sent": reply_sent, "request_id": call.request_id,
            "access_key": call.access_key})

    def _show(self, call, status, refused, reply_sent):
        """Tell the page what became of a request."""
        watch = self._app.watch
        now = time.time()
        if call.counted:
            watch.finished(now, call.stream, call.accepted, refused)
        reason = call.error or call.reason
        if reason is None and not reply_sent:
            reason = "reply not sent, or garbled"
        if reason is None and refused:
            reason = "not stored"
        if reason is None and status != 200:
            reason = f"HTTP {status}"
        if reason is not None:
            watch.refused(now, call.stream, refused, reason, call.message,
                          "+".join(call.faults) or None)

    def _journal_broken(self, connection, operation, stream, fault, started,
                        status, have):
        """Journal a request of which the body never came."""
        self._app.stats.broken_uploads += 1
        if fault:
            self._app.stats.faults[fault] += 1
        self._app.watch.refused(time.time(), stream, 0, "upload broke off",
                                f"{have} bytes of the body came", fault)
        self._app.store.append_request({
            "seq": self._app.store.next_sequence(), "started": started,
            "received": None, "replied": time.time(),
            "connection": connection.number,
            "exchange": connection.exchanges, "tls": connection.site.tls,
            "operation": operation, "stream": stream,
            "records": 0, "raw_bytes": 0, "body_bytes": have, "accepted": 0,
            "refused": 0, "acknowledged": 0, "status": status, "error": None,
            "fault": fault, "reply_sent": False, "request_id": None,
            "access_key": None})


def _operation(request):
    """The operation of the target header, or None if it is not ours."""
    target = request.headers.get("x-amz-target", "")
    return target[len(TARGET):] if target.startswith(TARGET) else None


def _peek_stream(request, have):
    match = _NAME_IN_BODY.search(request.body, 0, have)
    return match.group(1).decode("latin-1") if match else None


def _json(document):
    return Reply(200, json.dumps(document).encode(), content_type=JSON_TYPE)


def _not_found():
    """What AWS says to requests that are not of its protocol."""
    return Reply(404, b"<UnknownOperationException/>\n")
