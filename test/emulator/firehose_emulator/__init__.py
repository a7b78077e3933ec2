"""A strict Amazon Data Firehose for tests and for developing without AWS.

main       options and start-up          wire       HTTP/1.1 on asyncio
app        what all rooms share          router     path -> room
firehose   the operations                requests   checks of a request's JSON
sigv4      who may call                  errors     the error documents
quota      token buckets per stream      store      delivered bytes, journal
faults     rules and when they fire      actions    what each fault does
damage     broken reply bodies           control    /_control/ for the tests
tls        throwaway certificates        listeners  sockets, bad TLS included
stats      counters                      watch      the last of what happened
page       the page at /, and its events

Everything runs in one thread, so a request is processed without interruption.
"""
