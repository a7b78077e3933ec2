"""Puts from psycopg2; connects by PGHOST, PGPORT, PGDATABASE, PGUSER.

    python3 python_psycopg2.py STREAM FULL_STREAM

The queue of FULL_STREAM has no room: what to do then is shown, too.
"""
import sys
import time

import psycopg2
from psycopg2.extras import Json

stream, full = sys.argv[1:]
connection = psycopg2.connect("")
cursor = connection.cursor()

# one record; sent when the transaction commits
cursor.execute("SELECT firehose_put_json(%s, %s)",
               [stream, Json({"page": "/", "n": 1})])
cursor.execute("SELECT firehose_put_text(%s, %s)", [stream, "line"])
cursor.execute("SELECT firehose_put_bytes(%s, %s)", [stream, b"\x00\xff\n"])
cursor.execute("CALL firehose_send(%s, %s)", [stream, Json({"sent": True})])

# several; a list of jsonb has to say that it is one
cursor.execute("SELECT firehose_put_jsons(%s, %s)",
               [stream, Json([{"n": 2}, {"n": 3}])])
cursor.execute("SELECT firehose_put_texts(%s, %s)", [stream, ["a", "b"]])
cursor.execute("SELECT firehose_put_texts(%s, %s)", [stream, []])
cursor.execute("SELECT firehose_put_bytes_array(%s, %s::bytea[])",
               [stream, [b"\x01", b"\\x02"]])
connection.commit()

# what is rolled back is not sent, unless it is put at once
cursor.execute("SELECT firehose_put_text(%s, 'rolled back')", [stream])
cursor.execute("SELECT firehose_put_text(%s, 'at once', false)", [stream])
connection.rollback()

# the outcome
cursor.execute("SELECT firehose_put_text(%s, 'waited for')", [stream])
record_id = cursor.fetchone()[0]
connection.commit()
cursor.execute("SELECT firehose_wait(%s)", [record_id])
print(cursor.fetchone()[0])
connection.rollback()


def put_patiently(cursor, stream, text):
    """Put in a transaction that goes on if the queue stays full."""
    for attempt in range(3):
        cursor.execute("SAVEPOINT put")
        try:
            cursor.execute("SELECT firehose_put_text(%s, %s)", [stream, text])
            cursor.execute("RELEASE SAVEPOINT put")
            return True
        except psycopg2.errors.InsufficientResources:   # 53000
            cursor.execute("ROLLBACK TO SAVEPOINT put")
            time.sleep(0.1 * 2 ** attempt)
    return False


if not put_patiently(cursor, full, "never sent"):
    print("full")
cursor.execute("SELECT firehose_put_text(%s, 'went on')", [stream])
connection.commit()

# an error that no other attempt mends
try:
    cursor.execute("SELECT firehose_put_json(%s, %s)", [stream, "no JSON"])
except psycopg2.Error as error:
    print(error.pgcode)
