#!/usr/bin/env python3
"""The ways to an S3 endpoint: TLS, a tunnel through a proxy, HTTP/2.

    s3_ways_test.py SQLITE_S3_SERVER SQLITE_S3_RESTORE

`sqlite-s3-restore doctor` does one of each request. What is not installed is named and skipped.
"""
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

import s3_server
from s3_server import ACCESS, SECRET, Server, free_of_proxies

RESTORE = sys.argv.pop(2)


class TunnelProxy:
    """Takes CONNECT, and passes bytes on in both directions; `asked` is what it was asked for."""

    def __init__(self):
        self.asked = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(4096)
            if not piece:
                return
            head += piece
        self.asked.append(head.decode())
        host, port = head.split()[1].decode().rsplit(":", 1)
        with client, socket.create_connection((host, int(port))) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            other = {client: server, server: client}
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    piece = ready.recv(65536)
                    if not piece:
                        return
                    other[ready].sendall(piece)

    def close(self):
        self.listener.close()


class WaysTest(unittest.TestCase):
    def setUp(self):
        if not shutil.which("openssl"):
            print("openssl is not installed, skipped")
            self.skipTest("openssl")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.certificate = os.path.join(self.folder, "cert.pem")
        self.key = os.path.join(self.folder, "key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout",
                        self.key, "-out", self.certificate, "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=IP:127.0.0.1"], check=True,
                       stderr=subprocess.DEVNULL)

    def serve(self, *arguments):
        server = Server(self.folder, "--bucket", "ways", *arguments)
        self.addCleanup(server.stop)
        return server

    def doctor(self, address, options="", **variables):
        environment = free_of_proxies()
        environment.update(AWS_ACCESS_KEY_ID=ACCESS, AWS_SECRET_ACCESS_KEY=SECRET,
                           AWS_EC2_METADATA_DISABLED="true", **variables)
        replica = f"s3://ways/x?endpoint=https://{address}{options}"
        return subprocess.run([RESTORE, "doctor", replica], env=environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)

    def assert_healthy(self, done):
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertNotIn(SECRET, done.stdout)

    def test_tls_is_verified_against_the_authority_that_is_named(self):
        server = self.serve("--tls-cert", self.certificate, "--tls-key", self.key)
        self.assert_healthy(self.doctor(server.address, f"&ca_file={self.certificate}"))
        self.assert_healthy(self.doctor(server.address, "&checksum=sha256",
                                        AWS_CA_BUNDLE=self.certificate))
        unknown = self.doctor(server.address)
        self.assertNotEqual(unknown.returncode, 0)
        self.assertIn("ca_file", unknown.stdout)
        port = server.address.rsplit(":", 1)[1]
        other_name = self.doctor(f"localhost:{port}", f"&ca_file={self.certificate}")
        self.assertNotEqual(other_name.returncode, 0, "the certificate is of another name")

    def test_tls_goes_through_the_tunnel_of_a_proxy_unless_no_proxy_says_otherwise(self):
        server = self.serve("--tls-cert", self.certificate, "--tls-key", self.key)
        proxy = TunnelProxy()
        self.addCleanup(proxy.close)
        way = dict(HTTPS_PROXY=f"http://127.0.0.1:{proxy.port}")
        self.assert_healthy(self.doctor(server.address, f"&ca_file={self.certificate}", **way))
        self.assertTrue(proxy.asked)
        for head in proxy.asked:
            self.assertTrue(head.startswith(f"CONNECT {server.address} "), head)
            self.assertNotIn("uthorization", head)
        proxy.asked.clear()
        self.assert_healthy(self.doctor(server.address, f"&ca_file={self.certificate}",
                                        NO_PROXY="127.0.0.1", **way))
        self.assertEqual(proxy.asked, [])

    def test_http_2_is_spoken_where_the_endpoint_offers_it(self):
        nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if not nginx:
            print("nginx is not installed, skipped")
            self.skipTest("nginx")
        server = self.serve()
        # nginx inherits it, so that a client that comes before nginx is ready only waits.
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        port = listener.getsockname()[1]
        log = os.path.join(self.folder, "access.log")
        config = os.path.join(self.folder, "nginx.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write(f"""daemon off; pid {self.folder}/nginx.pid; error_log {self.folder}/error.log;
events {{}}
http {{
  log_format way '$server_protocol $request_method $status';
  access_log {log} way;
  client_body_temp_path {self.folder}/b; proxy_temp_path {self.folder}/p;
  fastcgi_temp_path {self.folder}/f; uwsgi_temp_path {self.folder}/u; scgi_temp_path {self.folder}/s;
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate {self.certificate}; ssl_certificate_key {self.key};
    location / {{
      proxy_pass http://{server.address};
      proxy_set_header Host $http_host;
      proxy_http_version 1.1;
    }}
  }}
}}
""")
        os.set_inheritable(listener.fileno(), True)
        process = subprocess.Popen([nginx, "-p", self.folder, "-c", config],
                                   env=dict(os.environ, NGINX=f"{listener.fileno()};"),
                                   pass_fds=(listener.fileno(),),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        done = self.doctor(f"127.0.0.1:{port}", f"&ca_file={self.certificate}")
        self.assert_healthy(done)
        process.send_signal(signal.SIGQUIT)  # in order: the log is whole
        process.wait()
        with open(log, encoding="ascii") as file:
            lines = file.read().splitlines()
        self.assertTrue(lines)
        for line in lines:
            self.assertTrue(re.match(r"HTTP/2\.0 ", line), line)
        self.assertTrue({"GET", "PUT", "POST", "DELETE"} <= {line.split()[1] for line in lines}, lines)


if __name__ == "__main__":
    s3_server.main()
