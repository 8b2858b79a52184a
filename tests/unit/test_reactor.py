"""Twisted's reactor under Daphne, in a process of its own: a process has one for good."""

from __future__ import annotations

import subprocess
import sys

NO_CONTEXT = """
import socket
from polos_web.serving.reactor import loop
from twisted.internet import reactor
from twisted.python import context, log

class Reader:
    def __init__(self, says):
        self.ours, self.theirs = socket.socketpair()
        self.says, self.read, self.lost = says, [], None
        reactor.addReader(self)
        self.theirs.send(b"x")
    def fileno(self):
        return self.ours.fileno()
    def logPrefix(self):
        raise SystemExit("a context was made for the log")
    def doRead(self):
        self.read.append(self.ours.recv(100))
        return self.says()
    def connectionLost(self, reason):
        self.lost = reason.value
        reactor.removeReader(self)
        if self is worst:
            raise KeyError("a fault while it is told of the fault")

def fail():
    raise ValueError("a fault in a protocol")

failures = []
log.addObserver(lambda event: failures.append(event) if event["isError"] else None)
complaints = []
loop.set_exception_handler(lambda loop, context: complaints.append(context))
fine, faulty, worst = Reader(lambda: None), Reader(fail), Reader(fail)
loop.call_later(0.3, loop.stop)
loop.run_forever()
assert fine.read == [b"x"] and fine.lost is None, fine.read
assert faulty.read == [b"x"] and isinstance(faulty.lost, ValueError), faulty.lost
kinds = sorted(event["failure"].type.__name__ for event in failures)
assert kinds == ["KeyError", "ValueError", "ValueError"], kinds
assert not complaints, complaints
print("fine")
"""


def test_readers_are_called_without_a_context_for_the_log_and_faults_are_logged() -> None:
    done = subprocess.run([sys.executable, "-c", NO_CONTEXT], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr
