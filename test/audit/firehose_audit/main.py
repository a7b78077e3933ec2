"""Options, and what counts as a fault."""

import argparse
import re
import sys

from . import AuditError, committed, report
from .compare import Tally
from .journal import Journal
from .keys import Keys

ALWAYS_FAULTS = ("lost", "phantom", "corrupt", "disordered")


def parse_options(arguments):
    parser = argparse.ArgumentParser(
        prog="firehose-audit",
        description="Compare what was committed with what arrived. Exit "
        "status: 0 clean, 1 not clean, 2 the audit could not be made.")
    add = parser.add_argument
    add("--journal", required=True, metavar="DIR",
        help="the emulator's data directory")
    add("--committed-file", action="append", required=True, metavar="FILE",
        help="records that should have arrived, one per line, in commit "
        "order; - is standard input; repeatable")
    add("--format", choices=committed.FORMATS, default="auto",
        help="of the files' lines (%(default)s)")
    add("--elsewhere-file", action="append", default=[], metavar="FILE",
        help="records that may be missing, because they are in the dead "
        "letters or still queued; same format")
    add("--stream", metavar="NAME",
        help="look at this stream alone; * and ? allowed")
    add("--by-stream", action="store_true",
        help="a record must arrive in the stream that its line names")
    add("--key-regex", metavar="REGEX",
        help="what identifies a record is the first group (or the whole "
        "match) of this in the data; by default the whole data does, and "
        "equal records are counted")
    add("--strip-newline", action="store_true",
        help="drop a newline at the end of an arrived record")
    add("--split-lines", action="store_true",
        help="an arrived record holds several, a line each")
    add("--gunzip", action="store_true",
        help="arrived records are compressed")
    add("--ordered", action="store_true",
        help="within a stream, first attempts must follow commit order")
    add("--allow-duplicates", choices=("none", "unacknowledged", "all"),
        default="none", help="which resends are no fault (%(default)s)")
    add("--max-duplicates", type=int, metavar="N",
        help="but not more than this many")
    add("--examples", type=int, default=5, metavar="N",
        help="findings to show of each kind (%(default)s)")
    add("--json", action="store_true", help="answer in JSON")
    options = parser.parse_args(arguments)
    if options.key_regex:
        try:
            re.compile(options.key_regex.encode())
        except re.error as error:
            parser.error(f"--key-regex: {error}")
    return options


def find_faults(result, options):
    """Return the kinds of findings that the options do not allow."""
    kinds = list(ALWAYS_FAULTS)
    if options.allow_duplicates != "all":
        kinds.append("resent_acknowledged")
    if options.allow_duplicates == "none":
        kinds.append("resent_unacknowledged")
    faults = [kind for kind in kinds if result.counts[kind]]
    resent = ("resent_acknowledged", "resent_unacknowledged")
    if (options.max_duplicates is not None
            and sum(result.counts[kind] for kind in resent)
            > options.max_duplicates):
        faults += [kind for kind in resent
                   if result.counts[kind] and kind not in faults]
    return faults


def audit(options):
    """Make the audit; return the result."""
    journal = Journal(options.journal, options.stream)
    keys = Keys(options)
    keys.use_hashes_of(journal)
    tally = Tally(keys, options.examples)
    tally.commit(committed.read(options.committed_file, options.format))
    tally.excuse(committed.read(options.elsewhere_file, options.format))
    return tally.compare(journal, options.ordered)


def main(arguments=None):
    options = parse_options(arguments)
    try:
        result = audit(options)
    except (AuditError, OSError) as error:
        print(f"firehose-audit: {error}", file=sys.stderr)
        return 2
    faults = find_faults(result, options)
    write = report.as_json if options.json else report.as_text
    print(write(result, faults))
    return 1 if faults else 0
