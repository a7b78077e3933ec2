"""Verifies AWS Signature Version 4 with botocore's own signer.

The request is rebuilt from what arrived, signed again by botocore with the
secret we know, and the signatures are compared.  Nothing here shares code
with the extension, which is the point.
"""

import calendar
import hashlib
import hmac
import re
import time

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from .errors import ApiError

WINDOW = 300        # seconds a signature is good for, to either side
STAMP = "%Y%m%dT%H%M%SZ"
MUST_BE_SIGNED = ("host", "x-amz-date", "x-amz-target")

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=([^,\s]+),\s*SignedHeaders=([^,\s]+),"
    r"\s*Signature=([0-9a-f]{64})\Z")


class Key:
    """One access key that may call.

    expires  None or the Unix time after which the token counts as expired
    denied   calls with this key get AccessDeniedException
    """

    def __init__(self, access_key, secret_key, session_token=None,
                 expires=None, denied=False):
        self.access_key = access_key
        self.secret_key = secret_key
        self.session_token = session_token
        self.expires = expires
        self.denied = denied


class _Signer(SigV4Auth):
    """botocore's signer, told the hash of a body it need not copy."""

    def payload(self, request):
        return request.context["payload_hash"]


class Verifier:
    """Checks requests against a set of keys."""

    def __init__(self, region, keys, service="firehose"):
        self.region = region
        self.service = service
        self.set_keys(keys)

    def set_keys(self, keys):
        self.keys = {key.access_key: key for key in keys}

    def verify(self, request, now):
        """Raise an ApiError unless the request is rightly signed."""
        headers = request.headers
        key_id, scope, signed, signature = self._authorization(headers)
        stamp = headers.get("x-amz-date")
        signed_at = _parse_stamp(stamp)
        self._check_scope(scope, stamp)
        key = self._find_key(key_id, headers, now)
        _check_window(stamp, signed_at, now)
        _check_signed_headers(headers, signed)
        body_hash = hashlib.sha256(request.body).hexdigest()
        claimed = headers.get("x-amz-content-sha256", body_hash)
        if claimed != body_hash:
            raise ApiError("invalid_signature", "The provided "
                           "'x-amz-content-sha256' header does not match "
                           "what was computed.")
        expected = self._sign(request, key, signed, stamp, body_hash)
        if not hmac.compare_digest(expected, signature):
            raise ApiError("invalid_signature")
        return key_id

    def _authorization(self, headers):
        """Take the Authorization header apart."""
        value = headers.get("authorization")
        if not value:
            raise ApiError("missing_token")
        match = _AUTHORIZATION.match(value)
        if not match:
            raise ApiError("incomplete_signature",
                           "Authorization header requires 'Credential', "
                           "'SignedHeaders' and 'Signature' parameters")
        credential, signed, signature = match.groups()
        key_id, _, scope = credential.partition("/")
        return key_id, scope.split("/"), signed.split(";"), signature

    def _check_scope(self, scope, stamp):
        if len(scope) != 4:
            raise ApiError("incomplete_signature",
                           "Credential must have exactly 5 slash-delimited "
                           "elements")
        date, region, service, terminator = scope
        wrong = None
        if date != stamp[:8]:
            wrong = (f"Date in Credential scope does not match YYYYMMDD from "
                     f"ISO-8601 version of date from HTTP: '{date}' != "
                     f"'{stamp[:8]}'")
        elif region != self.region:
            wrong = ("Credential should be scoped to a valid region, not "
                     f"'{region}'.")
        elif service != self.service:
            wrong = ("Credential should be scoped to correct service: "
                     f"'{self.service}'.")
        elif terminator != "aws4_request":
            wrong = ("Credential should be scoped with a valid terminator: "
                     "'aws4_request'.")
        if wrong:
            raise ApiError("invalid_signature", wrong)

    def _find_key(self, key_id, headers, now):
        key = self.keys.get(key_id)
        if (key is None
                or headers.get("x-amz-security-token") != key.session_token):
            raise ApiError("unrecognized_client")
        if key.expires is not None and now >= key.expires:
            raise ApiError("expired_token")
        if key.denied:
            raise ApiError("access_denied")
        return key

    def _sign(self, request, key, signed, stamp, body_hash):
        """Sign the request anew; return the signature."""
        again = AWSRequest(
            method=request.method,
            url="http://" + request.headers["host"] + request.path,
            headers={name: request.headers[name] for name in signed})
        again.context["timestamp"] = stamp
        again.context["payload_hash"] = body_hash
        credentials = Credentials(key.access_key, key.secret_key,
                                  key.session_token)
        signer = _Signer(credentials, self.service, self.region)
        text = signer.string_to_sign(again, signer.canonical_request(again))
        return signer.signature(text, again)


def _parse_stamp(stamp):
    try:
        return calendar.timegm(time.strptime(stamp or "", STAMP))
    except ValueError:
        raise ApiError("incomplete_signature",
                       "Authorization header requires existence of either a "
                       "valid 'X-Amz-Date' or a 'Date' header.") from None


def _check_window(stamp, signed_at, now):
    """A signature is good for five minutes before and after its time."""
    def show(moment):
        return time.strftime(STAMP, time.gmtime(moment))

    if signed_at < now - WINDOW:
        raise ApiError("expired_signature",
                       f"Signature expired: {stamp} is now earlier than "
                       f"{show(now - WINDOW)} ({show(now)} - 5 min.)")
    if signed_at > now + WINDOW:
        raise ApiError("expired_signature",
                       f"Signature not yet current: {stamp} is still later "
                       f"than {show(now + WINDOW)} ({show(now)} + 5 min.)")


def _check_signed_headers(headers, signed):
    """What must be signed is signed, and what is signed was sent."""
    if signed != sorted(set(signed)) or any(n != n.lower() for n in signed):
        raise ApiError("incomplete_signature",
                       "SignedHeaders must be sorted and in lower case")
    needed = set(MUST_BE_SIGNED)
    needed.update(name for name in headers if name.startswith("x-amz-"))
    missing = sorted(needed - set(signed))
    if missing:
        raise ApiError("invalid_signature",
                       f"'{missing[0]}' must be a 'SignedHeader' in the AWS "
                       "Authorization.")
    unsent = sorted(set(signed) - set(headers))
    if unsent:
        raise ApiError("invalid_signature",
                       f"signed header '{unsent[0]}' was not sent")
