"""R-108, its durability class: an acknowledgement leaves only after the disk has it."""

import re
import time

from conftest import rounds

SYNC = re.compile(r"^(?P<begun>\d+\.\d+) f(?:data)?sync\(\d+\) += 0 <(?P<took>\d+\.\d+)>$")


def test_r_108_every_acknowledged_write_is_synced_between_its_request_and_its_answer(make_server, client_of):
    server = make_server()
    trace = server.folder / "trace"
    # The tracer is a grandchild, so that the process that is started is the server itself; each thread has its file.
    server.wrapper = ["strace", "-D", "-ff", "-q", "-ttt", "-T", "-e", "trace=fsync,fdatasync", "-o", str(trace)]
    server.start()
    ann = client_of(server)
    ann.sign_up()
    ann.create("warmed up")
    calls = []
    for number in range(rounds(50, 500)):
        begun = time.time()
        ann.create(f"task {number}")
        calls.append((begun, time.time()))
    server.stop()
    syncs = []
    lines = (line for file in trace.parent.glob("trace.*") for line in file.read_text().splitlines())
    for found in filter(None, map(SYNC.match, lines)):
        begun = float(found["begun"])
        syncs.append((begun, begun + float(found["took"])))
    # The two clocks are one, but strace notes the end of a call a moment after it.
    for begun, answered in calls:
        assert any(begun <= first and last <= answered + 0.001 for first, last in syncs), (begun, answered, syncs)
    assert len(syncs) >= len(calls)
