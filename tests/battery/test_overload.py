"""R-110 to R-112: more work than can be done. What is taken on is done in time, the rest is told so at once, and
afterwards everything is as before."""

import asyncio
import statistics
import time

import grpc
import grpc.aio
from client import AUTH, OPTIONS, PASSWORD, TASK, Refused, messages
from conftest import FULL, rounds

# Below the limit of streams of one connection.
PER_CONNECTION = 80


class Crowd:
    """Callers at once, each with the next call as soon as it has its answer; who is refused waits as it is told."""

    def __init__(self, server, users, callers):
        self.users = users
        self.callers = callers
        self.address = server.address
        self.channels = []
        self.took, self.refused, self.wrong = [], [], []

    async def work(self, number, method, fields, late):
        request, answer = messages(method, self.users[0].channel)
        call = self.channels[number % len(self.channels)].unary_unary(
            f"/{method}", request_serializer=request.SerializeToString, response_deserializer=answer.FromString
        )
        user = self.users[number % len(self.users)]
        while time.monotonic() < late:
            begun = time.monotonic()
            try:
                await call(request(**fields(number)), metadata=user.metadata(), timeout=20)
                self.took.append(time.monotonic() - begun)
            except grpc.aio.AioRpcError as error:
                refused = Refused(error)
                if (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED"):
                    self.refused.append(time.monotonic() - begun)
                    await asyncio.sleep(1)
                else:
                    self.wrong.append(str(refused))

    async def run(self, method, fields, seconds):
        connections = -(-self.callers // PER_CONNECTION)
        self.channels = [grpc.aio.insecure_channel(self.address, options=OPTIONS) for _ in range(connections)]
        late = time.monotonic() + seconds
        await asyncio.gather(*(self.work(number, method, fields, late) for number in range(self.callers)))
        await asyncio.gather(*(channel.close() for channel in self.channels))
        assert not self.wrong, self.wrong[:5]
        return self

    def p99(self):
        return statistics.quantiles(self.took, n=100)[98]


def load(server, users, callers, seconds, method=f"{TASK}/CreateTask"):
    def fields(number):
        return {"task": {"title": f"from {number}"}} if method.endswith("CreateTask") else {"page_size": 20}

    return asyncio.run(Crowd(server, users, callers).run(method, fields, seconds))


def test_r_110_ten_times_more_callers_than_can_be_served_get_in_or_are_told_so(server, client_of):
    users = [client_of(server) for _ in range(8)]
    for user in users:
        user.sign_up()
    seconds = rounds(2, 60)
    calm = load(server, users, 64, seconds)
    assert not calm.refused
    crowd = load(server, users, 640, seconds + 1)
    assert users[0].health() == users[0].health(TASK) == "SERVING"
    print(
        f"64 callers: {len(calm.took) / seconds:.0f}/s, p99 {calm.p99() * 1000:.0f} ms; 640: {len(crowd.took) / seconds:.0f}/s, "
        f"p99 {crowd.p99() * 1000:.0f} ms, {len(crowd.refused)} refused, {server.resident() >> 20} MiB"
    )
    assert server.resident() < 256 << 20
    # nothing of it is left.
    begun = time.monotonic()
    users[0].create("afterwards")
    assert time.monotonic() - begun < 2
    if FULL:
        assert len(crowd.took) / (seconds + 1) >= 0.9 * len(calm.took) / seconds
        assert crowd.p99() <= 0.25


def test_r_111_a_storm_of_logins_does_not_starve_who_reads(server, client_of):
    ann = client_of(server)
    ann.sign_up()
    ann.create("read by ann")
    seconds = rounds(2, 20)
    calm = load(server, [ann], 4, seconds, f"{TASK}/ListTasks")
    before = server.resident()
    request, answer = messages(f"{AUTH}/LogIn", ann.channel)

    async def storm():
        reads = Crowd(server, [ann], 4)
        channel = grpc.aio.insecure_channel(server.address, options=OPTIONS)
        log_in = channel.unary_unary(
            f"/{AUTH}/LogIn", request_serializer=request.SerializeToString, response_deserializer=answer.FromString
        )
        seen = {}

        async def try_again_and_again(number):
            while True:
                # Each from a place of its own, so that only the hashing itself is the limit.
                place = [("x-forwarded-for", f"10.77.{number}.{len(seen) & 255}")]
                wrong = request(email=f"nobody{number}@example.com", password=PASSWORD)
                try:
                    await log_in(wrong, metadata=place, timeout=20)
                except grpc.aio.AioRpcError as error:
                    refused = Refused(error)
                    seen[refused.reason] = seen.get(refused.reason, 0) + 1
                    await asyncio.sleep(0.05)

        storming = [asyncio.create_task(try_again_and_again(number)) for number in range(64)]
        await reads.run(f"{TASK}/ListTasks", lambda _: {"page_size": 20}, seconds)
        for one in storming:
            one.cancel()
        await asyncio.gather(*storming, return_exceptions=True)
        await channel.close()
        return reads, seen

    stormy, seen = asyncio.run(storm())
    kept = len(stormy.took) / len(calm.took)
    more = (server.resident() - before) >> 20
    print(f"{len(calm.took) / seconds:.0f} reads/s, beside the storm {kept:.0%} of it; log-ins {seen}; {more} MiB more")
    assert not stormy.refused and len(stormy.took) > 10
    assert seen.keys() <= {"CREDENTIALS_INVALID", "OVERLOADED", "TOO_MANY_ATTEMPTS"}, seen
    assert server.resident() < 256 << 20
    if FULL:
        assert kept >= 0.8, kept
