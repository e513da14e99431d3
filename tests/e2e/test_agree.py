"""`usher check` and the daemon agree: 100,000 lookups drawn from all that the policy knows of, asked of both.

The daemon's side is tests/agree.c: a worker whose clock is set to each line's time. What it says is read from its answers and its log.
"""

import csv
import io
import random
import subprocess
from collections import Counter
from datetime import datetime, timezone

import yaml

import usher
from test_policy_eval import read_eval, school, utc
from usher import BUILD, ROOT

LOOKUPS = 100_000
CLIENTS = ['10.20.0.5', '10.20.3.7', '10.20.3.8', '10.20.4.1', '10.30.0.5', '10.40.0.5', '10.41.0.5', '10.99.1.1', '10.50.0.5', '10.60.0.5',
           '10.61.0.5', '10.62.0.5', '127.0.0.9', '10.1.2.3', '203.0.113.5', '2001:db8::5']
WORDS = ['sex', 'casino', 'poker', 'unblocked', 'essex', 'casinos123', 'free-sex-now', 'xn--ggle-55da', 'www', '_443._https', 'a.b.c.d']
# Weeks in which everything happens: the week of the truths, clocks going back and forward, holidays.
DAYS = ['2026-11-23', '2026-11-24', '2026-11-27', '2026-11-28', '2026-11-29', '2026-10-24', '2026-10-25', '2026-10-26', '2026-10-30', '2026-10-31',
        '2027-03-27', '2027-03-28', '2026-12-31', '2027-01-01']
BOUNDARIES = ['00:00', '01:00', '01:15', '01:45', '02:00', '06:00', '07:00', '10:00:30', '10:40', '11:00', '12:10', '12:30', '12:40', '13:00',
              '18:00', '21:00', '23:00']

__all__ = ['school']        # the fixture, with the lists and rules of policy.eval


def seconds(day, time):
    return int(datetime.fromisoformat(utc(day, time).replace('Z', '+00:00')).replace(tzinfo=timezone.utc).timestamp())


def known_names():
    """Every name that a list, a rule, a truth or the configuration speaks of."""
    lists, rules, truths = read_eval()
    names = {name for listed in lists.values() for name in listed} | {rule[-1].lstrip('=') for rule in rules} | {truth[-1] for truth in truths}
    school = yaml.safe_load((ROOT / 'tests/policy.conf').read_text())
    names |= {zone['zone'] for zone in school['internal-zones']} | {record.split()[0] for record in school['local-records']}
    names |= set(school['protected-names'])
    for profile in school['profiles']:
        names |= {*profile.get('allow-names', []), *profile.get('block-names', [])}
    for engine in yaml.safe_load((ROOT / 'conf/safe-search.yaml').read_text())['safe-search']:
        names |= set(engine['names'][:6])
    names |= {canary['name'] for canary in yaml.safe_load((ROOT / 'conf/canaries.yaml').read_text())['canaries']}
    return sorted(name.rstrip('.') for name in names if name.isascii())


def draw(number):
    """(name, client, type, time), the same ones in each run."""
    chance, names = random.Random(1815), known_names()
    times = [seconds(day, time) for day in DAYS for time in BOUNDARIES]
    for _ in range(number):
        name = chance.choice(names)
        way = chance.randrange(8)
        if way == 0:
            name = f'{chance.choice(WORDS)}.{name}'
        elif way == 1 and '.' in name:
            name = name.split('.', 1)[1]
        elif way == 2:
            name = f'{chance.choice(WORDS)}-{name}'
        elif way == 3:
            name = ''.join(chance.choice((c.lower(), c.upper())) for c in name)
        yield name, chance.choice(CLIENTS), chance.choice(('A', 'A', 'AAAA')), chance.choice(times) + chance.randrange(-2, 3)


def test_check_and_the_daemon_agree_on_a_hundred_thousand_lookups(school, monkeypatch):
    monkeypatch.setitem(usher.ENVIRONMENT, 'TZ', 'Europe/London')
    lookups = list(draw(LOOKUPS))

    def told_by(*command, lines):
        told = subprocess.run([str(word) for word in command], input='\n'.join(lines) + '\n', capture_output=True, text=True, timeout=120,
                              env=usher.ENVIRONMENT)
        assert told.returncode == 0, told.stderr
        return told.stdout

    when = {second: datetime.fromtimestamp(second, timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ') for _, _, _, second in lookups}
    checked = told_by(school.build / 'usher', '-c', school.file, 'check', '--batch', '--csv',
                      lines=[f'{name} {client} {type} {when[second]}' for name, client, type, second in lookups])
    answered = told_by(BUILD / 'tests/agree', school.file, lines=[' '.join(map(str, lookup)) for lookup in lookups])

    said = [(row['verdict'], row['category'] or '-', str(int(row['watch'] != ''))) for row in csv.DictReader(io.StringIO(checked))]
    did = [tuple(line.split()) for line in answered.splitlines()]
    assert len(said) == len(did) == LOOKUPS
    wrong = [(lookup, a, b) for lookup, a, b in zip(lookups, said, did) if a != b]
    assert not wrong, f'{len(wrong)} differ: {wrong[:10]}'

    # It means something only if all that can happen did, many times.
    verdicts = Counter(verdict for verdict, _, _ in said)
    assert all(verdicts[verdict] > 500 for verdict in ('resolve', 'block', 'rewrite', 'local', 'refuse')), verdicts
    assert len({category for _, category, _ in said}) >= 8 and sum(watched == '1' for _, _, watched in said) > 500
    changing = {lookup[:3] for lookup in lookups}
    assert len(changing) > 5000
