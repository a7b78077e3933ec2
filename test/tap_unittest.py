#!/usr/bin/python3
"""Run the unittests of a directory and print TAP: tap_unittest.py DIRECTORY."""

import sys
import unittest


class TapResult(unittest.TestResult):
    """Prints a line per test, and one for each subtest that fails."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def line(self, good, test, note=""):
        self.count += 1
        print(f"{'ok' if good else 'not ok'} {self.count} - {test.id()}{note}",
              flush=True)

    def explain(self, test, error):
        for line in self._exc_info_to_string(error, test).splitlines():
            print("# " + line, flush=True)

    def addSuccess(self, test):
        self.line(True, test)

    def addError(self, test, error):
        super().addError(test, error)
        self.line(False, test)
        self.explain(test, error)

    addFailure = addError

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self.line(False, subtest)
            self.explain(subtest, error)

    def addSkip(self, test, reason):
        self.line(True, test, f" # SKIP {reason}")

    def addExpectedFailure(self, test, error):
        self.line(True, test)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.line(False, test, " (success was not expected)")


def main():
    directory = sys.argv[1]
    sys.path.insert(0, directory)
    result = TapResult()
    unittest.defaultTestLoader.discover(directory).run(result)
    print(f"1..{result.count}")
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
