#!/usr/bin/env python3
"""Real S3 clients, each a full cycle on sqlite-s3-server; and the program as a program.

    s3_clients_test.py SQLITE_S3_SERVER

A client that is not installed is named on standard output and skipped.
"""
import filecmp
import http.client
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import unittest
import urllib.request

ACCESS, SECRET = "test-access", "test-secret-canary"
PROGRAM = None


def free_of_proxies():
    environment = {name: value for name, value in os.environ.items()
                   if "proxy" not in name.lower() and not name.startswith(("AWS_", "RCLONE_"))}
    return environment


class Server:
    def __init__(self, folder, *arguments, environment=None, keys=True):
        self.folder = folder
        self.port_file = os.path.join(folder, "ports")
        data = os.path.join(folder, "data")
        os.makedirs(data, exist_ok=True)
        environment = dict(environment or free_of_proxies())
        if keys:
            environment.update(SQLITE_S3_ACCESS_KEY=ACCESS, SQLITE_S3_SECRET_KEY=SECRET)
        if os.path.exists(self.port_file):
            os.unlink(self.port_file)
        self.process = subprocess.Popen(
            [PROGRAM, data, "--listen", "127.0.0.1:0", "--port-file", self.port_file, *arguments],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.first_line = self.process.stdout.readline()  # printed when it serves
        self.ports = {}
        if self.first_line:
            with open(self.port_file, encoding="ascii") as file:
                self.ports = {name: int(port) for name, port in (line.split() for line in file)}

    @property
    def address(self):
        return f"127.0.0.1:{self.ports['s3']}"

    def ask(self, port, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[port])
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        output, errors = self.process.communicate()
        return self.process.returncode, self.first_line + output, errors


class Case(unittest.TestCase):
    arguments = ()

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.server = Server(self.folder, *self.arguments)
        self.addCleanup(self.end)
        self.environment = free_of_proxies()
        self.small = self.write("small", b"hello\n")
        self.large = self.write("large", os.urandom(1 << 20) * 20 + b"tail")

    def end(self):
        code, _, errors = self.server.stop()
        self.assertEqual(code, 0, errors)

    def write(self, name, data):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def run_tool(self, *command):
        done = subprocess.run(command, env=self.environment, cwd=self.folder, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertEqual(done.returncode, 0, f"{command}: {done.stdout}")
        return done.stdout

    def need(self, tool):
        if not shutil.which(tool):
            print(f"{tool} is not installed, skipped")
            self.skipTest(tool)

    def assert_same(self, path, other):
        self.assertTrue(filecmp.cmp(path, os.path.join(self.folder, other), shallow=False), other)


class ClientsTest(Case):
    def test_aws_cli(self):
        self.need("aws")
        self.environment.update(AWS_ACCESS_KEY_ID=ACCESS, AWS_SECRET_ACCESS_KEY=SECRET,
                                AWS_DEFAULT_REGION="us-east-1", AWS_EC2_METADATA_DISABLED="true")

        def aws(*arguments):
            return self.run_tool("aws", "--endpoint-url", f"http://{self.server.address}",
                                 *arguments)
        aws("s3", "mb", "s3://awscli")
        aws("s3", "cp", self.small, "s3://awscli/small")
        aws("s3", "cp", self.large, "s3://awscli/dir/large")
        listed = aws("s3", "ls", "s3://awscli")
        self.assertIn("PRE dir/", listed)
        self.assertIn("small", listed)
        aws("s3", "cp", "s3://awscli/dir/large", "got")
        self.assert_same(self.large, "got")
        answer = json.loads(aws("s3api", "get-object", "--bucket", "awscli", "--key", "dir/large",
                                "--range", "bytes=-4", "part"))
        self.assertEqual(answer["ContentLength"], 4)
        with open(os.path.join(self.folder, "part"), "rb") as file:
            self.assertEqual(file.read(), b"tail")
        aws("s3", "cp", "s3://awscli/dir/large", "s3://awscli/copy")
        aws("s3", "cp", "s3://awscli/copy", "got-copy")
        self.assert_same(self.large, "got-copy")
        aws("s3", "sync", "s3://awscli", "synced")
        self.assert_same(self.large, "synced/dir/large")
        aws("s3", "rm", "--recursive", "s3://awscli")
        self.assertEqual(aws("s3", "ls", "s3://awscli"), "")
        aws("s3", "rb", "s3://awscli")

    def test_s3cmd(self):
        self.need("s3cmd")
        config = self.write("s3cfg", f"""[default]
access_key = {ACCESS}
secret_key = {SECRET}
host_base = {self.server.address}
host_bucket = {self.server.address}
use_https = False
""".encode())

        def s3cmd(*arguments):
            return self.run_tool("s3cmd", "-c", config, *arguments)
        s3cmd("mb", "s3://s3cmd")
        s3cmd("put", self.small, "s3://s3cmd/small")
        s3cmd("put", "--multipart-chunk-size-mb=5", self.large, "s3://s3cmd/large")
        self.assertIn("s3://s3cmd/large", s3cmd("ls", "s3://s3cmd"))
        s3cmd("get", "s3://s3cmd/large", "got")
        self.assert_same(self.large, "got")
        self.write("resumed", b"hel")
        s3cmd("get", "--continue", "s3://s3cmd/small", "resumed")  # a range
        self.assert_same(self.small, "resumed")
        s3cmd("cp", "s3://s3cmd/small", "s3://s3cmd/copy")
        self.assertIn("FULL_CONTROL", s3cmd("info", "s3://s3cmd/copy"))
        s3cmd("info", "s3://s3cmd")
        s3cmd("del", "--recursive", "--force", "s3://s3cmd")
        s3cmd("rb", "s3://s3cmd")

    def test_rclone(self):
        self.need("rclone")
        for name, value in {"TYPE": "s3", "PROVIDER": "Other", "ACCESS_KEY_ID": ACCESS,
                            "SECRET_ACCESS_KEY": SECRET,
                            "ENDPOINT": f"http://{self.server.address}"}.items():
            self.environment["RCLONE_CONFIG_R_" + name] = value
        self.environment["RCLONE_CONFIG"] = os.path.join(self.folder, "none.conf")
        source = os.path.join(self.folder, "source")
        os.makedirs(os.path.join(source, "dir"))
        shutil.copy(self.small, source)
        shutil.copy(self.large, os.path.join(source, "dir"))
        self.run_tool("rclone", "mkdir", "r:rclone")
        self.run_tool("rclone", "copy", "--s3-upload-cutoff", "10M", "--s3-chunk-size", "5M", source,
                      "r:rclone/x")
        self.assertIn("x/dir/large", self.run_tool("rclone", "ls", "r:rclone"))
        self.run_tool("rclone", "check", "--download", source, "r:rclone/x")
        part = self.run_tool("rclone", "cat", "--offset", "1", "--count", "3", "r:rclone/x/small")
        self.assertIn("ell", part)
        self.run_tool("rclone", "move", "r:rclone/x", "r:rclone/y")  # copies on the server
        self.run_tool("rclone", "copy", "r:rclone/y", "back")
        self.assert_same(self.large, "back/dir/large")
        self.run_tool("rclone", "purge", "r:rclone")

    def test_restic(self):
        self.need("restic")
        self.environment.update(AWS_ACCESS_KEY_ID=ACCESS, AWS_SECRET_ACCESS_KEY=SECRET,
                                RESTIC_PASSWORD="p", RESTIC_CACHE_DIR=self.folder + "/cache",
                                RESTIC_REPOSITORY=f"s3:http://{self.server.address}/restic/repo")
        source = os.path.join(self.folder, "source")
        os.makedirs(source)
        shutil.copy(self.small, source)
        shutil.copy(self.large, source)
        self.run_tool("restic", "init")
        self.run_tool("restic", "backup", source)
        self.run_tool("restic", "check", "--read-data")
        self.run_tool("restic", "restore", "latest", "--target", "restored")
        self.assert_same(self.large, "restored" + source + "/large")
        os.unlink(os.path.join(source, "large"))
        self.run_tool("restic", "backup", source)
        self.run_tool("restic", "forget", "--prune", "--keep-last", "1")
        self.run_tool("restic", "check", "--read-data")


class Boto3Test(Case):
    def client(self, **config):
        try:
            import boto3
            import botocore.config
        except ImportError:
            print("boto3 is not installed, skipped")
            self.skipTest("boto3")
        return boto3.client(
            "s3", endpoint_url=f"http://{self.server.address}", aws_access_key_id=ACCESS,
            aws_secret_access_key=SECRET, region_name="us-east-1",
            config=botocore.config.Config(proxies={}, **config))

    def test_full_cycle(self):
        client = self.client()
        client.create_bucket(Bucket="boto3")
        key = "a/b c+\u00fc.txt"
        client.put_object(Bucket="boto3", Key=key, Body=b"hello", Metadata={"x": "y"},
                          ContentType="text/plain")
        got = client.get_object(Bucket="boto3", Key=key)
        self.assertEqual((got["Body"].read(), got["Metadata"], got["ContentType"]),
                         (b"hello", {"x": "y"}, "text/plain"))
        self.assertEqual(client.get_object(Bucket="boto3", Key=key, Range="bytes=1-2")["Body"].read(),
                         b"el")
        client.upload_file(self.large, "boto3", "large")
        client.download_file("boto3", "large", os.path.join(self.folder, "got"))
        self.assert_same(self.large, "got")
        client.copy({"Bucket": "boto3", "Key": "large"}, "boto3", "copy")
        self.assertEqual(client.head_object(Bucket="boto3", Key="copy")["ContentLength"],
                         os.path.getsize(self.large))
        listed = client.list_objects_v2(Bucket="boto3")
        self.assertEqual([item["Key"] for item in listed["Contents"]], [key, "copy", "large"])
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for version in ("s3", "s3v4"):
            url = self.client(signature_version=version).generate_presigned_url(
                "get_object", {"Bucket": "boto3", "Key": key})
            with opener.open(url) as answer:
                self.assertEqual(answer.read(), b"hello", version)
        form = client.generate_presigned_post("boto3", "from-form")
        self.assertEqual(self.post_form(form, b"form data"), 204)
        self.assertEqual(client.get_object(Bucket="boto3", Key="from-form")["Body"].read(),
                         b"form data")
        client.put_bucket_versioning(Bucket="boto3", VersioningConfiguration={"Status": "Enabled"})
        client.delete_object(Bucket="boto3", Key="copy")
        versions = client.list_object_versions(Bucket="boto3")
        doomed = [{"Key": v["Key"], "VersionId": v["VersionId"]}
                  for v in versions["Versions"] + versions["DeleteMarkers"]]
        self.assertEqual(len(doomed), 5)
        deleted = client.delete_objects(Bucket="boto3", Delete={"Objects": doomed})
        self.assertEqual(len(deleted["Deleted"]), 5)
        client.delete_bucket(Bucket="boto3")

    def post_form(self, form, data):
        body = b""
        for name, value in form["fields"].items():
            body += (f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
                     .encode())
        body += b'--B\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + data + b"\r\n--B--\r\n"
        connection = http.client.HTTPConnection("127.0.0.1", self.server.ports["s3"])
        connection.request("POST", "/boto3", body,
                           {"Content-Type": "multipart/form-data; boundary=B"})
        status = connection.getresponse().status
        connection.close()
        return status


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


class TlsTest(unittest.TestCase):
    def test_boto3_over_https_sends_trailers(self):
        if not shutil.which("openssl"):
            print("openssl is not installed, skipped")
            self.skipTest("openssl")
        try:
            import boto3
            from botocore.config import Config
        except ImportError:
            print("boto3 is not installed, skipped")
            self.skipTest("boto3")
        with tempfile.TemporaryDirectory() as folder:
            certificate, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key,
                            "-out", certificate, "-days", "2", "-subj", "/CN=localhost", "-addext",
                            "subjectAltName=IP:127.0.0.1"], check=True, stderr=subprocess.DEVNULL)
            server = Server(folder, "--tls-cert", certificate, "--tls-key", key)
            client = boto3.client("s3", endpoint_url=f"https://{server.address}",
                                  aws_access_key_id=ACCESS, aws_secret_access_key=SECRET,
                                  region_name="us-east-1", verify=certificate,
                                  config=Config(proxies={}))
            client.create_bucket(Bucket="tls")
            body = os.urandom(3_000_000)
            client.put_object(Bucket="tls", Key="k", Body=body)
            self.assertEqual(client.get_object(Bucket="tls", Key="k")["Body"].read(), body)
            client.close()
            self.assertEqual(server.stop()[0], 0)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
