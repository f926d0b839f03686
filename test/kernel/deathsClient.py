"""Keeps connections to an echo server that says who serves them, and notes how each ended.

  deathsClient.py ADDRESS PORT CONNECTIONS

Of every two connections one talks without a pause and one only listens. A connection that ends is replaced. At SIGTERM all
talk once more; then one JSON object is printed: `messages` that came back, `ends` [{at, id, worker, why}] and `open` (ids of
the servers at the other ends at last). `at` in milliseconds since 1970; id 0: it had not said who it is.
"""
import errno
import json
import selectors
import signal
import socket
import struct
import sys
import time

address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
MESSAGE = bytes(i & 255 for i in range(2000))
# Nothing heard of a connection that should have said something, in seconds.
LATE = 12
selector = selectors.DefaultSelector()
ends = []
messages = 0
finishing = False


def finish(_signal, _frame):
    global finishing
    finishing = True


signal.signal(signal.SIGTERM, finish)


class Connection:
    def __init__(self, talks):
        self.talks = talks
        self.hello = b""
        self.id = 0
        self.worker = -1
        self.owed = 0
        self.asked = False
        self.since = time.monotonic()
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.connecting = True
        self.over = False
        error = self.socket.connect_ex((address, port))
        selector.register(self.socket, selectors.EVENT_WRITE, self)
        if error not in (0, errno.EINPROGRESS):
            self.end(errno.errorcode[error])

    def end(self, why):
        selector.unregister(self.socket)
        self.socket.close()
        self.over = True
        ends.append({"at": int(time.time() * 1000), "id": self.id, "worker": self.worker, "why": why})

    def event(self):
        try:
            if self.connecting:
                error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    return self.end(errno.errorcode[error])
                self.connecting = False
                selector.modify(self.socket, selectors.EVENT_READ, self)
                return
            data = self.socket.recv(65536)
            if not data:
                return self.end("end of stream")
            self.take(data)
        except BlockingIOError:
            pass
        except OSError as e:
            self.end(errno.errorcode.get(e.errno, str(e)))

    def take(self, data):
        global messages
        self.since = time.monotonic()
        if len(self.hello) < 8:
            n = 8 - len(self.hello)
            self.hello, data = self.hello + data[:n], data[n:]
            if len(self.hello) == 8:
                self.worker, self.id = struct.unpack("!ii", self.hello)
        self.owed -= len(data)
        if self.owed < 0:
            return self.end("more came back than was sent")
        if self.owed == 0 and data:
            messages += 1
        self.speak()

    def speak(self):
        if self.owed > 0 or len(self.hello) < 8 or (finishing and self.asked) or not (self.talks or finishing):
            return
        self.asked = finishing
        self.since = time.monotonic()
        try:
            self.owed = self.socket.send(MESSAGE)
        except OSError as e:
            self.end(errno.errorcode.get(e.errno, str(e)))

    def waits(self):
        return self.connecting or len(self.hello) < 8 or self.owed > 0


def look(connections):
    for c in connections:
        if finishing and not c.over and not c.asked:
            c.speak()
        if not c.over and c.waits() and time.monotonic() - c.since > LATE:
            c.end("no answer")


def main():
    connections = [Connection(i % 2 == 0) for i in range(count)]
    while True:
        for key, _ in selector.select(0.02):
            if not key.data.over:
                key.data.event()
        look(connections)
        # A talker may have begun again.
        if finishing and all(c.over or (c.asked and not c.waits()) for c in connections):
            break
        if not finishing:
            connections = [Connection(c.talks) if c.over else c for c in connections]
    print(json.dumps({"messages": messages, "ends": ends, "open": [c.id for c in connections if not c.over]}))


main()
