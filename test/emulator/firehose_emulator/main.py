"""Options and start-up."""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile

from .app import App
from .control import PREFIX, Control
from .listeners import MODES, Listeners
from .page import PREFIX as PAGE
from .page import Page
from .settings import Settings
from .sigv4 import Key


def parse_options(arguments):
    parser = argparse.ArgumentParser(
        prog="firehose-emulator",
        description="Amazon Data Firehose on loopback, for tests and for "
        "developing without AWS.")
    add = parser.add_argument
    add("--bind", default="127.0.0.1", help="address (%(default)s)")
    add("--port", type=int, default=0, help="HTTP port (0: any free one)")
    add("--tls-port", type=int, help="also serve HTTPS (0: any free one)")
    add("--control-port", type=int,
        help="a further HTTP port for /_control/ (0: any free one); the "
        "others answer it as well")
    add("--listener", action="append", default=[], metavar="MODE[:PORT]",
        help="a further listener: " + ", ".join(MODES))
    add("--cert", help="certificate chain for HTTPS (default: a new one "
        "from a throwaway authority)")
    add("--key", help="its private key")
    add("--port-file", help="written when ready: JSON with url, tls_url, "
        "ports, ca_file, dir, pid")
    add("--dir", help="data directory (default: a temporary one)")
    add("--region", default="us-east-1", help="(%(default)s)")
    add("--stream", action="append", default=[], metavar="NAME",
        help="a stream that exists from the start; repeatable")
    add("--strict-streams", action="store_true",
        help="do not create a stream when a record for it arrives")
    add("--access-key", default="AKIDEXAMPLE", help="(%(default)s)")
    add("--secret-key", default="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        help="(%(default)s)")
    add("--session-token", help="requests must carry it")
    add("--no-verify-signature", action="store_true",
        help="take requests unsigned (benchmarks)")
    add("--short-record-ids", action="store_true",
        help="16 characters instead of 220")
    add("--encrypted", action="store_true",
        help="answer Encrypted: true")
    add("--journal-data", choices=("full", "hash", "none"), default="full",
        help="what the records file keeps of the data (%(default)s)")
    add("--exit-on-eof", action="store_true",
        help="end when standard input does, that is with its parent")
    add("--quiet", action="store_true", help="say nothing when ready")
    options = parser.parse_args(arguments)
    if bool(options.cert) != bool(options.key):
        parser.error("--cert and --key go together")
    return options


def main(arguments=None):
    options = parse_options(arguments)
    try:
        asyncio.run(_run(options))
    except KeyboardInterrupt:
        pass
    except (OSError, RuntimeError, ValueError) as error:
        print(f"firehose-emulator: {error}", file=sys.stderr)
        return 1
    return 0


async def _run(options):
    directory = options.dir or tempfile.mkdtemp(prefix="firehose-emulator.")
    settings = Settings(
        region=options.region, strict_streams=options.strict_streams,
        verify_signature=not options.no_verify_signature,
        short_record_ids=options.short_record_ids,
        encrypted=options.encrypted, journal_data=options.journal_data,
        quiet=options.quiet)
    key = Key(options.access_key, options.secret_key, options.session_token)
    app = App(settings, directory, [key], options.stream)
    stopped = asyncio.Event()
    listeners = Listeners(app, options.bind, options.cert, options.key)
    app.router.add(PREFIX, Control(app, listeners, stopped.set).handle)
    page = Page(app)
    app.router.add(PAGE, page.handle)
    app.router.home = page.handle
    where = await _listen(listeners, options)
    where["dir"] = os.path.abspath(directory)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if options.exit_on_eof:
        loop.add_reader(0, lambda: os.read(0, 4096) or stopped.set())
    if options.port_file:
        _write_atomically(options.port_file, json.dumps(where) + "\n")
    if not options.quiet:
        print(json.dumps(where, indent=2), flush=True)
    await stopped.wait()
    listeners.close()
    for connection in list(app.connections):
        connection.hang_up()
    await asyncio.sleep(0.01)


async def _listen(listeners, options):
    """Open what the options ask for; return the port file's contents."""
    host = f"[{options.bind}]" if ":" in options.bind else options.bind
    where = {"pid": os.getpid(), "host": options.bind}
    where["port"] = await listeners.open("http", options.port)
    where["url"] = f"http://{host}:{where['port']}"
    where["control_port"] = where["port"]
    if options.control_port is not None:
        where["control_port"] = await listeners.open("http",
                                                     options.control_port)
        listeners.ports["http"] = where["port"]
    where["control_url"] = f"http://{host}:{where['control_port']}{PREFIX}"
    where["tls_port"] = where["tls_url"] = None
    if options.tls_port is not None:
        where["tls_port"] = await listeners.open("https", options.tls_port)
        where["tls_url"] = f"https://{host}:{where['tls_port']}"
    for wish in options.listener:
        mode, _, port = wish.partition(":")
        await listeners.open(mode, int(port or 0))
    where["listeners"] = listeners.ports
    where["ca_file"] = listeners.ca_file
    return where


def _write_atomically(path, text):
    """Let a reader see the whole file or none."""
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)
