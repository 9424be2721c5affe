"""Lives of worker processes that end before they can work; apart, since a worker imports the file its life is in."""

import os

from harness.engines.local_worker import Refused


def refuse(connection, environment, crash_file):
    connection.send(Refused("the worker says why"))


def exit_at_once(connection, environment, crash_file):
    os._exit(7)
