"""The load: a generator asks a server the queries of a file, over and over, for some seconds.

Debian's dnsperf, or udp-blast where its source is at hand: that one is cheaper, so more of the core it shares with NSD is left, and
it compares every single answer with what was expected. Of dnsperf's timed runs the counts of each rcode are compared, and before
them one pass through the file in which it names every answer.
"""

import re
import subprocess
from itertools import cycle, islice

OUTSTANDING = 200
CHECK_LIMIT_S = 60


class Blast:
    name = 'udp-blast'

    def __init__(self, source, folder):
        self.program = folder / 'udp-blast'
        subprocess.run(['cc', '-O2', '-o', str(self.program), str(source)], check=True)

    def _run(self, port, queries, seconds, *more):
        command = [str(self.program), '-p', str(port), '-f', str(queries), '-t', str(seconds), *more]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return {key: float(value) for key, value in (pair.split('=') for pair in out.split())}

    def run(self, port, queries, seconds, checked=True):
        result = self._run(port, queries, seconds, '-w', str(OUTSTANDING), '-b', '32', *([] if checked else ['-i']))
        return {key: result[key] for key in ('answered', 'lost', 'wrong', 'secs')}

    def check(self, port, queries, rate):
        """(wrong, lost) in one paced pass through the file."""
        count = sum(1 for _ in open(queries))
        result = self._run(port, queries, CHECK_LIMIT_S, '-w', '1024', '-q', str(rate), '-n', str(count))
        return int(result['wrong']), int(result['lost'])


class Dnsperf:
    name = 'dnsperf'

    def _run(self, port, queries, *more):
        command = ['dnsperf', '-s', '127.0.0.1', '-p', str(port), '-d', str(queries), '-c', '1', '-T', '1', '-t', '2', *more]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def run(self, port, queries, seconds, checked=True):
        out = self._run(port, queries, '-l', str(seconds), '-q', str(OUTSTANDING))
        number = lambda what: float(re.search(what + r':\s+([\d.]+)', out).group(1))
        answered, lost, sent = int(number('Queries completed')), int(number('Queries lost')), int(number('Queries sent'))
        codes = {code: int(count) for code, count in re.findall(r'([A-Z]+) (\d+) \(', out.split('Response codes:')[1].split('\n')[0])}
        wrong = 0
        if checked:
            blocked = sum(octet == 'N' for octet in islice(cycle(expected(queries)), sent))
            good = {'NXDOMAIN': blocked, 'NOERROR': sent - blocked}
            # What was lost could have been of either kind, so a lack of as many is none.
            wrong = sum(max(0, count - good.get(code, 0)) for code, count in codes.items())
        return {'answered': answered, 'lost': lost, 'wrong': wrong, 'secs': number(r'Run time \(s\)')}

    def check(self, port, queries, rate):
        out = self._run(port, queries, '-n', '1', '-Q', str(rate), '-v')
        code_of = {'N': 'NXDOMAIN', 'A': 'NOERROR'}
        wanted = dict(zip((line.split()[0] for line in open(queries)), expected(queries)))
        answers = re.findall(r'^> ([A-Z]+) (\S+) ', out, re.M)
        return sum(code_of[wanted[name]] != code for code, name in answers), int(re.search(r'Queries lost:\s+(\d+)', out).group(1))


def expected(queries):
    return queries.with_name(queries.name + '.exp').read_text()
