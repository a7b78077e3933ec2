"""Puts from asyncpg; connects by PGHOST, PGPORT, PGDATABASE, PGUSER.

    python3 python_asyncpg.py STREAM FULL_STREAM

The queue of FULL_STREAM has no room: what to do then is shown, too.
"""
import asyncio
import json
import sys

import asyncpg


async def put_patiently(connection, stream, text):
    """Put in a transaction that goes on if the queue stays full."""
    for attempt in range(3):
        try:
            async with connection.transaction():    # a savepoint
                await connection.execute("SELECT firehose_put_text($1, $2)",
                                         stream, text)
            return True
        except asyncpg.InsufficientResourcesError:  # 53000
            await asyncio.sleep(0.1 * 2 ** attempt)
    return False


async def main(stream, full):
    connection = await asyncpg.connect()

    # one record; sent when the transaction commits
    async with connection.transaction():
        await connection.execute("SELECT firehose_put_json($1, $2)",
                                 stream, json.dumps({"page": "/", "n": 1}))
        await connection.execute("SELECT firehose_put_text($1, $2)",
                                 stream, "line")
        await connection.execute("SELECT firehose_put_bytes($1, $2)",
                                 stream, b"\x00\xff\n")
        await connection.execute("CALL firehose_send($1, $2)",
                                 stream, json.dumps({"sent": True}))

        # several
        await connection.execute("SELECT firehose_put_jsons($1, $2)",
                                 stream, json.dumps([{"n": 2}, {"n": 3}]))
        await connection.execute("SELECT firehose_put_texts($1, $2)",
                                 stream, ["a", "b"])
        await connection.execute("SELECT firehose_put_texts($1, $2)",
                                 stream, [])
        await connection.execute("SELECT firehose_put_bytes_array($1, $2)",
                                 stream, [b"\x01", b"\\x02"])

    # what is rolled back is not sent, unless it is put at once
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("SELECT firehose_put_text($1, 'rolled back')", stream)
    await connection.execute("SELECT firehose_put_text($1, 'at once', false)", stream)
    await transaction.rollback()

    # the outcome
    record_id = await connection.fetchval(
        "SELECT firehose_put_text($1, 'waited for')", stream)
    print(await connection.fetchval("SELECT firehose_wait($1)", record_id))

    async with connection.transaction():
        if not await put_patiently(connection, full, "never sent"):
            print("full")
        await connection.execute("SELECT firehose_put_text($1, 'went on')", stream)

    # an error that no other attempt mends
    try:
        await connection.execute("SELECT firehose_put_json($1, $2)",
                                 stream, "no JSON")
    except asyncpg.PostgresError as error:
        print(error.sqlstate)
    await connection.close()


asyncio.run(main(*sys.argv[1:]))
