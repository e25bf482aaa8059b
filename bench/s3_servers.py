#!/usr/bin/env python3
"""sqlite-s3-server against other S3 servers: same disk, same client, turns in one run.

    bench/s3_servers.py [--build build/release] [--rounds N] [--seconds S] [--large MIB] [--keys N]

Other servers are used where they are found in PATH: minio, versitygw; for the large object also
nginx, which serves the file itself. Ours runs twice: at synchronous=NORMAL, to compare with servers
that do not fsync, and at FULL. Prints one JSON object per figure, as scripts/bench does. Needs
Python's standard library only.
"""
import argparse
import datetime
import hashlib
import hmac
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

KEY, SECRET = "bench-access-key", "bench-secret-key-0123456789"
THREADS = 32


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def signed(method, url, body=b""):
    """A request with Signature Version 4: what making a bucket needs."""
    now = datetime.datetime.now(datetime.timezone.utc)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    host, path = url.split("://")[1].split("/", 1)
    digest = hashlib.sha256(body).hexdigest()
    canonical = "\n".join([method, "/" + path, "", f"host:{host}", f"x-amz-content-sha256:{digest}",
                           f"x-amz-date:{stamp}", "", "host;x-amz-content-sha256;x-amz-date", digest])
    scope = f"{day}/us-east-1/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope,
                      hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + SECRET).encode()
    for part in (day, "us-east-1", "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    return urllib.request.Request(url, method=method, data=body, headers={
        "x-amz-content-sha256": digest, "x-amz-date": stamp,
        "Authorization": f"AWS4-HMAC-SHA256 Credential={KEY}/{scope},"
                         f"SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature={signature}"})


class Server:
    def __init__(self, name, command, port, environment=None):
        self.name = name
        self.url = f"http://127.0.0.1:{port}"
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, env=dict(os.environ, **(environment or {})),
                                        stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(signed("PUT", self.url + "/bench"), timeout=5).close()
                return
            except urllib.error.HTTPError as error:
                if error.code == 409:
                    return
                reason = f"{error.code} {error.read(300)}"
            except OSError as error:
                reason = str(error)
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.log.seek(0)
                sys.exit(f"s3_servers: {name} does not serve: {reason}\n{self.log.read(2000).decode()}")
            time.sleep(0.1)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def start(arguments, directory):
    ours = os.path.join(arguments.build, "bin", "sqlite-s3-server")
    servers = []
    for mode in ("normal", "full"):
        port = free_port()
        folder = os.path.join(directory, mode)
        os.mkdir(folder)
        servers.append(Server("ours-" + mode, [ours, folder, "--listen", f"127.0.0.1:{port}",
                                               "--synchronous", mode], port,
                              {"SQLITE_S3_ACCESS_KEY": KEY, "SQLITE_S3_SECRET_KEY": SECRET}))
    if shutil.which("versitygw"):
        port = free_port()
        folder = os.path.join(directory, "versitygw")
        os.mkdir(folder)
        servers.append(Server("versitygw", ["versitygw", "--access", KEY, "--secret", SECRET, "--port",
                                            f"127.0.0.1:{port}", "--quiet", "posix", folder], port))
    if shutil.which("minio"):
        port = free_port()
        folder = os.path.join(directory, "minio")
        os.mkdir(folder)
        servers.append(Server("minio", ["minio", "server", folder, "--quiet", "--address",
                                        f"127.0.0.1:{port}"], port,
                              {"MINIO_ROOT_USER": KEY, "MINIO_ROOT_PASSWORD": SECRET}))
    return servers


def load(arguments, server, what, threads, amount, size=4096):
    output = subprocess.run(
        [os.path.join(arguments.build, "bench", "s3_load"), server.url, "bench", what, str(threads),
         str(amount), str(size)], check=True, stdout=subprocess.PIPE,
        env=dict(os.environ, AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET)).stdout
    return json.loads(output)


def figure(name, unit, ours, baseline, target=None, ok=None, **more):
    ratios = [a / b for a, b in zip(ours, baseline)]
    print(json.dumps({"name": name, "unit": unit, "ours": round(statistics.median(ours), 3),
                      "baseline": round(statistics.median(baseline), 3),
                      "ratio": round(statistics.median(ratios), 3), "runs": len(ratios),
                      "range": [round(min(ratios), 3), round(max(ratios), 3)],
                      "target": target, "ok": ok and ok(statistics.median(ratios)),
                      "load": os.getloadavg()[0], **more}), flush=True)


def small_objects(arguments, servers):
    for server in servers:
        load(arguments, server, "fill", THREADS, 2000)
    for what in ("put", "get"):
        rates = {server.name: [] for server in servers}
        for turn in range(arguments.rounds):
            for server in servers if turn % 2 == 0 else reversed(servers):
                rates[server.name].append(
                    load(arguments, server, what, THREADS, arguments.seconds)["per_second"])
        for other in servers[1:]:
            figure(f"s3_servers.{what}_4KiB.{servers[0].name}_to_{other.name}", "objects/s",
                   rates[servers[0].name], rates[other.name],
                   "ratio > 1" if other.name[:4] != "ours" else None,
                   (lambda r: r > 1) if other.name[:4] != "ours" else None)


def listing(arguments, server):
    load(arguments, server, "fill", THREADS, arguments.keys, 1)
    result = load(arguments, server, "list", 1, 0)
    print(json.dumps({"name": "s3_servers.list", "unit": f"s for {result['keys']} keys",
                      "ours": result["seconds"], "target": "ours <= 2 for 100000",
                      "ok": result["seconds"] <= 2, "load": os.getloadavg()[0]}), flush=True)


def large_object(arguments, server, directory):
    if not shutil.which("nginx") or not shutil.which("aws"):
        print("s3_servers: no nginx or no aws: large object skipped", file=sys.stderr)
        return
    path = os.path.join(directory, "large.bin")
    with open(path, "wb") as file:
        for _ in range(arguments.large):
            file.write(os.urandom(1 << 20))
    environment = dict(os.environ, AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET,
                       AWS_DEFAULT_REGION="us-east-1")
    aws = ["aws", "--endpoint-url", server.url, "s3"]
    subprocess.run(aws + ["cp", "--quiet", path, "s3://bench/large.bin"], check=True, env=environment)
    url = subprocess.run(aws + ["presign", "s3://bench/large.bin"], check=True, env=environment,
                         stdout=subprocess.PIPE, text=True).stdout.strip()
    port = free_port()
    config = os.path.join(directory, "nginx.conf")
    with open(config, "w", encoding="ascii") as file:
        file.write(f"daemon off; user root; worker_processes 1; pid {directory}/nginx.pid;"
                   f" error_log {directory}/nginx.log; events {{}} http {{ access_log off; sendfile on;"
                   f" server {{ listen 127.0.0.1:{port}; root {directory}; }} }}\n")
    nginx = subprocess.Popen(["nginx", "-c", config, "-e", directory + "/nginx.log"])
    try:
        rates = {"ours": [], "nginx": []}
        for turn in range(arguments.rounds + 1):
            for name, source in (("ours", url), ("nginx", f"http://127.0.0.1:{port}/large.bin")):
                seconds = subprocess.run(
                    ["curl", "-sf", "--retry", "5", "--retry-connrefused", "-o", "/dev/null", "-w",
                     "%{time_total}", source], check=True, stdout=subprocess.PIPE, text=True).stdout
                if turn > 0:  # the first warms both up
                    rates[name].append(arguments.large / float(seconds))
        figure("s3_servers.get_large", "MiB/s", rates["ours"], rates["nginx"], "ratio >= 0.5",
               lambda r: r >= 0.5, mib=arguments.large)
    finally:
        nginx.terminate()
        nginx.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--large", type=int, default=1024, help="MiB of the large object")
    parser.add_argument("--keys", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sqlite-s3-servers-") as directory:
        servers = start(arguments, directory)
        try:
            small_objects(arguments, servers)
            listing(arguments, servers[0])
            large_object(arguments, servers[0], directory)
        finally:
            for server in servers:
                server.stop()


if __name__ == "__main__":
    main()
