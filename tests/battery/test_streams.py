"""R-113: ten thousand streams that do nothing, and somebody who works beside them."""

import asyncio
import time

import grpc
import grpc.aio
from client import OPTIONS, TASK, has_method, messages
from grpc_health.v1 import health_pb2

STREAMS = 10_000
# Below the limit of streams of one connection.
PER_CONNECTION = 80

# Quoted by the battery for each process.
MOST_MEMORY = 256 * 1024 * 1024


class Streams:
    """Open streams of one method, each past its beginning."""

    def __init__(self, server, method, request, answer, metadata=()):
        self.channels = [
            grpc.aio.insecure_channel(server.address, options=OPTIONS) for _ in range(STREAMS // PER_CONNECTION)
        ]
        self.open = [
            channel.unary_stream(
                method, request_serializer=lambda message: message, response_deserializer=answer.FromString
            )(request, metadata=metadata)
            for channel in self.channels
            for _ in range(PER_CONNECTION)
        ]

    async def begun(self):
        """Waits until the server has answered each with its headers."""
        await asyncio.gather(*(one.initial_metadata() for one in self.open))
        return self

    async def next(self):
        """The next message of each."""
        return await asyncio.wait_for(asyncio.gather(*(one.read() for one in self.open)), 60)

    def are_open(self):
        return not any(one.done() for one in self.open)

    async def close(self):
        for one in self.open:
            one.cancel()
        await asyncio.gather(*(channel.close() for channel in self.channels))


async def work(client):
    """Unary calls of a client beside the streams; answers the slowest's time."""
    slowest = 0
    for number in range(50):
        begun = time.monotonic()
        await asyncio.to_thread(client.create, f"beside {number}")
        await asyncio.to_thread(client.call, f"{TASK}/ListTasks", page_size=20)
        slowest = max(slowest, time.monotonic() - begun)
    return slowest


def test_r_113_ten_thousand_idle_watches_of_health_cost_little_and_hinder_nobody(server, client_of):
    ann = client_of(server)
    ann.sign_up()

    async def story():
        request = health_pb2.HealthCheckRequest(service=TASK).SerializeToString()
        streams = Streams(server, "/grpc.health.v1.Health/Watch", request, health_pb2.HealthCheckResponse)
        await streams.begun()
        assert {one.status for one in await streams.next()} == {health_pb2.HealthCheckResponse.SERVING}
        slowest = await work(ann)
        assert streams.are_open()
        print(f"{len(streams.open)} streams, {server.resident() >> 20} MiB, the slowest of 50 took {slowest:.3f} s")
        assert server.resident() < MOST_MEMORY
        await streams.close()

    asyncio.run(story())
    # They are let go, and the server is as it was.
    assert ann.health(TASK) == "SERVING"
    ann.create("after them")


def test_r_113_ten_thousand_idle_watches_of_tasks_cost_little_and_each_sees_the_next_change(server, client_of):
    ann = client_of(server)
    bob = client_of(server)
    ann.sign_up()
    bob.sign_up()
    assert has_method(f"{TASK}/WatchTasks", ann.channel)
    request, answer = messages(f"{TASK}/WatchTasks", ann.channel)

    async def story():
        streams = Streams(server, f"/{TASK}/WatchTasks", request().SerializeToString(), answer, ann.metadata())
        await streams.begun()
        # Another's work is none of theirs.
        slowest = await work(bob)
        assert streams.are_open()
        print(f"{len(streams.open)} streams, {server.resident() >> 20} MiB, the slowest of 50 took {slowest:.3f} s")
        made = await asyncio.to_thread(ann.create, "seen by all")
        assert {one.change.task_id for one in await streams.next()} == {made.id}
        print(f"after a change that each has seen: {server.resident() >> 20} MiB")
        assert server.resident() < MOST_MEMORY
        await streams.close()

    asyncio.run(story())
    assert ann.health(TASK) == "SERVING"
    ann.create("after them")
