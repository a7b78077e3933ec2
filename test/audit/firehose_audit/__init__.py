"""Compares committed records with the emulator's journal, record by record.

main        options, exit status
committed   reads what should have arrived
journal     reads what the emulator journaled
keys        what identifies a record
compare     the tally: lost, duplicate, phantom, corrupt, out of order
report      the result as text or JSON
"""


class AuditError(Exception):
    """The audit cannot be made: wrong options or files; exit status 2."""
