#!/usr/bin/env python3
"""What S3 does at its edges, asked through boto3: the behaviours that conformance suites look at.

    s3_edges_test.py SQLITE_S3_SERVER
"""
import unittest
import urllib.error
import urllib.request

from s3_server import ACCESS, SECRET, main
from s3_clients_test import Case

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import ClientError
except ImportError:
    boto3 = None

PART = 5 << 20


@unittest.skipUnless(boto3, "boto3 is not installed")
class EdgesTest(Case):
    def setUp(self):
        super().setUp()
        self.client = self.connect()
        self.client.create_bucket(Bucket="edges")

    def connect(self, **config):
        return boto3.client(
            "s3", endpoint_url=f"http://{self.server.address}", aws_access_key_id=ACCESS,
            aws_secret_access_key=SECRET, region_name="us-east-1",
            config=Config(proxies={}, retries={"max_attempts": 1}, **config))

    def call(self, name, **arguments):
        """Of an operation on the bucket: its answer, or (status, code)."""
        try:
            return getattr(self.client, name)(**{"Bucket": "edges", **arguments})
        except ClientError as error:
            return (error.response["ResponseMetadata"]["HTTPStatusCode"],
                    error.response["Error"]["Code"])

    def on_condition(self, name, headers, **arguments):
        """The same with conditions that older releases of boto3 have no argument for."""
        event = "before-call.s3." + "".join(word.title() for word in name.split("_"))

        def add(params, **_):
            params["headers"].update(headers)

        self.client.meta.events.register(event, add)
        try:
            return self.call(name, **arguments)
        finally:
            self.client.meta.events.unregister(event, add)

    def put(self, *keys):
        for key in keys:
            self.client.put_object(Bucket="edges", Key=key, Body=key.encode())

    def listed(self, version, **arguments):
        answer = self.call("list_objects" if version == 1 else "list_objects_v2", **arguments)
        return ([item["Key"] for item in answer.get("Contents", [])],
                [item["Prefix"] for item in answer.get("CommonPrefixes", [])])

    def test_delimiters_and_prefixes_of_lists(self):
        self.put("asdf", "foo/bar", "foo/bar/xyzzy", "quux/thud")
        for version in (1, 2):
            with self.subTest(version=version):
                every = ["asdf", "foo/bar", "foo/bar/xyzzy", "quux/thud"]
                self.assertEqual(self.listed(version, Delimiter="/"),
                                 (["asdf"], ["foo/", "quux/"]))
                self.assertEqual(self.listed(version, Delimiter="/", Prefix="foo/"),
                                 (["foo/bar"], ["foo/bar/"]))
                self.assertEqual(self.listed(version, Delimiter="%"), (every, []))
                self.assertEqual(self.listed(version, Delimiter="\n"), (every, []))
                self.assertEqual(self.listed(version, Prefix="\n"), ([], []))
                self.assertEqual(self.listed(version, MaxKeys=0), ([], []))
        self.assertEqual(self.call("list_objects", MaxKeys=-1), (400, "InvalidArgument"))
        self.assertEqual(self.call("list_objects", EncodingType="x"), (400, "InvalidArgument"))
        self.assertEqual(self.call("list_objects_v2", ContinuationToken=""),
                         (400, "InvalidArgument"))

    def test_pages_of_lists_with_a_delimiter(self):
        self.put("a", "b/1", "b/2", "c", "d/1")
        found, token = [], {}
        while True:
            page = self.call("list_objects_v2", Delimiter="/", MaxKeys=1, **token)
            found += [item["Key"] for item in page.get("Contents", [])]
            found += [item["Prefix"] for item in page.get("CommonPrefixes", [])]
            self.assertEqual(page["KeyCount"], 1)
            if not page["IsTruncated"]:
                break
            token = {"ContinuationToken": page["NextContinuationToken"]}
        self.assertEqual(found, ["a", "b/", "c", "d/"])

    def test_keys_of_all_kinds_are_put_got_listed_and_copied(self):
        for key in ["  leading", " ", '"', "$", "%", "&", "'", "<", ">", "_ _", "a\tb", "a\nb",
                    "\u20ac", "x" * 1024, "\u00fc" * 512, "a//b", "/lead", "a/../b", ".", "..", "a?b",
                    "a#b", "a;b", "a=b&c", "a\\b", "%41", "+", "~*"]:
            with self.subTest(key=key):
                self.put(key)
                self.assertEqual(self.call("get_object", Key=key)["Body"].read(), key.encode())
                self.assertIn(key, self.listed(2, Prefix=key)[0])
                self.call("copy_object", Key="copy", CopySource={"Bucket": "edges", "Key": key})
                self.assertEqual(self.call("get_object", Key="copy")["Body"].read(), key.encode())
        self.assertEqual(self.call("put_object", Key="x" * 1025), (400, "KeyTooLongError"))

    def test_conditions_and_ranges(self):
        self.put("k")
        for expected, arguments in [
                ((412, "PreconditionFailed"), {"IfMatch": '"other"'}),
                ((304, "304"), {"IfModifiedSince": "Sat, 29 Oct 2044 19:43:31 GMT"}),
                ((412, "PreconditionFailed"), {"IfUnmodifiedSince": "Sat, 29 Oct 1994 19:43:31 GMT"}),
                ((416, "InvalidRange"), {"Range": "bytes=40-50"})]:
            self.assertEqual(self.call("get_object", Key="k", **arguments), expected)
        self.assertEqual(self.on_condition("put_object", {"If-Match": "*"}, Key="none"), (404, "NoSuchKey"))
        self.assertEqual(self.on_condition("put_object", {"If-None-Match": "*"}, Key="k"),
                         (412, "PreconditionFailed"))
        self.assertEqual(self.on_condition("delete_object", {"If-Match": '"x"'}, Key="k"),
                         (412, "PreconditionFailed"))
        self.call("put_object", Key="r", Body=b"testcontent")
        tail = self.call("get_object", Key="r", Range="bytes=-7")
        self.assertEqual((tail["Body"].read(), tail["ContentRange"]), (b"content", "bytes 4-10/11"))

    def test_copies_and_their_directives(self):
        self.call("put_object", Key="k", Body=b"x", Metadata={"a": "1"}, ContentType="text/x")
        self.assertEqual(self.call("copy_object", Key="k", CopySource="edges/k"),
                         (400, "InvalidRequest"))
        self.call("copy_object", Key="k", CopySource="edges/k", MetadataDirective="REPLACE",
                  Metadata={"b": "2"})
        self.assertEqual(self.call("head_object", Key="k")["Metadata"], {"b": "2"})
        self.assertEqual(self.call("copy_object", Key="d", CopySource="edges/k",
                                   MetadataDirective="WHAT"), (400, "InvalidArgument"))
        self.assertEqual(self.call("copy_object", Key="d", CopySource="edges/none"),
                         (404, "NoSuchKey"))
        self.assertEqual(self.call("copy_object", Key="d", CopySource="no-bucket/k"),
                         (404, "NoSuchBucket"))
        upload = self.call("create_multipart_upload", Key="p")["UploadId"]
        for expected, part_range in [((416, "InvalidRange"), "bytes=0-21"),
                                     ((400, "InvalidArgument"), "0-2")]:
            self.assertEqual(self.call("upload_part_copy", Key="p", UploadId=upload, PartNumber=1,
                                       CopySource="edges/k", CopySourceRange=part_range), expected)

    def test_multipart_errors(self):
        upload = self.call("create_multipart_upload", Key="m")["UploadId"]
        parts = [{"PartNumber": number, "ETag": self.call(
            "upload_part", Key="m", UploadId=upload, PartNumber=number, Body=body)["ETag"]}
            for number, body in [(1, b"x" * PART), (2, b"small"), (3, b"last")]]

        def complete(some):
            return self.call("complete_multipart_upload", Key="m", UploadId=upload,
                             MultipartUpload={"Parts": some})
        self.assertEqual(complete(parts), (400, "EntityTooSmall"))
        self.assertEqual(complete([parts[2], parts[0]]), (400, "InvalidPartOrder"))
        self.assertEqual(complete([{"PartNumber": 9, "ETag": parts[0]["ETag"]}]),
                         (400, "InvalidPart"))
        self.assertEqual(complete([{"PartNumber": 1, "ETag": '"ffff"'}]), (400, "InvalidPart"))
        self.assertEqual(complete([]), (400, "MalformedXML"))
        for number in (0, 10_001):
            self.assertEqual(self.call("upload_part", Key="m", UploadId=upload, PartNumber=number,
                                       Body=b""), (400, "InvalidArgument"))
        self.assertEqual(complete([parts[0], parts[2]])["Key"], "m")
        self.assertEqual(self.call("get_object", Key="m", PartNumber=2)["Body"].read(), b"last")
        self.assertEqual(self.call("get_object", Key="m", PartNumber=3), (416, "InvalidPartNumber"))
        for name in ("abort_multipart_upload", "list_parts"):
            self.assertEqual(self.call(name, Key="m", UploadId=upload), (404, "NoSuchUpload"))

    def test_delete_markers(self):
        self.call("put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"})
        first = self.call("put_object", Key="k", Body=b"1")["VersionId"]
        self.call("put_object", Key="k", Body=b"2")
        marker = self.call("delete_object", Key="k")["VersionId"]
        self.assertEqual(self.call("get_object", Key="k"), (404, "NoSuchKey"))
        self.assertEqual(self.call("get_object", Key="k", VersionId=marker),
                         (405, "MethodNotAllowed"))
        self.assertEqual(self.call("get_object", Key="k", VersionId="other"), (404, "NoSuchVersion"))
        self.call("copy_object", Key="k",
                  CopySource={"Bucket": "edges", "Key": "k", "VersionId": first})
        self.assertEqual(self.call("get_object", Key="k")["Body"].read(), b"1")
        deleted = self.call("delete_objects", Delete={"Objects": [{"Key": "k", "VersionId": marker}]})
        self.assertEqual(deleted["Deleted"][0]["DeleteMarkerVersionId"], marker)

    def ask(self, method, url, body=None, **headers):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(urllib.request.Request(
                    url, method=method, data=body,
                    headers={name.replace("_", "-"): value for name, value in headers.items()})) as got:
                return got.status, got.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def test_presigned_urls_allow_what_was_signed_and_nothing_else(self):
        for version in ("s3", "s3v4"):
            with self.subTest(version=version):
                client = self.connect(signature_version=version)
                url = client.generate_presigned_url("put_object", {
                    "Bucket": "edges", "Key": "p \u00fc", "Metadata": {"x": "y"},
                    "ContentType": "text/z"})
                signed = {"x_amz_meta_x": "y", "Content_Type": "text/z"}
                self.assertEqual(self.ask("PUT", url, b"hi", **signed)[0], 200)
                self.assertEqual(self.ask("PUT", url, b"hi", **dict(signed, x_amz_meta_x="z"))[0], 403)
                self.assertEqual(
                    self.ask("PUT", url, b"hi", **signed, x_amz_storage_class="GLACIER")[0], 403)
                url = client.generate_presigned_url("get_object", {
                    "Bucket": "edges", "Key": "p \u00fc", "ResponseContentType": "a/b"})
                self.assertEqual(self.ask("GET", url), (200, b"hi"))
                self.assertEqual(self.ask("DELETE", url)[0], 403)
                self.assertEqual(self.ask("GET", url.replace("a%2Fb", "a%2Fc"))[0], 403)


del Case  # its tests are its heirs'

if __name__ == "__main__":
    main()
