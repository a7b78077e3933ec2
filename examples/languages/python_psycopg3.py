"""Puts from psycopg 3; connects by PGHOST, PGPORT, PGDATABASE, PGUSER.

    python3 python_psycopg3.py STREAM FULL_STREAM

The queue of FULL_STREAM has no room: what to do then is shown, too.
"""
import sys
import time

import psycopg
from psycopg.types.json import Jsonb

stream, full = sys.argv[1:]
connection = psycopg.connect("")

# one record; sent when the transaction commits
with connection.transaction():
    connection.execute("SELECT firehose_put_json(%s, %s)",
                       [stream, Jsonb({"page": "/", "n": 1})])
    connection.execute("SELECT firehose_put_text(%s, %s)", [stream, "line"])
    connection.execute("SELECT firehose_put_bytes(%s, %s)",
                       [stream, b"\x00\xff\n"])
    connection.execute("CALL firehose_send(%s, %s)",
                       [stream, Jsonb({"sent": True})])

    # several
    connection.execute("SELECT firehose_put_jsons(%s, %s)",
                       [stream, [Jsonb({"n": 2}), Jsonb({"n": 3})]])
    connection.execute("SELECT firehose_put_texts(%s, %s)", [stream, ["a", "b"]])
    connection.execute("SELECT firehose_put_texts(%s, %s)", [stream, []])
    connection.execute("SELECT firehose_put_bytes_array(%s, %s)",
                       [stream, [b"\x01", b"\\x02"]])

# what is rolled back is not sent, unless it is put at once
with connection.transaction(force_rollback=True):
    connection.execute("SELECT firehose_put_text(%s, 'rolled back')", [stream])
    connection.execute("SELECT firehose_put_text(%s, 'at once', false)", [stream])

# the outcome
with connection.transaction():
    record_id = connection.execute(
        "SELECT firehose_put_text(%s, 'waited for')", [stream]).fetchone()[0]
print(connection.execute("SELECT firehose_wait(%s)", [record_id]).fetchone()[0])
connection.rollback()


def put_patiently(connection, stream, text):
    """Put in a transaction that goes on if the queue stays full."""
    for attempt in range(3):
        try:
            with connection.transaction():      # a savepoint
                connection.execute("SELECT firehose_put_text(%s, %s)",
                                   [stream, text])
            return True
        except psycopg.errors.InsufficientResources:    # 53000
            time.sleep(0.1 * 2 ** attempt)
    return False


with connection.transaction():
    if not put_patiently(connection, full, "never sent"):
        print("full")
    connection.execute("SELECT firehose_put_text(%s, 'went on')", [stream])

# an error that no other attempt mends
try:
    connection.execute("SELECT firehose_put_json(%s, %s)", [stream, "no JSON"])
except psycopg.Error as error:
    print(error.sqlstate)
