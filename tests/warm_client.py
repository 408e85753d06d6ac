"""Stands for a command that ``tests/warm.py`` runs: hands it streams, folder and variables, and ends as it ends."""

import array
import json
import os
import signal
import socket
import sys

HANDED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


def main() -> None:
    place, *words = sys.argv[1:]
    descriptors: list[int] = []
    streams: list[int] = []
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            streams.append(-1)
            continue
        streams.append(len(descriptors))
        descriptors.append(number)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(place)
    request = {
        "words": words,
        "environment": dict(os.environ),
        "folder": os.getcwd(),  # noqa: PTH109  (pathlib takes longer to load than all the rest)
        "streams": streams,
        "ignored": [number.name for number in HANDED_ON if signal.getsignal(number) == signal.SIG_IGN],
    }
    content = json.dumps(request).encode()
    handed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    connection.sendmsg([b"%08d" % len(content)], handed)
    connection.sendall(content)
    for number in HANDED_ON:
        signal.signal(number, lambda number, frame: connection.send(bytes([number])))
    code = int(connection.makefile().readline())
    if code < 0:
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


main()
