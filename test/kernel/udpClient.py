"""Sends datagrams to an echo server from several sockets, some of them under way at a time, and checks what comes back.

  udpClient.py ADDRESS PORT COUNT SOCKETS WINDOW

Each datagram carries its number and a pattern made from it, 8 to 1472 bytes. When nothing comes on any socket for five
seconds, what is under way is given up: it is missing unless its answer comes after all, and never sent again. Prints one JSON
object.
"""
import json
import select
import socket
import struct
import sys

address, port, count, sockets, window = sys.argv[1], *map(int, sys.argv[2:6])
PATTERN = bytes((i * 7 ^ i >> 8) & 255 for i in range(4096))


def payload(number):
    size = 8 + number * 37 % 1465
    return struct.pack("!II", number, size) + PATTERN[number % 2048 : number % 2048 + size - 8]


class Flow:
    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.connect((address, port))
        self.socket.setblocking(False)
        self.pending = set()
        self.late = set()


flows = [Flow() for _ in range(sockets)]
by_fd = {f.socket.fileno(): f for f in flows}
poll = select.poll()
for f in flows:
    poll.register(f.socket, select.POLLIN)
sent = received = wrong = again = 0
while True:
    for f in flows:
        while len(f.pending) < window and sent < count:
            f.socket.send(payload(sent))
            f.pending.add(sent)
            sent += 1
    if sent == count and not any(f.pending for f in flows):
        break
    ready = poll.poll(5000)
    if not ready:
        for f in flows:
            f.late |= f.pending
            f.pending.clear()
    for fd, _ in ready:
        f = by_fd[fd]
        for _ in range(window):
            try:
                data = f.socket.recv(65536)
            except BlockingIOError:
                break
            number = struct.unpack_from("!I", data)[0] if len(data) >= 8 else -1
            if number < 0 or data != payload(number):
                wrong += 1
            elif number in f.pending:
                f.pending.discard(number)
                received += 1
            elif number in f.late:
                f.late.discard(number)
                received += 1
            else:
                again += 1
print(json.dumps({"sent": sent, "received": received, "wrong": wrong, "again": again, "missing": sum(len(f.late) for f in flows)}))
