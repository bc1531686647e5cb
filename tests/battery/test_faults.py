"""R-108: each system call of each write fails once, and nothing that was acknowledged is lost."""

import errno

import grpc
import pytest
from client import CHAT, TASK, Refused, new_id
from conftest import rounds
from faults import Faults

# What a write may be refused with when the disk fails under it. The chat's message is refused with TURN_FAILED when
# the task service could not carry out what the assistant wanted.
CLEAN = {
    (grpc.StatusCode.UNAVAILABLE, "OUTCOME_UNKNOWN"),
    (grpc.StatusCode.UNAVAILABLE, "TURN_FAILED"),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL"),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORAGE_BUSY"),
}

# A process that ends over a failed sync breaks its connections.
GONE = (grpc.StatusCode.UNAVAILABLE, None)

FAULTS = [
    ("pwrite", errno.EIO),
    ("pwrite", errno.ENOSPC),
    ("fsync", errno.EIO),
    ("fdatasync", errno.EIO),
    ("open", errno.EMFILE),
    ("ftruncate", errno.EIO),
]


class Story:
    """One person's writes against a server that is failed, and what must be found afterwards."""

    def __init__(self, server, faults, client_of):
        self.server, self.faults, self.client_of = server, faults, client_of
        self.ann = client_of(server)
        self.ann.sign_up()
        # What was acknowledged: the title of every live task by its id.
        self.titles = {}
        # Titles of which the assistant said that it does not know.
        self.unknown = set()
        self.number = 0

    def new_title(self):
        self.number += 1
        return f"thing {self.number}"

    def made(self):
        task = self.ann.create(self.new_title())
        self.titles[task.id] = task.title
        return task

    # Each of these prepares a write, and answers how to send it (again), and what it does to the titles.

    def create_task(self):
        title, request_id = self.new_title(), new_id()
        return (
            lambda: self.ann.create(title, request_id=request_id),
            lambda answer: self.titles.__setitem__(answer.id, title),
        )

    def update_task(self):
        task, title, request_id = self.made(), self.new_title(), new_id()
        fields = {"task": {"id": task.id, "title": title}, "update_mask": "title", "request_id": request_id}
        return (
            lambda: self.ann.call(f"{TASK}/UpdateTask", **fields),
            lambda answer: self.titles.__setitem__(task.id, title),
        )

    def delete_task(self):
        task, request_id = self.made(), new_id()
        fields = {"task_id": task.id, "request_id": request_id}
        return lambda: self.ann.call(f"{TASK}/DeleteTask", **fields), lambda answer: self.titles.pop(task.id)

    def send_message(self):
        title, request_id = self.new_title(), new_id()

        def keep(answer):
            made = {task_id for task_id, found in self.found().items() if found == title}
            errors = [call.error for call in answer.tool_calls if call.error]
            if not errors:
                assert len(made) == 1, f"{len(made)} tasks of one message: {answer}"
            elif "Nothing was changed" in answer.response:
                # It stays true after the restart, too.
                assert not made, answer
            else:
                # It said that it does not know; the restart brings out what is so.
                self.unknown.add(title)
            self.titles |= dict.fromkeys(made, title)

        fields = {"content": f'add "{title}"', "request_id": request_id}
        return lambda: self.ann.call(f"{CHAT}/SendMessage", **fields), keep

    def fail(self, write, kind, error, nth):
        """One write during which the nth call of a kind fails, then a crash; answers whether one failed."""
        send, keep = getattr(self, write)()
        refused = None
        self.faults.arm(kind, nth, error)
        try:
            answer = send()
        except Refused as caught:
            refused = caught
        failed = self.faults.disarm()
        if refused is None:
            keep(answer)
        else:
            assert failed, f"refused without a fault: {refused}"
            assert (refused.code, refused.reason) in CLEAN | {GONE}, refused
        if failed and kind in ("fsync", "fdatasync"):
            self.no_more_writes(write)
        if not failed and nth > 1:
            # The last one; a crash after it says nothing new.
            return False
        self.server.restart()
        self.ann = self.client_of(self.server, token=self.ann.token)
        self.settle(send, keep, refused)
        return failed

    def no_more_writes(self, write):
        """After a failed sync nobody knows what the disk holds: writes of that file end until a new start reads it."""
        refusals = 0
        attempts = [lambda: self.ann.create("after")]
        if write == "send_message":
            # One of its two files is the one that failed.
            attempts.append(lambda: self.ann.call(f"{CHAT}/CreateConversation", conversation={"title": "after"}))
        for attempt in attempts:
            try:
                made = attempt()
                if made.DESCRIPTOR.name == "Task":
                    self.titles[made.id] = "after"
            except Refused as refused:
                assert (refused.code, refused.reason) in CLEAN | {GONE}, refused
                refusals += 1
        assert refusals, "writes go on after a failed sync"

    def settle(self, send, keep, refused):
        """After the restart: what was acknowledged is there, and a write of unknown outcome can be repeated."""
        found = self.found()
        self.titles |= {task_id: title for task_id, title in found.items() if title in self.unknown}
        if refused is None:
            assert found == self.titles
            return
        for task_id in self.titles.keys() & found.keys():
            assert found[task_id] == self.titles[task_id] or refused.reason in ("OUTCOME_UNKNOWN", None), refused
        try:
            keep(send())
        except Refused as again:
            # The same request has the same end; whatever the turn had done before it failed is in the list.
            assert again.reason == "TURN_FAILED", again
            self.titles = self.found() | {one: title for one, title in self.titles.items() if title not in found}
        assert self.found() == self.titles

    def found(self):
        return {task.id: task.title for task in self.ann.tasks()}


@pytest.fixture
def story(make_server, client_of, tmp_path):
    """A story on a server under fiu-run."""
    faults = Faults(tmp_path)
    server = make_server(wrapper=faults.wrapper()).start()
    return Story(server, faults, client_of)


def cases():
    """Every write with every fault."""
    for write in ["create_task", "update_task", "delete_task", "send_message"]:
        for kind, error in FAULTS:
            marks = []
            if (write, kind) == ("send_message", "fsync"):
                # The tool's first try ends with OUTCOME_UNKNOWN, its second with STORAGE_BUSY, and only that is told.
                reason = "after a try of unknown outcome the assistant says that nothing was changed"
                marks.append(pytest.mark.xfail(strict=True, reason=reason))
            yield pytest.param(write, kind, error, id=f"{write}-{kind}-{errno.errorcode[error]}", marks=marks)


@pytest.mark.parametrize("write,kind,error", list(cases()))
def test_r_108_every_failing_call_of_a_write_is_a_clean_error_and_loses_nothing(story, write, kind, error):
    last = rounds(4, 10_000)
    failed = 0
    while failed < last and story.fail(write, kind, error, failed + 1):
        failed += 1
    # fdatasync and open are not part of a write as the engine is built today; the others are part of each.
    assert failed >= 1 or kind not in ("pwrite", "fsync"), f"no {kind} was ever called"
