#!/usr/bin/python3
"""Compare the endpoints of regions with those that botocore's data tells.

usage: compare_endpoints.py PROGRAM
"""

import json
import os
import re
import subprocess
import sys

import botocore

FIPS, DUALSTACK = 1, 2
DATA = os.path.join(os.path.dirname(botocore.__file__), "data")


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


def main():
    program = os.path.abspath(sys.argv[1])
    count = differences = 0
    for region, suffix, dualstack in partitions():
        for flags in (0, FIPS, DUALSTACK, FIPS | DUALSTACK):
            if flags & DUALSTACK and dualstack is None:
                continue
            host = "firehose" + ("-fips" if flags & FIPS else "")
            wanted = f"{host}.{region}.{dualstack if flags & DUALSTACK else suffix}"
            got = subprocess.run([program, "firehose", region, str(flags)],
                                 stdout=subprocess.PIPE, check=False).stdout.decode().strip()
            count += 1
            if got != wanted:
                differences += 1
                print(f"# {region} {flags}: botocore {wanted}, we {got}")
    print(f"{count} endpoints, {differences} differences")
    return differences > 0


if __name__ == "__main__":
    sys.exit(main())
