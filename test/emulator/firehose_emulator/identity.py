"""Hands out credentials, as the services of AWS do that know who we are.

One listener of mode `identity` is all of them, told apart by the path:

/latest/...                 instance metadata, version 2 only
/v1/credentials, /v2/...    the agent of a container (ECS, EKS Pod Identity)
POST / with a form          STS: AssumeRole, AssumeRoleWithWebIdentity
/federation/credentials     IAM Identity Center: the credentials of a role
/token                      IAM Identity Center: a new token for an old one

Keys that are handed out are good for calls to Firehose at once, and until they
expire.  /_control/identity changes the settings below and tells the calls.
"""

import copy
import email.utils
import hmac
import json
import re
import secrets
import time
import urllib.parse
import xml.sax.saxutils

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from .sigv4 import Key
from .wire import Reply

SETTINGS = {
    "ttl": 3600,                # seconds that keys live
    "rotate": True,             # new keys at each call, or the same
    "denied": [],               # principals whose calls Firehose refuses
    "metadata": {
        "role": "database", "region": "us-east-1", "delay": 0,
        "status": None,         # answered to everything
        "refuse_tokens": 0,     # so many calls get 401
        "code": "Success",
    },
    "container": {
        "authorization": None,  # what the header must say
        "delay": 0, "status": None,
        "role_arn": "arn:aws:iam::123456789012:role/task",
    },
    "sts": {
        "region": "us-east-1", "delay": 0, "status": None,
        "web_identity_token": "good-token",
        # role ARN: {external_id, trusts: [principals], web_identity}; a role
        # that is not listed does not exist for us
        "roles": {},
    },
    "sso": {
        "access_token": "sso-access", "refresh_token": "sso-refresh",
        "client_id": "client", "client_secret": "client-secret",
        "delay": 0, "status": None, "roles": {"reader": "123456789012"},
    },
}

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request,"
    r" ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})\Z")


class StsError(Exception):
    def __init__(self, status, code, message):
        super().__init__(message)
        self.status = status
        self.code = code


def _json(document, status=200):
    return Reply(status, json.dumps(document).encode(),
                 content_type="application/json")


def _zulu(moment):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


class Identity:
    """The services, their settings, and what was asked of them.

    calls       {service, call, principal, ok} of each, in order
    principals  whose keys an access key belongs to
    """

    def __init__(self, app):
        self._app = app
        self.settings = copy.deepcopy(SETTINGS)
        self.calls = []
        self.principals = {}
        self._tokens = set()
        self._issued = {}

    # -- control

    def change(self, changes):
        """Merge settings, one level deep; return all of them."""
        for name, value in changes.items():
            if name not in self.settings:
                raise ValueError(f"unknown setting {name!r}")
            if isinstance(value, dict) and value:
                self.settings[name].update(value)
            else:
                self.settings[name] = value
        for access_key, principal in self.principals.items():
            key = self._app.verifier.keys.get(access_key)
            if key is not None:
                key.denied = principal in self.settings["denied"]
        return {"settings": self.settings, "calls": self.calls,
                "principals": self.principals}

    # -- requests

    def handle(self, request):
        path = request.path.split("?")[0]
        if path.startswith("/latest/"):
            name, answer = "metadata", self._metadata
        elif path.startswith(("/v1/", "/v2/")):
            name, answer = "container", self._container
        elif path in ("/federation/credentials", "/token"):
            name, answer = "sso", self._sso
        else:
            name, answer = "sts", self._sts
        settings = self.settings[name]
        call = {"service": name, "call": f"{request.method} {path}",
                "ok": False, "time": time.time()}
        self.calls.append(call)
        if settings["status"]:
            reply = _json({"message": "told to"}, settings["status"])
        else:
            reply = answer(request, path, settings, call)
        call["ok"] = reply.status == 200
        call["status"] = reply.status
        reply.delay = settings["delay"]
        reply.headers["Date"] = email.utils.formatdate(self._now(), usegmt=True)
        return reply

    def _now(self):
        return time.time() + self._app.clock_offset

    def _issue(self, principal):
        """Make keys for a principal that Firehose accepts from now on."""
        now = self._now()
        old = self._issued.get(principal)
        if old and not self.settings["rotate"] and old[1] > now:
            return old
        expires = now + self.settings["ttl"]
        key = Key("ASIA" + secrets.token_hex(8).upper(), "SECRET" + secrets.token_hex(17),
                  "TOKEN" + secrets.token_urlsafe(200), expires,
                  principal in self.settings["denied"])
        self._app.verifier.keys[key.access_key] = key
        self.principals[key.access_key] = principal
        self._issued[principal] = (key, expires)
        return key, expires

    # -- instance metadata

    def _metadata(self, request, path, settings, call):
        if path == "/latest/api/token":
            ttl = request.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
            if request.method != "PUT":
                return Reply(405)
            if not ttl.isdigit() or not 1 <= int(ttl) <= 21600:
                return Reply(400)
            if "x-forwarded-for" in request.headers or "via" in request.headers:
                return Reply(403)
            token = secrets.token_urlsafe(40)
            self._tokens.add(token)
            return Reply(200, token.encode(), content_type="text/plain")
        if request.method != "GET":
            return Reply(405)
        if settings["refuse_tokens"] > 0:
            settings["refuse_tokens"] -= 1
            self._tokens.clear()
        if request.headers.get("x-aws-ec2-metadata-token") not in self._tokens:
            return Reply(401)
        role = settings["role"]
        base = "/latest/meta-data/iam/security-credentials/"
        if path == "/latest/meta-data/placement/region":
            return Reply(200, settings["region"].encode(),
                         content_type="text/plain")
        if not role or not path.startswith(base):
            return Reply(404)
        if path == base:
            return Reply(200, role.encode(), content_type="text/plain")
        if path != base + role:
            return Reply(404)
        if settings["code"] != "Success":
            return _json({"Code": settings["code"],
                          "Message": "the role cannot be assumed",
                          "LastUpdated": _zulu(self._now())})
        key, expires = self._issue(role)
        call["principal"] = role
        return _json({"Code": "Success", "Type": "AWS-HMAC",
                      "LastUpdated": _zulu(self._now()),
                      "AccessKeyId": key.access_key,
                      "SecretAccessKey": key.secret_key,
                      "Token": key.session_token,
                      "Expiration": _zulu(expires)})

    # -- containers

    def _container(self, request, path, settings, call):
        wanted = settings["authorization"]
        if request.method != "GET":
            return Reply(405)
        if wanted is not None and request.headers.get("authorization") != wanted:
            return _json({"code": "InvalidAuthorization",
                          "message": "not authorized", "HttpErrorCode": 401}, 401)
        key, expires = self._issue(settings["role_arn"])
        call["principal"] = settings["role_arn"]
        return _json({"RoleArn": settings["role_arn"],
                      "AccessKeyId": key.access_key,
                      "SecretAccessKey": key.secret_key,
                      "Token": key.session_token, "Expiration": _zulu(expires)})

    # -- STS

    def _sts(self, request, _path, settings, call):
        try:
            return self._sts_call(request, settings, call)
        except StsError as error:
            escape = xml.sax.saxutils.escape
            text = ('<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n'
                    "  <Error>\n    <Type>Sender</Type>\n"
                    f"    <Code>{error.code}</Code>\n"
                    f"    <Message>{escape(str(error))}</Message>\n  </Error>\n"
                    "  <RequestId>r</RequestId>\n</ErrorResponse>\n")
            return Reply(error.status, text.encode(), content_type="text/xml")

    def _sts_call(self, request, settings, call):
        content_type = request.headers.get("content-type", "")
        if (request.method != "POST" or not content_type.startswith(
                "application/x-www-form-urlencoded")):
            raise StsError(400, "InvalidAction", "not a form")
        form = dict(urllib.parse.parse_qsl(str(request.body, "ascii"),
                                           strict_parsing=True))
        action = form.get("Action")
        call["call"] = action
        if form.get("Version") != "2011-06-15":
            raise StsError(400, "InvalidAction", "wrong version")
        role = form.get("RoleArn", "")
        call["principal"] = role
        if not re.fullmatch(r"[\w+=,.@-]{2,64}", form.get("RoleSessionName", "")):
            raise StsError(400, "ValidationError", "RoleSessionName")
        known = settings["roles"].get(role)
        if action == "AssumeRoleWithWebIdentity":
            if "authorization" in request.headers:
                raise StsError(400, "ValidationError", "must not be signed")
            if form.get("WebIdentityToken") != settings["web_identity_token"]:
                raise StsError(400, "InvalidIdentityToken", "Incorrect token audience")
            if known is None or not known.get("web_identity"):
                raise StsError(403, "AccessDenied", "Not authorized to perform "
                               "sts:AssumeRoleWithWebIdentity")
        elif action == "AssumeRole":
            caller = self._verify(request, settings)
            call["caller"] = caller
            if known is None or caller not in known.get("trusts", [caller]):
                raise StsError(403, "AccessDenied", f"User: {caller} is not authorized "
                               f"to perform: sts:AssumeRole on resource: {role}")
            if known.get("external_id") != form.get("ExternalId"):
                raise StsError(403, "AccessDenied", f"User: {caller} is not authorized "
                               f"to perform: sts:AssumeRole on resource: {role}")
        else:
            raise StsError(400, "InvalidAction", "unknown")
        return self._session(action, role, form["RoleSessionName"])

    def _session(self, action, role, session):
        key, expires = self._issue(role)
        escape = xml.sax.saxutils.escape
        arn = role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/")
        text = (f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n'
                f"  <{action}Result>\n    <AssumedRoleUser>\n"
                f"      <AssumedRoleId>AROA:{session}</AssumedRoleId>\n"
                f"      <Arn>{escape(arn)}/{session}</Arn>\n    </AssumedRoleUser>\n"
                f"    <Credentials>\n      <AccessKeyId>{key.access_key}</AccessKeyId>\n"
                f"      <SecretAccessKey>{escape(key.secret_key)}</SecretAccessKey>\n"
                f"      <SessionToken>{escape(key.session_token)}</SessionToken>\n"
                f"      <Expiration>{_zulu(expires)}</Expiration>\n    </Credentials>\n"
                f"  </{action}Result>\n</{action}Response>\n")
        return Reply(200, text.encode(), content_type="text/xml")

    def _verify(self, request, settings):
        """Check the signature by botocore's own signer; return the principal."""
        headers = request.headers
        match = _AUTHORIZATION.match(headers.get("authorization", ""))
        if not match:
            raise StsError(403, "MissingAuthenticationToken", "not signed")
        key_id, date, region, service, signed, signature = match.groups()
        stamp = headers.get("x-amz-date", "")
        key = self._app.verifier.keys.get(key_id)
        if (key is None or (key.session_token or None)
                != headers.get("x-amz-security-token")):
            raise StsError(403, "InvalidClientTokenId", "The security token "
                           "included in the request is invalid.")
        if key.expires is not None and key.expires <= self._now():
            raise StsError(403, "ExpiredToken", "The security token included "
                           "in the request is expired")
        if (service, region, date) != ("sts", settings["region"], stamp[:8]):
            raise StsError(403, "SignatureDoesNotMatch", "Credential should be "
                           "scoped to correct service: 'sts' and a valid region.")
        moment = time.mktime(time.strptime(stamp, "%Y%m%dT%H%M%SZ")) - time.timezone
        if abs(moment - self._now()) > 300:
            raise StsError(403, "SignatureDoesNotMatch", f"Signature expired: {stamp} "
                           "is now earlier than it may be")
        again = AWSRequest(method="POST", url=f"http://{headers['host']}{request.path}",
                           data=bytes(request.body),
                           headers={name: headers[name] for name in signed.split(";")})
        again.context["timestamp"] = stamp
        signer = SigV4Auth(Credentials(key.access_key, key.secret_key,
                                       key.session_token), "sts", region)
        text = signer.string_to_sign(again, signer.canonical_request(again))
        if not hmac.compare_digest(signer.signature(text, again), signature):
            raise StsError(403, "SignatureDoesNotMatch", "The request signature we "
                           "calculated does not match the signature you provided.")
        return self.principals.get(key_id, key_id)

    # -- IAM Identity Center

    def _sso(self, request, path, settings, call):
        if path == "/token":
            form = json.loads(str(request.body, "utf-8"))
            call["call"] = "CreateToken"
            if form != {"clientId": settings["client_id"],
                        "clientSecret": settings["client_secret"],
                        "grantType": "refresh_token",
                        "refreshToken": settings["refresh_token"]}:
                return _json({"error": "invalid_grant",
                              "error_description": "bad refresh token"}, 400)
            settings["access_token"] = "sso-access-" + secrets.token_hex(8)
            settings["refresh_token"] = "sso-refresh-" + secrets.token_hex(8)
            return _json({"accessToken": settings["access_token"],
                          "expiresIn": 28800, "tokenType": "Bearer",
                          "refreshToken": settings["refresh_token"]})
        query = dict(urllib.parse.parse_qsl(request.path.partition("?")[2]))
        if request.headers.get("x-amz-sso_bearer_token") != settings["access_token"]:
            return _json({"__type": "UnauthorizedException",
                          "message": "Session token not found or invalid"}, 401)
        if settings["roles"].get(query.get("role_name")) != query.get("account_id"):
            return _json({"__type": "ForbiddenException", "message": "No access"}, 403)
        call["principal"] = query["role_name"]
        key, expires = self._issue(query["role_name"])
        return _json({"roleCredentials": {
            "accessKeyId": key.access_key, "secretAccessKey": key.secret_key,
            "sessionToken": key.session_token, "expiration": int(expires * 1000)}})

