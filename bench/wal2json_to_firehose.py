"""The script that people write today: changes from wal2json to Firehose by boto3.

    pg_recvlogical ... -o format-version=2 -f - | wal2json_to_firehose.py URL CA_FILE CHANGES

Written fairly: it reads lines as they come, sends them as they are, 500 to a
batch over a kept-alive connection, looks whether entries failed and sends
those again.  It ends after so many changes.  Prints "cpu_ns elapsed_ns
requests" from the first line on.
"""

import sys
import time

import boto3

BATCH_RECORDS = 500


def main(url, ca_file, changes):
    client = boto3.client(
        'firehose', region_name='us-east-1', endpoint_url=url, verify=ca_file or None,
        aws_access_key_id='AKIDEXAMPLE',
        aws_secret_access_key='wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY')
    requests = 0

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

    batch = []
    sent = 0
    for line in sys.stdin.buffer:
        if not sent and not batch:
            cpu = time.process_time_ns()
            start = time.monotonic_ns()
        batch.append(line)
        if len(batch) == BATCH_RECORDS or sent + len(batch) == changes:
            send(batch)
            sent += len(batch)
            batch = []
            if sent == changes:
                break
    print(time.process_time_ns() - cpu, time.monotonic_ns() - start, requests)


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
