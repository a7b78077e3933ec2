"""The errors Firehose answers with, as documents and as HTTP statuses."""

import json

from .wire import Reply

JSON_TYPE = "application/x-amz-json-1.1"

# name -> (HTTP status, __type, message, name of the message member)
CATALOGUE = {
    "access_denied": (
        400, "AccessDeniedException",
        "User: arn:aws:iam::123456789012:user/emulator is not authorized to "
        "perform: firehose:PutRecordBatch on resource", "Message"),
    "kms_fault": (
        400, "InvalidKMSResourceException",
        "The KMS key of the delivery stream is disabled", "message"),
    "invalid_source": (
        400, "InvalidSourceException",
        "Only DirectPut delivery streams accept records", "message"),
    "not_permitted_on_source": (
        400, "InvalidArgumentException",
        "This operation is not permitted on KinesisStreamAsSource delivery "
        "stream type.", "message"),
    "unknown_stream": (
        400, "ResourceNotFoundException",
        "Firehose not found under account 123456789012.", "message"),
    "missing_token": (
        400, "MissingAuthenticationTokenException",
        "Missing Authentication Token", "message"),
    "incomplete_signature": (
        400, "IncompleteSignatureException",
        "Authorization header is incomplete", "message"),
    "invalid_signature": (
        400, "InvalidSignatureException",
        "The request signature we calculated does not match the signature "
        "you provided. Check your AWS Secret Access Key and signing method. "
        "Consult the service documentation for details.", "message"),
    "expired_signature": (
        400, "InvalidSignatureException",
        "Signature expired: 20150830T123600Z is now earlier than "
        "20150830T124100Z (20150830T124600Z - 5 min.)", "message"),
    "unrecognized_client": (
        400, "UnrecognizedClientException",
        "The security token included in the request is invalid.", "message"),
    "expired_token": (
        400, "ExpiredTokenException",
        "The security token included in the request is expired", "message"),
    "unknown_operation": (400, "UnknownOperationException", None, "message"),
    "serialization": (400, "SerializationException", None, "message"),
    "validation": (
        400, "ValidationException", "1 validation error detected", "message"),
    "size": (
        400, "InvalidArgumentException",
        "Records size exceeds 4 MB limit", "message"),
    "internal_failure": (500, "InternalFailure", None, "message"),
    "service_unavailable": (
        503, "ServiceUnavailableException", "Slow down.", "message"),
    "throttle": (
        400, "ThrottlingException", "Rate exceeded", "message"),
    "limit_exceeded": (
        400, "LimitExceededException", "Limit exceeded", "message"),
    "resource_in_use": (
        400, "ResourceInUseException", "The stream exists already",
        "message"),
}


class ApiError(Exception):
    """An error document on its way to the client."""

    def __init__(self, name, message=None, status=None):
        entry = CATALOGUE[name]
        self.status = status or entry[0]
        self.code = entry[1]
        self.message = entry[2] if message is None else message
        self.message_key = entry[3]
        super().__init__(f"{self.code}: {self.message}")

    def reply(self):
        return error_reply(self.status, self.code, self.message,
                           self.message_key)


def error_body(code, message, message_key="message"):
    """The bytes of an error document; a code of None leaves __type out."""
    document = {} if code is None else {"__type": code}
    if message is not None:
        document[message_key] = message
    return json.dumps(document).encode()


def error_reply(status, code, message, message_key="message"):
    """The reply of an error document."""
    return Reply(status, error_body(code, message, message_key),
                 content_type=JSON_TYPE)
