#!/usr/bin/env python3
"""How much memory sqlite-s3-server takes for large objects, at most, whatever their size.

    bench/server_memory.py [--quick | --long] [--only whole|parts] [SQLITE_S3_SERVER]

An object of 512 MiB (--quick: 64 MiB, --long: 5 GiB, S3's most for one PUT) is uploaded with one
PUT, downloaded, uploaded again in parts of 16 MiB by four connections at a time, and downloaded by
four at a time; every byte that comes back is compared. Prints one JSON object per figure, as
scripts/bench does: the highest resident set of the server (VmHWM), and the highest size of the
bucket's WAL. Ends with 1 when one is above its target. Needs Python's standard library only; the
bucket lies in $TMPDIR.
"""
import argparse
import concurrent.futures
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading

MIB = 1 << 20
PART = 16 * MIB
TARGET_MIB = 64
# Four times the checkpoint's threshold, as docs/S3-SERVER.md says, and a transaction.
WAL_TARGET_MIB = 72
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Server:
    def __init__(self, program, folder):
        data, ports = os.path.join(folder, "data"), os.path.join(folder, "ports")
        os.makedirs(data)
        self.wal = os.path.join(data, "bench.sqlite3-wal")
        self.highest_wal = 0
        self.process = subprocess.Popen(
            [program, data, "--allow-anonymous", "--listen", "127.0.0.1:0", "--bucket", "bench",
             "--port-file", ports], stdout=subprocess.PIPE, text=True)
        if not self.process.stdout.readline():
            sys.exit(f"server_memory: {program} does not serve")
        with open(ports, encoding="ascii") as file:
            self.port = int(file.read().split()[1])

    def peak_mib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1]) / 1024

    def look_at_wal(self):
        try:
            self.highest_wal = max(self.highest_wal, os.stat(self.wal).st_size)
        except FileNotFoundError:
            pass

    def stop(self):
        self.process.terminate()
        if self.process.wait() != 0:
            sys.exit("server_memory: the server did not end in order")


class Load:
    """Objects whose every MiB is another, so that a piece in the wrong place is seen."""

    def __init__(self, server, size):
        self.server = server
        self.size = size
        self.block = bytearray(os.urandom(MIB))
        self.lock = threading.Lock()

    def piece(self, index):
        with self.lock:
            self.block[:8] = index.to_bytes(8, "big")
            return bytes(self.block)

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=300)

    def request(self, method, path, begin=0, length=0):
        """Sends `length` bytes of the object from `begin`; answers headers and body."""
        connection = self.connect()
        try:
            connection.putrequest(method, path)
            connection.putheader("Content-Length", str(length))
            connection.endheaders()
            for at in range(begin, begin + length, MIB):
                connection.send(self.piece(at // MIB))
                self.server.look_at_wal()
            answer = connection.getresponse()
            body = answer.read()
            if answer.status // 100 != 2:
                sys.exit(f"server_memory: {method} {path}: {answer.status} {body[:500]}")
            return answer.headers, body
        finally:
            connection.close()

    def document(self, path, text):
        connection = self.connect()
        try:
            connection.request("POST", path, text)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200 or b"<Error>" in body:
                sys.exit(f"server_memory: POST {path}: {answer.status} {body[:500]}")
        finally:
            connection.close()

    def upload_in_parts(self, key):
        _, body = self.request("POST", f"/bench/{key}?uploads")
        upload = re.search(b"<UploadId>(.+?)</UploadId>", body)[1].decode()

        def part(number):
            headers, _ = self.request(
                "PUT", f"/bench/{key}?partNumber={number}&uploadId={upload}",
                (number - 1) * PART, min(PART, self.size - (number - 1) * PART))
            return f"<Part><PartNumber>{number}</PartNumber><ETag>{headers['ETag']}</ETag></Part>"
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            parts = list(pool.map(part, range(1, (self.size + PART - 1) // PART + 1)))
        self.document(f"/bench/{key}?uploadId={upload}",
                      f"<CompleteMultipartUpload>{''.join(parts)}</CompleteMultipartUpload>")

    def download(self, key):
        connection = self.connect()
        try:
            connection.request("GET", f"/bench/{key}")
            answer = connection.getresponse()
            for at in range(0, self.size, MIB):
                if answer.read(MIB) != self.piece(at // MIB):
                    sys.exit(f"server_memory: {key} came back with other bytes at {at}")
            if answer.read(1):
                sys.exit(f"server_memory: {key} came back longer")
        finally:
            connection.close()

    def download_four(self, key):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(self.download, [key] * 4))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true")
    length.add_argument("--long", action="store_true")
    parser.add_argument("--only", choices=["whole", "parts"])
    parser.add_argument("program", nargs="?",
                        default=os.path.join(ROOT, "build", "release", "bin", "sqlite-s3-server"))
    arguments = parser.parse_args()
    size = (64 if arguments.quick else 5120 if arguments.long else 512) * MIB
    ok = True

    def figure(name, value, target):
        nonlocal ok
        ok = ok and value <= target
        print(json.dumps({
            "name": name, "unit": "MiB", "ours": round(value, 1), "baseline": None, "ratio": None,
            "runs": 1, "iqr": None, "target": f"<= {target}", "ok": value <= target,
            "load": os.getloadavg()[0]}), flush=True)

    with tempfile.TemporaryDirectory() as folder:
        server = Server(arguments.program, folder)
        load = Load(server, size)
        text = f"{size // MIB}_mib"
        if arguments.only != "parts":
            load.request("PUT", "/bench/whole", 0, size)
            figure(f"peak_after_put_of_{text}", server.peak_mib(), TARGET_MIB)
            load.download("whole")
            figure(f"peak_after_get_of_{text}", server.peak_mib(), TARGET_MIB)
            load.request("DELETE", "/bench/whole")
        if arguments.only != "whole":
            load.upload_in_parts("parts")
            figure(f"peak_after_four_connections_put_{text}_in_parts", server.peak_mib(),
                   TARGET_MIB)
            load.download_four("parts")
            figure(f"peak_after_four_connections_get_{text}", server.peak_mib(), TARGET_MIB)
            load.request("DELETE", "/bench/parts")
        server.stop()
        figure(f"highest_wal_for_{text}", server.highest_wal / MIB, WAL_TARGET_MIB)
    sys.exit(0 if ok else 1)


main()
