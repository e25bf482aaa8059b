#!/usr/bin/env python3
"""Real S3 clients, each a full cycle on sqlite-s3-server.

    s3_clients_test.py SQLITE_S3_SERVER

A client that is not installed is named on standard output and skipped.
"""
import base64
import filecmp
import hashlib
import http.client
import json
import os
import shutil
import subprocess
import tempfile
import unittest
import urllib.request

from s3_server import ACCESS, SECRET, Server, free_of_proxies, main


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

    # The four scenarios that s3ite tests itself with.

    def test_s3ite_list_buckets(self):
        client = self.client()
        names = [f"test-list-buckets-{i}" for i in range(5)]
        for name in names:
            client.create_bucket(Bucket=name)
        self.assertEqual([bucket["Name"] for bucket in client.list_buckets()["Buckets"]], names)
        for name in names:
            client.head_bucket(Bucket=name)
            client.delete_bucket(Bucket=name)
        self.assertEqual(client.list_buckets()["Buckets"], [])

    def test_s3ite_single_object(self):
        client = self.client()
        client.create_bucket(Bucket="test-single-object")
        body = "hello world\n你好世界\n".encode()
        md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
        client.put_object(Bucket="test-single-object", Key="sample.txt", Body=body, ContentMD5=md5)
        got = client.get_object(Bucket="test-single-object", Key="sample.txt")
        self.assertEqual(got["ContentLength"], len(body))
        self.assertEqual(got["Body"].read(), body)
        client.delete_object(Bucket="test-single-object", Key="sample.txt")
        client.delete_bucket(Bucket="test-single-object")

    def test_s3ite_multipart(self):
        client = self.client()
        where = {"Bucket": "test-multipart", "Key": "sample.txt"}
        client.create_bucket(Bucket="test-multipart")
        body = b"\x01\x02\x03" * 400_000
        upload = client.create_multipart_upload(**where)["UploadId"]
        md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
        part = client.upload_part(**where, UploadId=upload, PartNumber=1, Body=body, ContentMD5=md5)
        client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={
            "Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
        got = client.get_object(**where)
        self.assertEqual(got["ContentLength"], len(body))
        self.assertEqual(got["Body"].read(), body)
        client.delete_object(**where)
        client.delete_bucket(Bucket="test-multipart")

    def test_s3ite_read_only(self):
        from botocore.exceptions import ClientError
        self.end()
        self.server = Server(self.folder, "--read-only")
        with self.assertRaises(ClientError) as caught:
            self.client().create_bucket(Bucket="test-read-only")
        self.assertEqual(caught.exception.response["Error"]["Code"], "AccessDenied")
        self.assertIn("read-only", caught.exception.response["Error"]["Message"])

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
    main()
