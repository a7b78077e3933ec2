#!/usr/bin/python3
"""Compare the endpoints of services with those that botocore arrives at.

First those of Firehose in all regions and variants, by the list of partitions;
then of all services by environments and config files that are generated at
random, the same ones in every run.

Sections [services] and variables AWS_ENDPOINT_URL are generated if botocore
knows them; it does from 1.31 on.

usage: compare_endpoints.py PROGRAM [COUNT]
"""

import itertools
import json
import os
import random
import re
import subprocess
import sys
import tempfile

import botocore
import botocore.exceptions
import botocore.loaders
import botocore.session

DATA = os.path.join(os.path.dirname(botocore.__file__), "data")
SERVICES = ("firehose", "sts", "sso", "sso-oidc")
KNOWS_URLS = tuple(int(n) for n in botocore.__version__.split(".")[:2]) >= (1, 31)
REGIONS = ("us-east-1", "eu-west-1", "eu-south-1", "us-gov-west-1", "cn-north-1", "ap-southeast-2")

# The data of older ones have other endpoints of IAM Identity Center in GovCloud
KNOWS_GOVCLOUD = KNOWS_URLS


LOADER = botocore.loaders.create_loader()


def partitions():
    """Yield region, DNS suffix and dual-stack suffix, if any, of all regions."""
    with open(os.path.join(DATA, "partitions.json"), encoding="utf-8") as file:
        known = json.load(file)["partitions"]
    for partition in known:
        outputs = partition["outputs"]
        suffix = outputs["dnsSuffix"]
        dualstack = outputs["dualStackDnsSuffix"] if outputs["supportsDualStack"] else None
        for region in partition["regions"]:
            if re.search(r"-[0-9]+\Z", region):
                yield region, suffix, dualstack


def compare_regions(program):
    """Compare the endpoints of Firehose in all regions and variants."""
    count = differences = 0
    for region, suffix, dualstack in partitions():
        for use_fips, use_dualstack in itertools.product((False, True), repeat=2):
            if use_dualstack and dualstack is None:
                continue
            host = "firehose" + ("-fips" if use_fips else "")
            wanted = f"https://{host}.{region}.{dualstack if use_dualstack else suffix}/"
            case = Case("firehose", region, {
                "AWS_USE_FIPS_ENDPOINT": str(use_fips).lower(),
                "AWS_USE_DUALSTACK_ENDPOINT": str(use_dualstack).lower()})
            got = case.by_us(program, "/nonexistent")[0]
            count += 1
            if got != wanted:
                differences += 1
                print(f"# botocore {wanted}, we {got}: {case}")
    return count, differences


class Case:
    """A service, a region, and what is configured about its endpoint."""

    def __init__(self, service, region, environment, config=""):
        self.service = service
        self.region = region
        self.environment = environment
        self.config = config

    def __str__(self):
        return f"{self.service} {self.region} {self.environment}\n{self.config}"

    def by_botocore(self, home):
        os.environ.clear()
        os.environ.update(self.environment, AWS_CONFIG_FILE=os.path.join(home, "config"))
        session = botocore.session.Session()
        session.register_component("data_loader", LOADER)
        client = session.create_client(self.service, region_name=self.region,
                                       aws_access_key_id="a", aws_secret_access_key="b")
        name = client.meta.service_model.operation_names[0]
        sent = []

        def keep(request, **_):
            sent.append(request)
            raise InterruptedError

        client.meta.events.register_last("before-send", keep)
        try:
            client._make_api_call(name, parameters(client, name))  # pylint: disable=protected-access
        except InterruptedError:
            pass
        url = re.match(r"https?://[^/?]*", sent[0].url).group(0)
        signed = re.search(r"Credential=a/\d+/([^/]+)/", str(sent[0].headers.get("Authorization")))
        return url + "/", signed.group(1) if signed else None

    def by_us(self, program, home):
        output = subprocess.run(
            [program, self.service, self.region],
            env=dict(self.environment, AWS_CONFIG_FILE=os.path.join(home, "config"),
                     AWS_EC2_METADATA_DISABLED="true"),
            stdout=subprocess.PIPE, check=True).stdout.decode()
        return tuple(output.split()) if not output.startswith("failed") else (output, None)


def parameters(client, operation):
    """Parameters that the operation takes, the shortest that are valid."""
    shape = client.meta.service_model.operation_model(operation).input_shape
    return {name: example(shape.members[name]) for name in shape.required_members}


def example(shape):
    if shape.type_name == "structure":
        return {name: example(shape.members[name]) for name in shape.required_members}
    if shape.type_name == "list":
        return [example(shape.member)]
    if shape.type_name in ("integer", "long"):
        return 1
    return b"x" if shape.type_name == "blob" else (shape.enum or ["x" * 20])[0]


def configured(rng):
    """An environment and a profile that say something about the endpoint."""
    service = rng.choice(SERVICES)
    environment = {}
    lines = ["[default]"]
    sections = []
    if KNOWS_URLS:
        variable = "AWS_ENDPOINT_URL_" + service.upper().replace("-", "_")
        for name in (variable, "AWS_ENDPOINT_URL"):
            if rng.random() < 0.15:
                environment[name] = f"https://{name.lower().replace('_', '-')}:8443"
        if rng.random() < 0.1:
            environment["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = rng.choice(("true", "false"))
        if rng.random() < 0.1:
            lines.append("ignore_configured_endpoint_urls = true")
        if rng.random() < 0.3:
            lines.append("endpoint_url = https://of-the-profile")
        if rng.random() < 0.6:
            lines.append("services = mine")
            sections = ["[services mine]"]
            for name in rng.sample(SERVICES, 3) + ["s3"]:
                sections += [rng.choice(("{} =", "{}=")).format(name.replace("-", "_")),
                             *rng.choice(([], ["  max_attempts = 2"])),
                             rng.choice(("  endpoint_url = https://{}", "\tendpoint_url=https://{}")).format(
                                 "own-" + name)]
    environment["AWS_STS_REGIONAL_ENDPOINTS"] = "regional"
    if rng.random() < 0.5:
        value = rng.choice(("legacy", "regional"))
        if rng.random() < 0.5:
            environment["AWS_STS_REGIONAL_ENDPOINTS"] = value
        else:
            del environment["AWS_STS_REGIONAL_ENDPOINTS"]
            lines.append(f"sts_regional_endpoints = {value}")
    for key, name in (("use_fips_endpoint", "AWS_USE_FIPS_ENDPOINT"),
                      ("use_dualstack_endpoint", "AWS_USE_DUALSTACK_ENDPOINT")):
        if rng.random() < 0.15:
            lines.append(f"{key} = true")
        if rng.random() < 0.1:
            environment[name] = rng.choice(("true", "false"))
    parts = [lines, sections] if rng.random() < 0.5 else [sections, lines]
    region = rng.choice(REGIONS)
    if region.startswith("us-gov-") and service.startswith("sso") and not KNOWS_GOVCLOUD:
        region = "us-east-1"
    return Case(service, region, environment,
                "".join(line + "\n" for part in parts for line in part))


def compare_configured(program, count):
    """Compare what generated environments and config files lead to."""
    rng = random.Random(20261127)
    differences = compared = 0
    with tempfile.TemporaryDirectory() as home:
        while compared < count:
            case = configured(rng)
            with open(os.path.join(home, "config"), "w", encoding="utf-8") as file:
                file.write(case.config)
            try:
                theirs = case.by_botocore(home)
            except botocore.exceptions.EndpointVariantError:
                continue                # its data has none there
            ours = case.by_us(program, home)
            compared += 1
            if theirs[1] is None:       # the request is not signed
                theirs, ours = theirs[:1], ours[:1]
            if theirs != ours:
                differences += 1
                print(f"# botocore {theirs}, we {ours}: {case}")
    return differences


def main():
    program = os.path.abspath(sys.argv[1])
    generated = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    count, differences = compare_regions(program)
    differences += compare_configured(program, generated)
    print(f"{count} endpoints, {generated} configurations, {differences} differences; "
          + ("with URLs" if KNOWS_URLS else "this botocore knows no configured URLs"))
    return differences > 0


if __name__ == "__main__":
    sys.exit(main())
