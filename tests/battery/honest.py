"""Somebody honest: makes one call again and again and says how each went, until its input ends.

A process of its own, so that whoever attacks beside it takes nothing from it but what they take from the server.
"""

import json
import sys
import threading
import time

import grpc


def main():
    wanted = json.loads(sys.stdin.readline())
    channel = grpc.insecure_channel(wanted["address"], options=[tuple(option) for option in wanted["options"]])
    # Nobody looks at the messages here, so they stay bytes.
    call = channel.unary_unary(wanted["method"])
    request, metadata = bytes.fromhex(wanted["request"]), [tuple(field) for field in wanted["metadata"]]
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    while not over.wait(wanted["pause"]):
        begun, failed = time.monotonic(), None
        try:
            call(request, metadata=metadata, timeout=10)
        except grpc.RpcError as error:
            failed = f"{error.code().name}: {error.details()}"
        # The clock is the same one in every process.
        print(json.dumps((begun, time.monotonic() - begun, failed)), flush=True)


main()
