"""Callers who make the same calls again and again and say how each went, until their input ends.

A process of its own, so that whoever works beside it takes nothing from it but what they take from the server.
"""

import itertools
import json
import sys
import threading
import time

import grpc
from client import Refused


def main():
    wanted = json.loads(sys.stdin.readline())
    channel = grpc.insecure_channel(wanted["address"], options=[tuple(option) for option in wanted["options"]])
    # Nobody looks at the messages here, so they stay bytes.
    call = channel.unary_unary(wanted["method"])
    calls = itertools.cycle([(bytes.fromhex(request), [tuple(field) for field in metadata]) for request, metadata in wanted["calls"]])
    over = threading.Event()

    def work():
        while not over.wait(wanted["pause"]):
            begun, failed = time.monotonic(), None
            request, metadata = next(calls)
            try:
                call(request, metadata=metadata, timeout=wanted["timeout"])
            except grpc.RpcError as error:
                refused = Refused(error)
                failed = [refused.code.name, refused.reason, refused.said]
            # The clock is the same one in every process. A line is written at once, so that no other thread's comes between.
            print(json.dumps((begun, time.monotonic() - begun, failed)) + "\n", end="", flush=True)

    working = [threading.Thread(target=work) for _ in range(wanted["callers"])]
    for one in working:
        one.start()
    sys.stdin.read()
    over.set()
    for one in working:
        one.join()


main()
