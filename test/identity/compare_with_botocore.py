#!/usr/bin/python3
"""Compare the credentials that we find with those that botocore finds.

Generates environments, credentials and config files at random (the same ones
in every run), has the emulator be the metadata service, the agent of a
container, STS and IAM Identity Center, and lets botocore's own resolver and
ours loose on each.  Both must arrive at the same keys; where botocore finds
none or raises an error, we must not find any.

Not generated are the files that botocore refuses as a whole, and before it
looks at anything else, where we go on: sections or keys that come twice, a
variable that names a profile and a profile that names a session that do not
exist.  The unit tests say what becomes of those.

usage: compare_with_botocore.py PROGRAM [COUNT]
"""

import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROLE = "arn:aws:iam::123456789012:role/"


def start_emulator(directory):
    port_file = os.path.join(directory, "ports")
    process = subprocess.Popen(
        [sys.executable, os.path.join(HERE, "../emulator/firehose-emulator"),
         "--quiet", "--exit-on-eof", "--listener", "identity", "--dir",
         os.path.join(directory, "emulator"), "--port-file", port_file],
        stdin=subprocess.PIPE)
    deadline = time.time() + 30
    while not os.path.exists(port_file):
        if process.poll() is not None or time.time() > deadline:
            raise RuntimeError("the emulator did not start")
        time.sleep(0.02)
    with open(port_file, encoding="utf-8") as file:
        return process, json.load(file)


def control(ports, what, document):
    request = urllib.request.Request(
        ports["control_url"] + what, json.dumps(document).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)


class Case:
    """One generated environment."""

    def __init__(self, rng, home, url):
        self.rng = rng
        self.home = home
        self.environment = {
            "HOME": home, "PATH": os.environ["PATH"],
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": url,
            "AWS_ENDPOINT_URL_STS": url, "AWS_ENDPOINT_URL_SSO": url,
            "AWS_ENDPOINT_URL_SSO_OIDC": url, "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.path.join(home, "config"),
            "AWS_SHARED_CREDENTIALS_FILE": os.path.join(home, "credentials"),
        }
        self._number = 0
        self._environment(url)
        self.credentials = self._credentials_file()
        self.config = self._config_file()
        self._name_what_exists()

    def _maybe(self, chance):
        return self.rng.random() < chance

    def _key(self):
        """A pair of keys that STS knows, or one that it does not."""
        if self._maybe(0.8):
            return "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
        self._number += 1
        return f"AKID{self._number}", f"secret/{self._number}+="

    def _environment(self, url):
        env = self.environment
        if self._maybe(0.15):
            env["AWS_ACCESS_KEY_ID"] = "AKIDENV"
            if self._maybe(0.8):
                env["AWS_SECRET_ACCESS_KEY"] = "env/secret"
            if self._maybe(0.3):
                env["AWS_SESSION_TOKEN"] = "env+token="
        if self._maybe(0.4):
            name = self.rng.choice(("AWS_PROFILE", "AWS_DEFAULT_PROFILE"))
            env[name] = self.rng.choice(("p", "q", "default"))
        if self._maybe(0.1):
            env["AWS_PROFILE"] = "p"
        if self._maybe(0.15):
            env["AWS_WEB_IDENTITY_TOKEN_FILE"] = os.path.join(self.home, "token")
            if self._maybe(0.9):
                env["AWS_ROLE_ARN"] = ROLE + "web"
        if self._maybe(0.3):
            env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = url + "/v1/credentials"
            if self._maybe(0.3):
                env["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "any"
        if self._maybe(0.4):
            env["AWS_EC2_METADATA_DISABLED"] = self.rng.choice(("true", "TRUE", "false"))

    def _name_what_exists(self):
        """Take back a variable that names a profile that there is not."""
        texts = (self.config or "") + (self.credentials or "")
        for variable in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
            name = self.environment.get(variable)
            if name and not any(line.startswith("[") and name in line.strip("[]\n\"").split("\"")
                                or line == f"[{name}]" or line.split() == ["[profile", name + "]"]
                                for line in texts.splitlines()):
                del self.environment[variable]

    def _write(self, name, value):
        """A line, in one of the ways that the dialect knows."""
        if self._maybe(0.1):
            name = name.upper()
        sign = self.rng.choice(("=", " = ", "=  ", " : ", ":"))
        return f"{name}{sign}{value}\n"

    def _keys(self):
        access, secret = self._key()
        text = self._write("aws_access_key_id", access)
        if self._maybe(0.95):
            text += self._write("aws_secret_access_key", secret)
        if access != "AKIDEXAMPLE" and self._maybe(0.3):
            text += self._write("aws_session_token", "a+token==")
        return text

    def _noise(self):
        return self.rng.choice(
            ("", "", "\n", "# a comment\n", "; another = one\n", "output = json\n",
             "s3 =\n  region = nowhere\n  role_arn = none\n",
             "cli_pager=\n", "   # indented\n"))

    def _role(self, source):
        text = self._write("role_arn", ROLE + self.rng.choice(("one", "one", "two", "untrusted")))
        if self._maybe(0.95):
            if self._maybe(0.6):
                text += self._write("source_profile", source)
            else:
                text += self._write("credential_source", self.rng.choice(
                    ("Environment", "Ec2InstanceMetadata", "Ec2InstanceMetadata",
                     "EcsContainer", "Nonsense")))
        if self._maybe(0.03):
            text += self._write("credential_source", "Environment")
        if "role/two" in text or self._maybe(0.1):
            text += self._write("external_id", "shop")
        if self._maybe(0.2):
            text += self._write("role_session_name", "me")
        if self._maybe(0.2):
            text += self._write("duration_seconds", self.rng.choice(("900", "long")))
        return text

    def _sso(self):
        text = self._write("sso_role_name", self.rng.choice(("reader", "reader", "nobody")))
        if self._maybe(0.95):
            text += self._write("sso_account_id", "123456789012")
        if self._maybe(0.6):
            return text + self._write("sso_session", "corp")
        return (text + self._write("sso_region", "us-east-1")
                + self._write("sso_start_url", "https://corp/start"))

    def _process(self):
        access, secret = self._key()
        output = json.dumps({"Version": 1, "AccessKeyId": access, "SecretAccessKey": secret})
        return self._write("credential_process", self.rng.choice(
            (f"/bin/echo '{output}'", f"/bin/echo   '{output}'", "/bin/false", "/bin/echo '{\"Version\": 2}'",
             "/bin/echo \"" + output.replace('"', '\\"') + '"')))

    def _section(self, source):
        text = self._noise()
        if self._maybe(0.3):
            text += self._keys()
        if self._maybe(0.45):
            text += self._role(source)
        if self._maybe(0.12):
            text += self._write("web_identity_token_file", os.path.join(self.home, "token"))
            if "role_arn" not in text.lower() and self._maybe(0.8):
                text += self._write("role_arn", ROLE + "web")
        if self._maybe(0.15):
            text += self._sso()
        if self._maybe(0.15):
            text += self._process()
        # configparser refuses a key that comes twice; we take the last
        lines, seen = [], set()
        for line in text.splitlines(keepends=True):
            name = line.replace(":", "=").split("=")[0].strip().lower()
            nested = line[:1].isspace() or line[:1] in "#;\n"
            if nested or name not in seen:
                lines.append(line)
            if not nested:
                seen.add(name)
        return "".join(lines)

    def _credentials_file(self):
        if self._maybe(0.3):
            return None
        text = ""
        for name in ("default", "p", "q"):
            if self._maybe(0.4):
                text += f"[{name}]\n" + self._keys() + self._noise()
        return text

    def _config_file(self):
        if self._maybe(0.15):
            return None
        text = ""
        for name, source in (("default", "q"), ("p", self.rng.choice("qrp")), ("q", "r"), ("r", "q")):
            if self._maybe(0.75):
                head = "default" if name == "default" else self.rng.choice(
                    (f"profile {name}", f'profile "{name}"', f"profile  {name}"))
                text += f"[{head}]\n" + self._section(source)
        if "sso_session" in text.lower() or self._maybe(0.5):
            text += ("[sso-session corp]\nsso_region = us-east-1\n"
                     "sso_start_url = https://corp/start\n")
        return text

    def write(self):
        for name, text in (("credentials", self.credentials), ("config", self.config)):
            path = os.path.join(self.home, name)
            if text is None:
                if os.path.exists(path):
                    os.unlink(path)
                continue
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(path, 0o600)

    def __str__(self):
        shown = {name: value for name, value in self.environment.items()
                 if name not in ("HOME", "PATH")}
        return f"{shown}\n--- credentials\n{self.credentials}\n--- config\n{self.config}"


def new_session(url):
    """A session whose services are the emulator, as of any version."""
    import botocore.session

    class Session(botocore.session.Session):
        def create_client(self, service_name, *arguments, **named):
            if named.get("endpoint_url") is None:
                named["endpoint_url"] = url
            return super().create_client(service_name, *arguments, **named)

    return Session()


def by_botocore(case):
    os.environ.clear()
    os.environ.update(case.environment)
    try:
        credentials = new_session(case.environment["AWS_ENDPOINT_URL_STS"]).get_credentials()
        if credentials is None:
            return None, "none"
        frozen = credentials.get_frozen_credentials()
        return (frozen.access_key, frozen.secret_key, frozen.token or "-"), credentials.method
    except AttributeError:          # a fault of some versions' own
        return None, "skipped"
    except Exception as error:      # whatever it is, there are no credentials
        return None, f"{type(error).__name__}: {error}"


def by_us(program, case):
    output = subprocess.run([program], env=case.environment, stdout=subprocess.PIPE,
                            timeout=60, check=True).stdout.decode()
    words = output.split()
    return (tuple(words[1:4]) if words[0] == "found" else None), output.strip()


def write_tokens(home):
    with open(os.path.join(home, "token"), "w", encoding="utf-8") as file:
        file.write("good-token")
    cache = os.path.join(home, ".aws/sso/cache")
    os.makedirs(cache)
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400))
    for name in ("corp", "https://corp/start"):
        path = os.path.join(cache, hashlib.sha1(name.encode()).hexdigest() + ".json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"startUrl": "https://corp/start", "region": "us-east-1",
                       "accessToken": "sso-access", "expiresAt": later}, file)


def main():
    program = os.path.abspath(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 400
    path = os.environ["PATH"]
    kept = {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}
    with tempfile.TemporaryDirectory() as directory:
        process, ports = start_emulator(directory)
        home = os.path.join(directory, "home")
        os.mkdir(home)
        write_tokens(home)
        trusts = {"external_id": None}
        control(ports, "identity", {"rotate": False, "sts": {"roles": {
            ROLE + "one": dict(trusts), ROLE + "two": {"external_id": "shop"},
            ROLE + "web": {"web_identity": True}}}})
        url = f"http://127.0.0.1:{ports['listeners']['identity']}"
        rng = random.Random(20261127)
        differences, methods = 0, {}
        # botocore finds its cache of tokens once, when it is loaded
        os.environ["HOME"] = home
        for number in range(count):
            os.environ.update(kept, PATH=path)
            case = Case(rng, home, url)
            case.write()
            theirs, how = by_botocore(case)
            ours, said = by_us(program, case)
            methods[how if theirs else "no credentials"] = methods.get(
                how if theirs else "no credentials", 0) + 1
            if theirs != ours and how != "skipped":
                differences += 1
                print(f"# case {number}: botocore {theirs and theirs[0]} ({how}), "
                      f"we {ours and ours[0]} ({said[:300]})\n{case}\n")
        process.stdin.close()
        process.wait()
    print(f"{count} combinations, {differences} differences; "
          + ", ".join(f"{how} {n}" for how, n in sorted(methods.items())))
    return differences > 0


if __name__ == "__main__":
    sys.exit(main())
