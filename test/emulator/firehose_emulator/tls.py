"""Throwaway certificates, made by the openssl command.

One authority per data directory; kinds of server certificates: good,
wrong-host, expired, self-signed.
"""

import os
import ssl
import subprocess
import warnings

GOOD_HOSTS = ("DNS:localhost", "IP:127.0.0.1", "IP:::1")

_CONFIG = """\
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = {hosts}
"""
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Authority:
    """A certificate authority that lives in a directory."""

    def __init__(self, directory, region):
        self._directory = directory
        self._hosts = (*GOOD_HOSTS, f"DNS:firehose.{region}.amazonaws.com")
        self.ca_file = self._path("ca.pem")
        os.makedirs(directory, mode=0o700, exist_ok=True)
        if not os.path.exists(self.ca_file):
            self._self_sign("ca", "Firehose emulator CA", "ca", self._hosts)

    def certificate(self, kind):
        """Return (certificate file, key file) of a kind, made if needed."""
        files = self._path(kind + ".pem"), self._path(kind + ".key")
        if os.path.exists(files[0]):
            return files
        if kind == "self-signed":
            self._self_sign(kind, "localhost", "server", self._hosts)
        elif kind == "wrong-host":
            self._issue(kind, "wrong.example", ("DNS:wrong.example",), 3650)
        elif kind == "expired":
            self._issue(kind, "localhost", self._hosts, 0)
        else:
            self._issue(kind, "localhost", self._hosts, 3650)
        return files

    def _path(self, name):
        return os.path.join(self._directory, name)

    def _configure(self, kind, name, hosts):
        path = self._path(kind + ".cnf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(_CONFIG.format(name=name, hosts=",".join(hosts)))
        return path

    def _self_sign(self, kind, name, extensions, hosts):
        config = self._configure(kind, name, hosts)
        _openssl("req", "-x509", *_NEW_KEY, "-days", "3650",
                 "-config", config, "-extensions", extensions,
                 "-keyout", self._path(kind + ".key"),
                 "-out", self._path(kind + ".pem"))

    def _issue(self, kind, name, hosts, days):
        config = self._configure(kind, name, hosts)
        request = self._path(kind + ".csr")
        _openssl("req", "-new", *_NEW_KEY, "-config", config,
                 "-keyout", self._path(kind + ".key"), "-out", request)
        _openssl("x509", "-req", "-in", request, "-days", str(days),
                 "-CA", self.ca_file, "-CAkey", self._path("ca.key"),
                 "-CAcreateserial", "-extfile", config,
                 "-extensions", "server", "-out", self._path(kind + ".pem"))


def server_context(certificate, key, only_tls_1_1=False):
    """Return a server's context for a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if only_tls_1_1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1_1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(certificate, key)
    return context


def _openssl(*arguments):
    result = subprocess.run(("openssl", *arguments), capture_output=True,
                            text=True, stdin=subprocess.DEVNULL)
    if result.returncode:
        raise RuntimeError(f"openssl {arguments[0]} failed: {result.stderr}")
