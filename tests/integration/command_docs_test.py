#!/usr/bin/env python3
"""Man pages and completions have what --help has.

    command_docs_test.py SQLITE_S3_AGENT SQLITE_S3_RESTORE SQLITE_S3_SERVER
"""
import os
import re
import shutil
import subprocess
import sys
import unittest

PROGRAMS = [os.path.abspath(path) for path in sys.argv[1:4]]
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")


def help_of(program, *command):
    return subprocess.run([program, *command, "--help"], check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def options(text):
    return set(re.findall(r"^ +(?:-[a-zA-Z],)?--([a-z][a-z-]*)", text, re.M))


def subcommands(text):
    section = re.search(r"^Subcommands:\n((?: .*\n)+)", text, re.M)
    return re.findall(r"^  ([a-z-]+)", section.group(1), re.M) if section else []


class Manual(unittest.TestCase):

    def page(self, program):
        path = os.path.join(ROOT, "docs/man", os.path.basename(program) + ".1")
        with open(path, encoding="utf-8") as file:
            return path, file.read()

    def test_has_the_options_and_the_subcommands_that_help_has(self):
        for program in PROGRAMS:
            told = help_of(program)
            commands = subcommands(told)
            known = options(told).union(*(options(help_of(program, c)) for c in commands))
            self.assertGreater(len(known), 10)  # this test understands --help
            path, page = self.page(program)
            documented = set(re.findall(r"\bFl (?:[a-zA-Z] , )?-([a-z][a-z-]*)", page))
            self.assertEqual(documented, known, f"{path}: write down what --help says")
            documented = {name for line in re.findall(r"^\.It Cm (.*)$|^\.Cm (.*)$", page, re.M)
                          for name in re.findall("[a-z][a-z-]*", "".join(line))}
            self.assertLessEqual(set(commands), documented, path)

    @unittest.skipUnless(shutil.which("groff"), "groff is not installed")
    def test_is_well_formed(self):
        for program in PROGRAMS:
            path, _ = self.page(program)
            done = subprocess.run(["groff", "-mdoc", "-Tutf8", "-ww", "-z", path], text=True,
                                  stderr=subprocess.PIPE, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""))


class Completion:
    """What each shell offers for the last word."""

    def test_offers_the_options_of_each_subcommand(self):
        for program in PROGRAMS:
            for command in subcommands(help_of(program)):
                offered = {word[2:] for word in self.complete(program, command, "--")}
                self.assertEqual(offered, options(help_of(program, command)), command)

    def test_offers_subcommands_first_and_values_where_an_option_has_some(self):
        agent, restore, server = PROGRAMS
        self.assertLessEqual({"status", "sync"}, self.complete(agent, "s"))
        self.assertNotIn("status", self.complete(agent, "run", "s"))
        self.assertEqual(self.complete(agent, "run", "--log-format", ""), {"text", "json"})
        self.assertEqual(self.complete(restore, "file:///x", "--verify", ""),
                         {"none", "quick", "full"})
        self.assertLessEqual({"full"}, self.complete(server, "--synchronous", "f"))

    def run_shell(self, *command):
        return set(subprocess.run(command, check=True, text=True,
                                  stdout=subprocess.PIPE).stdout.split())


class Bash(Completion, unittest.TestCase):

    def complete(self, program, *words):
        script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
                  '_sqlite_s3 "$1"; printf "%s\\n" "${COMPREPLY[@]}"')
        return self.run_shell("bash", "--norc", "-c", script, "bash",
                              os.path.join(ROOT, "completions/sqlite-s3"), program, *words)


@unittest.skipUnless(shutil.which("zsh"), "zsh is not installed")
class Zsh(Completion, unittest.TestCase):

    def complete(self, program, *words):
        return self.run_shell("zsh", "-f", "-c", 'source "$1"; shift; _sqlite_s3_words "$@"', "zsh",
                              os.path.join(ROOT, "completions/sqlite-s3.zsh"), program, *words)


@unittest.skipUnless(shutil.which("fish"), "fish is not installed")
class Fish(Completion, unittest.TestCase):

    def complete(self, program, *words):
        script = "source $argv[1]; __sqlite_s3_words $argv[2..-1]"
        return self.run_shell("fish", "--no-config", "-c", script,
                              os.path.join(ROOT, "completions/sqlite-s3.fish"), program, *words)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:])
