"""What sending records to Firehose costs from a script with boto3.

    boto.py URL CA_FILE RECORD_SIZE RECORDS

Batches as large as the sender's, one request at a time over a kept-alive
connection, boto3's default settings, and only what a careful script must do:
look whether entries failed.  The records are there before the clock starts.
Prints "cpu_ns requests".
"""

import sys
import time

import boto3

BATCH_RECORDS = 500
BATCH_BYTES = 4_000_000


def main(url, ca_file, size, count):
    client = boto3.client(
        'firehose', region_name='us-east-1', endpoint_url=url, verify=ca_file,
        aws_access_key_id='AKIDEXAMPLE',
        aws_secret_access_key='wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY')
    batch = min(BATCH_RECORDS, BATCH_BYTES // size)
    records = [b'%010d' % i + b'x' * (size - 10) for i in range(count)]

    def send(some):
        reply = client.put_record_batch(
            DeliveryStreamName='bench', Records=[{'Data': data} for data in some])
        if reply['FailedPutCount']:
            sys.exit('%d records failed' % reply['FailedPutCount'])

    send(records[:1])    # connects
    requests = 0
    start = time.process_time_ns()
    for first in range(0, count, batch):
        send(records[first:first + batch])
        requests += 1
    print(time.process_time_ns() - start, requests)


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
