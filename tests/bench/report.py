#!/usr/bin/python3
"""Tables and the picture from what tests/bench/run measured.

    tests/bench/report.py [FILE]           the tables, in Markdown; FILE: results.csv beside this file
    tests/bench/report.py --write [FILE]   puts them into BENCHMARKS.md, and draws results.svg
"""

import csv
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CSV, SVG, DOCUMENT = HERE / 'results.csv', HERE / 'results.svg', HERE.parents[1] / 'BENCHMARKS.md'
COLUMNS = ['names', 'subject', 'case', 'measure', 'run', 'value', 'unit']
CASES = ['cached', 'blocked', 'mix', 'cold']
OURS, SMALLER = 'usherd', 'usherd-smaller'
FIRST = ['echo', 'ideal', OURS, SMALLER]         # of every table
TITLES = {'echo': 'echo: the kernel alone', 'ideal': 'ideal responder', OURS: '**usherd**', SMALLER: 'usherd, the smaller list',
          'unbound': 'Unbound, local-zone', 'unbound-rpz': 'Unbound, RPZ', 'bind': 'BIND, RPZ', 'kresd': 'Knot Resolver, RPZ', 'pdns': 'PowerDNS Recursor, RPZ'}


class Results:
    """All rows. What add() gets is also written as it comes."""

    def __init__(self, out=None):
        self.rows, self.out = [], csv.writer(out, lineterminator='\n') if out else None
        self.stream = out
        if self.out:
            self.out.writerow(COLUMNS)

    def add(self, names, subject, case, measure, run, value, unit):
        row = (int(names), subject, case, measure, int(run), float(value), unit)
        self.rows.append(row)
        if self.out:
            self.out.writerow([*row[:5], f'{row[5]:.6g}', unit])
            self.stream.flush()

    @classmethod
    def read(cls, path):
        results = cls()
        with open(path) as file:
            for row in csv.DictReader(file):
                results.add(*(row[column] for column in COLUMNS))
        return results

    def write(self, path):
        with open(path, 'w') as file:
            out = Results(file)
            for row in self.rows:
                out.add(*row)

    def runs(self, names, subject, case, measure):
        """The values of its runs, in order."""
        return [row[5] for row in self.rows if row[:4] == (names, subject, case, measure)]

    def median(self, names, subject, case, measure):
        """None where nothing was measured."""
        values = self.runs(names, subject, case, measure)
        return statistics.median(values) if values else None

    def total(self, names, subject, measure):
        return sum(row[5] for row in self.rows if row[0] == names and row[1] == subject and row[3] == measure)

    def sizes(self):
        return sorted({row[0] for row in self.rows})

    def subjects(self, names):
        """What served: the ceilings, usherd, the peers."""
        found = list(dict.fromkeys(row[1] for row in self.rows if row[0] == names and row[1] != 'usher'))
        return sorted(found, key=lambda subject: FIRST.index(subject) if subject in FIRST else len(FIRST))

    def peers(self, names):
        return [subject for subject in self.subjects(names) if subject not in FIRST]

    def ratio(self, names, case, ours, theirs, subject):
        """The median of the ratios of each run: a slow minute of the machine weighs on both sides. Where user time is too short for the
        kernel's ticks it is the ratio of the sums."""
        left, right = self.runs(names, OURS, case, ours), self.runs(names, subject, case, theirs)
        if not left or not right or not sum(right):
            return None
        if ours == 'user':
            return sum(left) / sum(right)
        return statistics.median(a / b for a, b in zip(left, right) if b)

    def best_peer(self, names, case):
        """The peer whose answers are cheapest, of those that answered right."""
        right = [peer for peer in self.peers(names) if self.median(names, peer, case, 'cpu') and self.is_right(names, peer, case)]
        return min(right, key=lambda peer: self.median(names, peer, case, 'cpu'), default=None)

    def is_right(self, names, subject, case):
        wrong = sum(self.runs(names, subject, case, 'wrong')) + sum(self.runs(names, subject, case, 'lost'))
        return wrong <= sum(self.runs(names, subject, case, 'answered')) / 100

    def tables(self):
        return '\n\n'.join(table(self) for table in TABLES)


def number(value, form='.2f'):
    return '–' if value is None else f'{value:,{form}}'


def title(subject):
    return TITLES.get(subject, subject)


def table_of(heading, columns, rows):
    lines = [f'### {heading}', '', f'| {" | ".join(columns)} |', f'|---|{"---:|" * (len(columns) - 1)}']
    return '\n'.join([*lines, *(f'| {" | ".join(row)} |' for row in rows)])


# ---- the goals ---------------------------------------------------------------------------------------------------------------

def against_peer(results, names, case):
    peer = results.best_peer(names, case)
    ratio = results.ratio(names, case, 'cpu', 'cpu', peer) if peer else None
    return '–' if ratio is None else f'{ratio:.2f} ({peer})'


def plain(results, names, case, measure, form='.0f'):
    return number(results.median(names, OURS, case, measure), form)


def memory(results, names):
    private, mapped = (results.median(names, OURS, 'end', f'memory_{kind}') for kind in ('private', 'mapped'))
    return '–' if private is None else f'{private:.0f} and {private + mapped:.0f} MiB'


def ratio(ours, theirs, case, subject, form='.2f'):
    return lambda results, names: number(results.ratio(names, case, ours, theirs, subject), form)


# What is asked for, how much, and what was measured with one size of list.
GOALS = [
    ('cached: CPU an answer / ideal', '1.15', ratio('cpu', 'cpu', 'cached', 'ideal')),
    ('cached: / best peer', '0.75', lambda results, names: against_peer(results, names, 'cached')),
    ('blocked and logged: worker / ideal', '1.3', ratio('workers', 'cpu', 'blocked', 'ideal')),
    ('blocked and logged: all threads / best peer', '0.75', lambda results, names: against_peer(results, names, 'blocked')),
    ('blocked: worker / the same with the smaller list', '1.1', ratio('workers', 'workers', 'blocked', SMALLER)),
    ('mix: / ideal', '1.2', ratio('cpu', 'cpu', 'mix', 'ideal')),
    ('mix: / best peer', '0.75', lambda results, names: against_peer(results, names, 'mix')),
    *((f'{case}: user time / Unbound', '0.3', ratio('user', 'user', case, 'unbound')) for case in ('cached', 'blocked', 'mix')),
    ('p99 at half of the peak load / ideal', '1.2', ratio('p99_us', 'p99_us', 'half-load', 'ideal')),
    ('cold miss, all processes / Unbound', '1.3', ratio('cpu', 'cpu', 'cold', 'unbound')),
    ('memory: private, and with mapped pages (5 M names)', '128 and 400 MiB', memory),
    ('start to first right answer (5 M names)', '0.5 s', lambda results, names: f'{plain(results, names, "start", "time", ".2f")} s'),
    ('block events a second into the log, none lost', '≥ 200,000', lambda results, names: plain(results, names, 'ingest', 'rate', '.0f')),
    ('update: CPU to compile and publish (5 M names)', '15 s', lambda results, names: cost(results, names, 'cpu', '.1f', ' s')),
    ('update: memory at its largest (5 M names)', '400 MiB', lambda results, names: cost(results, names, 'peak_memory', '.0f', ' MiB')),
    ('update: on disk', '48 octets a name', lambda results, names: cost(results, names, 'disk', '.1f', '')),
    ('update: when no list has changed', '1 s', lambda results, names: cost(results, names, 'time', '.2f', ' s', 'update-unchanged')),
]


def cost(results, names, measure, form, unit, case='update-first'):
    return number(results.median(names, 'usher', case, measure), form) + unit


def goals_table(results):
    sizes = results.sizes()
    rows = [[what, goal, *(measured(results, names) for names in sizes)] for what, goal, measured in GOALS]
    return table_of('Goals', ['', 'at most', *(f'{names:,} names' for names in sizes)], rows)


# ---- the figures behind them -------------------------------------------------------------------------------------------------

def cpu_table(results):
    rows = []
    for names in results.sizes():
        for subject in results.subjects(names):
            cells = []
            for case in CASES:
                cpu, user = (results.median(names, subject, case, measure) for measure in ('cpu', 'user'))
                cells.append('–' if cpu is None else f'{cpu:.2f} ({user:.2f})')
            if any(cell != '–' for cell in cells):
                rows.append([f'{names:,}', title(subject), *cells])
        if results.median(names, OURS, 'cached', 'workers') is not None:
            rows.append([f'{names:,}', 'its worker alone', *(number(results.median(names, OURS, case, 'workers')) for case in CASES)])
    return table_of('CPU an answer, µs; in brackets user time', ['names', '', *CASES], rows)


def rate_table(results):
    rows = []
    for names in results.sizes():
        for subject in results.subjects(names):
            rates = [results.median(names, subject, case, 'rate') for case in CASES[:3]]
            latency = [results.median(names, subject, 'half-load', key) for key in ('rate', 'p50_us', 'p99_us', 'p999_us')]
            if any(rates):
                rows.append([f'{names:,}', title(subject), *(number(value, '.0f') for value in rates + latency)])
    return table_of('Answers a second at most; latency of the mix at half of it, µs',
                    ['names', '', *CASES[:3], 'paced at', 'p50', 'p99', 'p99.9'], rows)


def correctness_table(results):
    measures = ['answered', 'noerror', 'nxdomain', 'servfail', 'refused', 'wrong', 'lost']
    rows = [[f'{names:,}', title(subject), *(f'{results.total(names, subject, measure):,.0f}' for measure in measures)]
            for names in results.sizes() for subject in results.subjects(names)
            if subject != 'echo' and results.total(names, subject, 'answered')]
    return table_of('Answers of all runs together', ['names', '', 'answers', 'NOERROR', 'NXDOMAIN', 'SERVFAIL', 'REFUSED', 'wrong', 'lost'], rows)


def start_table(results):
    rows = []
    for names in results.sizes():
        for subject in results.subjects(names):
            start = results.median(names, subject, 'start', 'time')
            cells = [results.median(names, subject, when, f'memory_{kind}') for when in ('start', 'end') for kind in ('private', 'mapped')]
            if start is not None:
                rows.append([f'{names:,}', title(subject), number(start), *(number(cell, '.0f') for cell in cells)])
    return table_of('Start to the first right answer, s; memory, MiB',
                    ['names', '', 'start', 'private', 'mapped', 'private after the load', 'mapped after the load'], rows)


def update_table(results):
    rows = []
    for names in results.sizes():
        for case in ('first', 'changed', 'unchanged'):
            cells = [results.median(names, 'usher', f'update-{case}', measure) for measure in ('time', 'cpu', 'peak_memory', 'disk')]
            served = results.median(names, OURS, f'update-{case}', 'served')
            if cells[0] is not None:
                rows.append([f'{names:,}', case, *(number(cell) for cell in cells), number(served)])
    return table_of('`usher lists update`', ['names', 'lists', 's', 's of CPU', 'MiB at its largest', 'octets a name', 'then served after, s'], rows)


TABLES = [goals_table, cpu_table, rate_table, correctness_table, start_table, update_table]


# ---- the picture -------------------------------------------------------------------------------------------------------------

def draw(results, path):
    """CPU an answer with the smaller list, a group of bars for each server. gnuplot is Debian's."""
    names, top = results.sizes()[0], 20
    subjects = [subject for subject in results.subjects(names) if results.median(names, subject, 'mix', 'cpu')]
    data = '\n'.join(f'"{subject.replace("-", chr(92) + "n")}" ' + ' '.join(f'{results.median(names, subject, case, "cpu"):.2f}' for case in CASES[:3])
                     for subject in subjects)
    # A bar that is too high for the picture ends at its edge; its label says how high it is.
    labels = ', '.join(f"$D using ($0 + {offset}):(${column} < {top} ? ${column} : {top}):(sprintf('%.1f', ${column})) with labels offset 0,0.6 "
                       "font ',8' notitle" for column, offset in ((2, -0.25), (3, 0), (4, 0.25)))
    script = f'''
set terminal svg size 1000,380 font 'sans-serif,12' background rgb 'white'
set style data histograms
set style histogram clustered gap 1
set style fill solid noborder
set boxwidth 0.9
set yrange [0:{top} * 1.1]
set ylabel 'µs of CPU an answer (less is better)'
set title '{names:,} names blocked, one processor'
set grid ytics lc rgb '#dddddd'
set key top left
set border 3
set tics nomirror
$D << EOD
{data}
EOD
plot $D using ($2 < {top} ? $2 : {top}):xtic(1) title 'cached' lc rgb '#4878a8', '' using ($3 < {top} ? $3 : {top}) title 'blocked' lc rgb '#c85a54', \\
     '' using ($4 < {top} ? $4 : {top}) title 'mix' lc rgb '#8a8a8a', {labels}
'''
    svg = subprocess.run(['gnuplot'], input=script, capture_output=True, text=True, check=True).stdout
    path.write_text(svg)


# ---- the document ------------------------------------------------------------------------------------------------------------

def replace_block(text, name, content):
    """What stands between <!-- name --> and <!-- end of name -->."""
    begin, end = f'<!-- {name} -->', f'<!-- end of {name} -->'
    if begin not in text or end not in text:
        raise SystemExit(f'{DOCUMENT.name} has no lines {begin} and {end}')
    head, rest = text.split(begin, 1)
    return f'{head}{begin}\n{content}\n{end}{rest.split(end, 1)[1]}'


def update_documents(results):
    DOCUMENT.write_text(replace_block(DOCUMENT.read_text(), 'tables', f'\n{results.tables()}\n'))
    draw(results, SVG)


def keep(results, conditions):
    """A new run: conditions is a sentence without its full stop."""
    results.write(CSV)
    DOCUMENT.write_text(replace_block(DOCUMENT.read_text(), 'machine', f'{time.strftime("%-d %B %Y")}: {conditions}.'))
    update_documents(results)


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != '--write']
    results = Results.read(arguments[0] if arguments else CSV)
    print(results.tables())
    if '--write' in sys.argv:
        update_documents(results)


if __name__ == '__main__':
    main()
