"""Scripted faults: rules, and when one fires.

A rule is {"match": {...}, "action": {"type": ..., ...}}.  The type names an
entry of actions.ACTIONS, which says in which phase of a request it strikes:

    reuse    first byte of another request on a kept-alive connection
    head     the head is here, the body is not
    request  well-formed and signed, nothing stored yet
    records  which of the records fail
    delay    how long the reply waits
    reply    stored; what becomes of the reply

In each phase the first rule that fires wins; phases are independent.
"""

import fnmatch
import random

from . import actions

MATCH_KEYS = {"stream", "operation", "probability", "seed", "count", "skip",
              "every", "containing"}


class RuleError(ValueError):
    """A rule that makes no sense; answered with 400 by the control API."""


class Rule:
    """One rule, with its own dice and counters.

    matched  requests that fit stream, operation and content
    fired    those it struck
    """

    def __init__(self, number, document):
        self.number = number
        self.document = document
        match = document.get("match", {})
        action = document.get("action")
        if set(document) - {"match", "action"} or not isinstance(action, dict):
            raise RuleError("a rule is {match: {...}, action: {...}}")
        if set(match) - MATCH_KEYS:
            raise RuleError(f"unknown match {set(match) - MATCH_KEYS}")
        self.name = action.get("type")
        if self.name not in actions.ACTIONS:
            raise RuleError(f"unknown action {self.name!r}")
        self.action = actions.ACTIONS[self.name]
        self.parameters = {**self.action.defaults, **action}
        del self.parameters["type"]
        unknown = set(self.parameters) - set(self.action.defaults)
        if unknown:
            raise RuleError(f"{self.name} has no parameter {unknown}")
        self.stream = match.get("stream")
        self.operation = match.get("operation", "Put*")
        self.containing = match.get("containing", "").encode()
        self.probability = match.get("probability", 1)
        self.skip = match.get("skip", 0)
        self.every = match.get("every", 1)
        self.count = match.get("count")
        self.random = random.Random(match.get("seed", 0))
        self.matched = 0
        self.fired = 0

    def fits(self, operation, stream, raws):
        """True if the rule is about such a request."""
        if self.stream and not fnmatch.fnmatchcase(stream or "", self.stream):
            return False
        if not fnmatch.fnmatchcase(operation or "", self.operation):
            return False
        return (not self.containing
                or any(self.containing in raw for raw in raws))

    def fires(self):
        """Count a fitting request; true if the rule strikes it."""
        self.matched += 1
        if self.count is not None and self.fired >= self.count:
            return False
        if self.matched <= self.skip:
            return False
        if (self.matched - self.skip - 1) % self.every:
            return False
        if (self.probability < 1
                and self.random.random() >= self.probability):
            return False
        self.fired += 1
        return True

    def report(self):
        return {"id": self.number, "matched": self.matched,
                "fired": self.fired, **self.document}


class RuleBook:
    def __init__(self):
        self._rules = {}
        self._phases = {}
        self._number = 0

    def add(self, document):
        if not isinstance(document, dict):
            raise RuleError("a rule is an object")
        rule = Rule(self._number + 1, document)
        self._number += 1
        self._rules[rule.number] = rule
        self._phases.setdefault(rule.action.phase, []).append(rule)
        return rule.number

    def remove(self, number):
        rule = self._rules.pop(number)
        phase = self._phases[rule.action.phase]
        phase.remove(rule)
        if not phase:
            del self._phases[rule.action.phase]

    def clear(self):
        self._rules.clear()
        self._phases.clear()

    def list(self):
        return [rule.report() for rule in self._rules.values()]

    def rules_of(self, phase):
        """The rules of a phase, mostly none."""
        return self._phases.get(phase, ())

    def find(self, phase, operation, stream, raws=()):
        """Return the rule that strikes this request in a phase, or None."""
        for rule in self._phases.get(phase, ()):
            if rule.fits(operation, stream, raws) and rule.fires():
                return rule
        return None
