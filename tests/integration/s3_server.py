"""sqlite-s3-server as a process, for tests: `from s3_server import ...`, and main() at the end."""
import http.client
import os
import signal
import subprocess
import sys
import unittest

ACCESS, SECRET = "test-access", "test-secret-canary"
PROGRAM = sys.argv[1]


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


def main():
    sys.argv.pop(1)
    unittest.main(module="__main__")
