"""Where instructions go: the difference of two files of callgrind.

    instructions.py FEWER MORE N SHOWN

Prints instructions for each of the N that MORE has more than FEWER, by shared
object, and of the SHOWN functions that cost most.
"""

import collections
import re
import subprocess
import sys

LINE = re.compile(r'^\s*([\d,]+)\s*(?:\([^)]*\))?\s+(?:.*?/)?[^/\s]*:(\S+)(?:.*\[(?:.*/)?([^]/]+)\])?')


def counts(file):
    """Instructions of each function, not of those that it calls."""
    text = subprocess.run(['callgrind_annotate', '--threshold=100', '--auto=no', file],
                          check=True, capture_output=True, text=True).stdout
    found = collections.Counter()
    for line in text.splitlines():
        match = LINE.match(line)
        if match:
            found[match[3] or '?', match[2]] += int(match[1].replace(',', ''))
    return found


def main(fewer, more, n, shown):
    difference = counts(more)
    difference.subtract(counts(fewer))
    objects = collections.Counter()
    for (library, _), instructions in difference.items():
        objects[library] += instructions
    print(f'{sum(objects.values()) / n:9.0f} in all')
    for library, instructions in objects.most_common(8):
        print(f'{instructions / n:9.0f} {library}')
    for (library, function), instructions in difference.most_common(shown):
        print(f'{instructions / n:14.0f} {function} ({library})')


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
