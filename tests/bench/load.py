"""The load: bench_load asks a server the queries of a file and compares every answer with what it must be."""

import csv
import io
import subprocess

OUTSTANDING = 200


def rows(out):
    """Its lines, one a phase, as numbers."""
    return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(io.StringIO(out))]


class Load:
    def __init__(self, program):
        self.program = str(program)

    def _run(self, port, queries, *more):
        command = [self.program, '-p', str(port), '-f', str(queries), *map(str, more)]
        return rows(subprocess.run(command, capture_output=True, text=True, check=True).stdout)[0]

    def full(self, port, queries, seconds):
        """As fast as the server answers."""
        return self._run(port, queries, '-t', seconds, '-w', OUTSTANDING)

    def all(self, port, queries):
        """One pass through the file, as fast as the server answers."""
        return self._run(port, queries, '-n', count_lines(queries), '-w', OUTSTANDING)

    def paced(self, port, queries, seconds, rate, patience_ms=1000):
        """So many a second, whatever comes back: for latency and overload."""
        return self._run(port, queries, '-t', seconds, '-r', rate, '-l', patience_ms)


def count_lines(path):
    with open(path, 'rb') as file:
        return sum(1 for _ in file)
