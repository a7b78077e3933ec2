"""The script that people write today: a table's rows to Firehose by psycopg2 and boto3.

    table_to_firehose.py CONNECTION URL CA_FILE ROWS CPU

Written fairly: a server-side cursor with 2,000 rows a fetch, a line of JSON for
each row, 500 to a batch over a kept-alive connection; it looks whether entries
failed and sends those again.  It ends after so many rows.  CPU is the program
that tells a process's CPU time.  Prints "cpu_ns backend_cpu_ns elapsed_ns
requests" from the first row on.
"""

import json
import subprocess
import sys
import time

import boto3
import psycopg2

BATCH_RECORDS = 500


def main(connection, url, ca_file, wanted, cpu_program):
    client = boto3.client(
        'firehose', region_name='us-east-1', endpoint_url=url, verify=ca_file or None,
        aws_access_key_id='AKIDEXAMPLE',
        aws_secret_access_key='wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY')
    database = psycopg2.connect(connection)
    requests = 0

    def backend_cpu():
        return int(subprocess.check_output([cpu_program, str(database.get_backend_pid())]))

    def send(records):
        nonlocal requests
        while records:
            reply = client.put_record_batch(
                DeliveryStreamName='bench', Records=[{'Data': data} for data in records])
            requests += 1
            if not reply['FailedPutCount']:
                return
            records = [data for data, answer in zip(records, reply['RequestResponses'])
                       if 'ErrorCode' in answer]

    backend = backend_cpu()
    cpu = time.process_time_ns()
    start = time.monotonic_ns()
    cursor = database.cursor('rows')
    cursor.itersize = 2000
    cursor.execute('SELECT * FROM orders LIMIT %s', (wanted,))
    names = None
    batch = []
    for row in cursor:
        if names is None:
            names = [column.name for column in cursor.description]
        batch.append(json.dumps(dict(zip(names, row)), default=str).encode() + b'\n')
        if len(batch) == BATCH_RECORDS:
            send(batch)
            batch = []
    send(batch)
    print(time.process_time_ns() - cpu, backend_cpu() - backend, time.monotonic_ns() - start,
          requests)


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
