#!/usr/bin/env python3
"""sqlite-s3-server as a program: options, configuration, secrets, faults, slow clients.

    s3_program_test.py SQLITE_S3_SERVER LIBRARY_OF_KILL_AT
"""
import http.client
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

from s3_server import ACCESS, PROGRAM, SECRET, Server, free_of_proxies, main

KILL_AT = sys.argv.pop(2)


class ProgramTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def run_program(self, *arguments):
        environment = free_of_proxies()
        for name in ("SQLITE_S3_ACCESS_KEY", "SQLITE_S3_SECRET_KEY"):
            environment.pop(name, None)
        done = subprocess.run([PROGRAM, *arguments], env=environment, text=True, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        return done.returncode, done.stderr

    def config(self, text, mode=0o600):
        path = os.path.join(self.folder, "server.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def test_refuses_to_serve_everybody_by_accident(self):
        code, errors = self.run_program(self.folder)
        self.assertEqual(code, 2)
        self.assertIn("--allow-anonymous", errors)

    def test_usage_errors_have_their_exit_codes(self):
        keys = ("--access-key", "a", "--secret-key", "b")
        for expected, arguments in [
                (2, ()), (2, (self.folder, "--nonsense")), (2, (self.folder, "--access-key", "a")),
                (2, (self.folder, *keys, "--listen", "nowhere")),
                (2, (self.folder, *keys, "--synchronous", "perhaps")),
                (2, (self.folder, *keys, "--tls-cert", "x")),
                (2, (self.folder, *keys, "--enable-faults", "0.0.0.0:0")),
                (2, (self.folder, *keys, "--metrics-listen", "0.0.0.0:0")),
                (3, (self.folder + "/none", *keys)),
                (3, (self.folder, *keys, "--config", self.folder + "/none"))]:
            with self.subTest(arguments=arguments):
                code, errors = self.run_program(*arguments)
                self.assertEqual(code, expected, errors)
                self.assertTrue(errors)

    def test_configuration_errors_name_the_line(self):
        for line, text in [(2, "domain = 'x'\nlisten_on = 'y'\n"), (1, "listen = 9000\n"),
                           (1, "read_only = 'yes'\n"), (3, "\n\nsynchronous = 'perhaps'\n"),
                           (2, "\n[[users]]\naccess_key = 'a'\n"), (2, "\nlisten = \n"),
                           (4, "[[users]]\naccess_key='a'\nsecret_key='b'\nrights='all'\n"),
                           (4, "[[users]]\naccess_key='a'\nsecret_key='b'\nright='all'\n")]:
            with self.subTest(text=text):
                code, errors = self.run_program(self.folder, "--config", self.config(text))
                self.assertEqual(code, 2, errors)
                self.assertIn(f"server.toml:{line}:", errors)

    def test_a_configuration_with_secrets_is_not_for_others(self):
        path = self.config("[[users]]\naccess_key='a'\nsecret_key='b'\n", mode=0o644)
        code, errors = self.run_program(self.folder, "--config", path)
        self.assertEqual(code, 8)
        self.assertIn("chmod 600", errors)

    def test_secrets_are_in_no_output_and_not_in_the_command_line(self):
        server = Server(self.folder, "--access-key", ACCESS, "--secret-key", SECRET, "--log-requests",
                        "--metrics-listen", "127.0.0.1:0", keys=False)
        with open(f"/proc/{server.process.pid}/cmdline", "rb") as file:
            self.assertNotIn(SECRET.encode(), file.read())
        self.assertEqual(server.ask("s3", "GET", "/healthz"), (200, "ok\n"))
        status, _ = server.ask("s3", "GET", "/bucket?X-Amz-Signature=secret-signature-canary&"
                                            "X-Amz-Algorithm=AWS4-HMAC-SHA256")
        self.assertEqual(status, 400)
        status, metrics = server.ask("metrics", "GET", "/metrics")
        self.assertEqual(status, 200)
        self.assertIn('sqlite_s3_server_requests_total{operation="ListObjects",status="4xx"} 1',
                      metrics)
        code, output, errors = server.stop()
        self.assertEqual(code, 0)
        self.assertIn("ListObjects /bucket 400", errors)
        for text in (output, errors, metrics):
            self.assertNotIn("canary", text)

    def test_a_second_server_on_the_directory_is_refused(self):
        server = Server(self.folder)
        code, errors = self.run_program(os.path.join(self.folder, "data"), "--allow-anonymous",
                                        "--listen", "127.0.0.1:0")
        self.assertEqual(code, 4, errors)
        self.assertEqual(server.stop()[0], 0)

    def test_two_users_have_their_own_rights(self):
        path = self.config("""
region = "eu-central-1"
[[users]]
name = "writer"
access_key = "w"
secret_key = "ws"
[[users]]
name = "reader"
access_key = "r"
secret_key = "rs"
rights = "read-only"
buckets = ["public-*"]
""")
        server = Server(self.folder, "--config", path, keys=False)
        self.addCleanup(server.stop)
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import ClientError
        except ImportError:
            print("boto3 is not installed, skipped")
            self.skipTest("boto3")

        def client(access, secret):
            return boto3.client("s3", endpoint_url=f"http://{server.address}",
                                aws_access_key_id=access, aws_secret_access_key=secret,
                                region_name="eu-central-1", config=Config(proxies={}))
        writer, reader = client("w", "ws"), client("r", "rs")
        for bucket in ("public-1", "private-1"):
            writer.create_bucket(
                Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
            writer.put_object(Bucket=bucket, Key="k", Body=b"x")
        self.assertEqual(reader.get_object(Bucket="public-1", Key="k")["Body"].read(), b"x")
        for act in (lambda: reader.put_object(Bucket="public-1", Key="k", Body=b"y"),
                    lambda: reader.get_object(Bucket="private-1", Key="k"),
                    lambda: reader.create_bucket(Bucket="public-2", CreateBucketConfiguration={
                        "LocationConstraint": "eu-central-1"})):
            with self.assertRaises(ClientError) as caught:
                act()
            self.assertEqual(caught.exception.response["Error"]["Code"], "AccessDenied")
        self.assertEqual([b["Name"] for b in reader.list_buckets()["Buckets"]], ["public-1"])

    def test_fault_rules_come_through_their_own_listener(self):
        server = Server(self.folder, "--allow-anonymous", "--enable-faults", "127.0.0.1:0")
        self.assertEqual(server.ask("s3", "PUT", "/bucket")[0], 200)
        rule = {"op": "PutObject", "key": "k", "fault": "answer-lost", "count": 1}
        self.assertEqual(server.ask("faults", "POST", "/rules", json.dumps(rule))[0], 200)
        with self.assertRaises((ConnectionError, http.client.HTTPException)):
            server.ask("s3", "PUT", "/bucket/k", b"kept")
        self.assertEqual(server.ask("s3", "GET", "/bucket/k"), (200, "kept"))
        status, rules = server.ask("faults", "GET", "/rules")
        self.assertEqual((status, json.loads(rules)[0]["hits"]), (200, 1))
        self.assertEqual(server.ask("faults", "DELETE", "/rules")[0], 200)
        self.assertEqual(server.stop()[0], 0)

    def test_an_acknowledged_object_survives_kill_9_and_can_be_read_with_sqlite(self):
        server = Server(self.folder, "--allow-anonymous")
        self.assertEqual(server.ask("s3", "PUT", "/bucket")[0], 200)
        self.assertEqual(server.ask("s3", "PUT", "/bucket/k", b"kept")[0], 200)
        server.process.kill()
        server.process.communicate()
        server = Server(self.folder, "--allow-anonymous")
        self.assertEqual(server.ask("s3", "GET", "/bucket/k"), (200, "kept"))
        self.assertEqual(server.stop()[0], 0)
        database = sqlite3.connect(os.path.join(self.folder, "data", "bucket.sqlite3"))
        self.addCleanup(database.close)
        self.assertEqual(database.execute("SELECT key, size FROM objects").fetchall(), [("k", 4)])

    def test_buckets_named_at_start_are_made_once(self):
        for _ in range(2):
            server = Server(self.folder, "--allow-anonymous", "--bucket", "one", "--bucket", "two-2")
            _, listed = server.ask("s3", "GET", "/")
            self.assertIn("<Name>one</Name>", listed)
            self.assertIn("<Name>two-2</Name>", listed)
            self.assertEqual(server.ask("s3", "PUT", "/one/k", b"kept")[0], 200)
            self.assertEqual(server.stop()[0], 0)
        server = Server(self.folder, "--allow-anonymous", "--bucket", "one", "--read-only")
        self.assertEqual(server.ask("s3", "GET", "/one/k"), (200, "kept"))
        self.assertEqual(server.ask("s3", "PUT", "/one/k", b"other")[0], 403)
        self.assertEqual(server.stop()[0], 0)

    def test_buckets_that_cannot_be_made_at_start_are_an_error_that_names_them(self):
        data = os.path.join(self.folder, "data")
        os.makedirs(data)
        for expected, arguments in [(2, ("--bucket", "No_Name")), (2, ("--bucket", "../up")),
                                    (8, ("--bucket", "new", "--read-only"))]:
            with self.subTest(arguments=arguments):
                code, errors = self.run_program(data, "--allow-anonymous", "--listen",
                                                "127.0.0.1:0", *arguments)
                self.assertEqual(code, expected, errors)
                self.assertIn(f"'{arguments[1]}'", errors)
        self.assertEqual(sorted(os.listdir(data)), [".sqlite-s3-server.lock"])

    def test_a_throttled_body_takes_its_time_in_both_directions(self):
        server = Server(self.folder, "--allow-anonymous", "--enable-faults", "127.0.0.1:0",
                        "--bucket", "bucket")
        rule = {"key": "slow", "fault": "throttle", "bytes_per_second": 1_000_000}
        self.assertEqual(server.ask("faults", "POST", "/rules", json.dumps(rule))[0], 200)
        body = "x" * 300_000
        for method, path, sent, expected in [("PUT", "/bucket/slow", body, ""),
                                             ("GET", "/bucket/slow", None, body)]:
            began = time.monotonic()
            self.assertEqual(server.ask("s3", method, path, sent), (200, expected))
            self.assertGreaterEqual(time.monotonic() - began, 0.29, method)
        self.assertEqual(server.stop()[0], 0)

    def test_a_full_disk_is_said_and_forgotten_when_there_is_space_again(self):
        body = os.urandom(3 << 20)
        for at in (1, 2, 700):  # the WAL's first page, a row's, a large body's
            with self.subTest(at=at), tempfile.TemporaryDirectory() as folder:
                server = Server(folder, "--allow-anonymous", "--bucket", "bucket",
                                environment=dict(free_of_proxies(), LD_PRELOAD=KILL_AT,
                                                 FAIL_AT=str(at), FAIL_ERRNO="ENOSPC",
                                                 KILL_AT_OPS="pwrite",
                                                 KILL_AT_PATH="bucket.sqlite3-wal"))
                status, text = server.ask("s3", "PUT", "/bucket/k", body)
                self.assertEqual(status, 507)
                self.assertIn("<Code>InternalError</Code><Message>The disk is full.</Message>", text)
                self.assertEqual(server.ask("s3", "GET", "/bucket/k")[0], 404)
                self.assertEqual(server.ask("s3", "PUT", "/bucket/k", body)[0], 200)
                self.assertEqual(server.stop()[0], 0)
                database = sqlite3.connect(os.path.join(folder, "data", "bucket.sqlite3"))
                self.addCleanup(database.close)
                self.assertEqual(database.execute("SELECT count(*), sum(length(data)) FROM chunk")
                                 .fetchone(), (3, len(body)))

    def test_an_upload_that_stops_half_way_holds_nobody_up(self):
        server = Server(self.folder, "--allow-anonymous", "--bucket", "bucket",
                        "--max-connections", "4")
        body = os.urandom(6 << 20)
        with socket.create_connection(("127.0.0.1", server.ports["s3"])) as slow:
            slow.sendall(b"PUT /bucket/slow HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                         % len(body) + body[:len(body) // 2])
            for i in range(20):
                self.assertEqual(server.ask("s3", "PUT", f"/bucket/{i}", body[:i * 100_000])[0], 200)
            self.assertEqual(server.ask("s3", "DELETE", "/bucket/3")[0], 204)
            self.assertEqual(server.ask("s3", "GET", "/bucket/slow")[0], 404)
            slow.sendall(body[len(body) // 2:])
            self.assertTrue(slow.recv(100).startswith(b"HTTP/1.1 200"))
        connection = http.client.HTTPConnection("127.0.0.1", server.ports["s3"])
        connection.request("GET", "/bucket/slow")
        self.assertEqual(connection.getresponse().read(), body)
        connection.close()
        self.assertEqual(server.stop()[0], 0)

    def test_many_who_trickle_do_not_keep_a_normal_client_out(self):
        server = Server(self.folder, "--allow-anonymous", "--bucket", "bucket",
                        "--max-connections", "16")
        slow = []
        for _ in range(100):
            connection = socket.create_connection(("127.0.0.1", server.ports["s3"]))
            self.addCleanup(connection.close)
            slow.append(connection)
            try:
                connection.sendall(b"PUT /bucket/k HTTP/1.1\r\nX-Slow: ")
            except OSError:
                pass  # it has given its place already
        for i in range(20):
            self.assertEqual(server.ask("s3", "PUT", f"/bucket/{i}", b"x")[0], 200)
        self.assertEqual(server.stop()[0], 0)


if __name__ == "__main__":
    main()
