"""Issue point 10: what was blocked is in the log within a second, filtered as the safeguarding lead needs it, and survives kill -9;
what was allowed is nowhere."""

import csv
import io
import json
import socket
import struct
import subprocess
import threading
import time
from datetime import datetime, timedelta, timezone

import dns.message
import pytest

from usher import BUILD, ENVIRONMENT, PUPIL6, eventually, profile, usherd

KEYS = {'time', 'client', 'device', 'profile', 'name', 'type', 'category', 'severity', 'rule', 'source', 'matched', 'action', 'generation',
        'mac', 'confidence', 'randomised', 'identity'}
UNNAMED, UNLOGGED = '10.77.1.5', '10.77.2.5'


@pytest.fixture(scope='module')
def u(lab):
    config = {'profiles': [profile('pupils'), profile('staff'), profile('guest'),
                           profile('unnamed', networks=['10.77.1.0/24'], block=['gambling'], log='no-client'),
                           profile('unlogged', networks=['10.77.2.0/24'], block=['gambling'], log='off')]}
    lists = {'gambling': ['casino.com', 'poker.net'], 'games': ['games.org'], 'illegal': ['illegal.net'], 'malware': ['vpn.net'], 'hate': ['drugs.org']}
    with usherd(config, lists) as u:
        yield u


def test_a_misspelt_or_doubled_parameter_does_not_answer_with_everybody(u):
    u.ask('casino.com', 'A', '10.20.9.200')
    for query, sentence in ('clients=10.20.9.200', "unknown parameter 'clients'"), ('client=10.20.9.200&client=10.20.9.201', 'client: found twice'):
        for path in '/v1/log', '/v1/log/follow':
            status, body, _ = u.http('log.sock', f'{path}?{query}')
            assert status == 400 and sentence in body, body
    status, body, _ = u.http('log.sock', '/v1/log?until=0')
    assert (status, body) == (200, '')


def test_record_says_who_what_when_and_why(u):
    before = datetime.now(timezone.utc)
    u.ask('WWW.Casino.com', 'HTTPS', '10.20.9.1')
    [record] = u.log('--client', '10.20.9.1', count=1)
    assert set(record) == KEYS
    assert before - timedelta(seconds=1) < datetime.fromisoformat(record['time'].replace('Z', '+00:00')) < datetime.now(timezone.utc)
    assert record['time'].endswith('Z') and len(record['time']) == len('2026-11-23T10:15:02.123456Z')
    expected = {'client': '10.20.9.1', 'device': None, 'profile': 'pupils', 'name': 'www.casino.com', 'type': 'HTTPS', 'category': 'gambling',
                'severity': 'caution', 'rule': 'casino.com', 'source': 'gambling', 'matched': 'www.casino.com', 'action': 'block',
                'generation': u.generation()}
    assert {key: record[key] for key in expected} == expected


def test_allowed_lookup_is_nowhere(u):
    u.ask('allowed-marker.many.com', client='10.20.9.2')
    u.ask('casino.com', client='10.30.9.2')
    u.ask('casino.com', client='10.20.9.3')
    u.log('--client', '10.20.9.3', count=1)
    assert u.log('--client', '10.20.9.2') == [] and u.log('--client', '10.30.9.2') == []
    kept = b''.join(path.read_bytes() for path in (u.folder / 'state').rglob('*') if path.is_file())
    assert b'allowed-marker' not in kept
    assert b'allowed-marker' not in u.log_file.read_bytes() and b'casino' not in u.log_file.read_bytes()


def test_profiles_that_log_less(u):
    u.ask('casino.com', client=UNNAMED)
    u.ask('casino.com', client=UNLOGGED)
    u.ask('illegal.net', client=UNLOGGED)
    [record] = u.log('--profile', 'unnamed', count=1)
    assert record['client'] is None and record['name'] == 'casino.com'
    assert [r['category'] for r in u.log('--profile', 'unlogged', count=1)] == ['illegal'], 'sealed is always logged'


@pytest.fixture(scope='module')
def filled(lab):
    """A log of its own with a known content: (client, name, how often)."""
    asked = [('10.20.1.1', 'casino.com', 3), ('10.20.1.2', 'www.casino.com', 2), ('10.20.2.1', 'games.org', 1), ('10.30.1.1', 'vpn.net', 2),
             ('10.99.1.1', 'poker.net', 1), (PUPIL6, 'casino.com', 1), ('10.20.1.1', 'drugs.org', 1), ('10.30.1.1', 'illegal.net', 1)]
    lists = {'gambling': ['casino.com', 'poker.net'], 'games': ['games.org'], 'illegal': ['illegal.net'], 'malware': ['vpn.net'], 'hate': ['drugs.org']}
    with usherd(lists=lists) as u:
        for client, name, times in asked:
            for _ in range(times):
                u.ask(name, client=client)
        u.log(count=12)
        yield u


@pytest.mark.parametrize('words, count', [
    ([], 12), (['--client', '10.20.1.1'], 4), (['--client', '10.20.1.0/24'], 6), (['--client', PUPIL6], 1), (['--client', '10.21.0.0/16'], 0),
    (['--profile', 'staff'], 3), (['--profile', 'guest'], 1), (['--category', 'gambling'], 7), (['--category', 'games'], 1),
    (['--severity', 'danger'], 2), (['--name', 'casino.com'], 6), (['--name', 'www.casino.com'], 2), (['--name', 'asino.com'], 0),
    (['--limit', '5'], 5), (['--since', '1h'], 12), (['--until', '1h'], 0), (['--since', '2000-01-01 00:00', '--until', '2000-01-02 00:00'], 0),
    (['--client', '10.20.1.1', '--category', 'gambling', '--name', 'casino.com'], 3),
])
def test_filters(filled, words, count):
    assert len(filled.log(*words)) == count


def test_newest_first(filled):
    times = [r['time'] for r in filled.log()]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize('by, top', [('category', ('gambling', 7)), ('client', ('10.20.1.1', 4)), ('name', ('casino.com', 4))])
def test_counts(filled, by, top):
    counts = filled.json('log', '--count-by', by)
    assert set(counts[0]) == {by, 'count'}
    assert (top in [(c[by], c['count']) for c in counts]) and sum(c['count'] for c in counts) == 12
    assert counts[0]['count'] == max(c['count'] for c in counts)


def test_count_by_hour(filled):
    assert sum(c['count'] for c in filled.json('log', '--count-by', 'hour')) == 12


def test_csv_has_a_header_and_all_rows(filled):
    rows = list(csv.DictReader(io.StringIO(filled.cli('log', '--csv').stdout)))
    assert len(rows) == 12 and set(rows[0]) == KEYS
    assert sorted(r['name'] for r in rows) == sorted(r['name'] for r in filled.log())


def test_table_for_people(filled):
    table = filled.cli('log', '--category', 'games').stdout
    assert 'games.org' in table and '10.20.2.1' in table


@pytest.mark.parametrize('words', [['--client', 'no-address'], ['--client', '10.0.0.0/99'], ['--severity', 'awful'], ['--since', 'sometime'],
                                   ['--limit', '-1'], ['--limit', 'x'], ['--count-by', 'colour'], ['--nonsense'], ['--client']])
def test_filter_that_makes_no_sense_is_said(filled, words):
    result = filled.cli('log', *words, expect=(1, 2))
    assert result.stderr.startswith('usher') and len(result.stderr.splitlines()) <= 3


def test_names_are_no_way_into_a_spreadsheet_or_terminal(u):
    client = '10.20.9.9'
    u.ask(r'=cmd\|calc.casino.com', client=client)
    u.ask(r'\027[31mred.casino.com', client=client)
    u.ask(r'a\"b\,c\010d.casino.com', client=client)
    u.log('--client', client, count=3)
    text = u.cli('log', '--client', client, '--csv').stdout
    assert '\x1b' not in text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 3 and not any(cell.startswith(('=', '+', '@')) for row in rows for cell in row.values())
    assert '\x1b' not in u.cli('log', '--client', client).stdout


def test_follow_shows_new_records_as_they_come(u):
    u.ask('casino.com', client='10.20.9.20')
    follower = subprocess.Popen([str(BUILD / 'usher'), '-c', str(u.file), 'log', '--follow', '--json', '--client', '10.20.9.21'],
                                stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    try:
        lines = []
        threading.Thread(target=lambda: lines.extend(iter(follower.stdout.readline, '')), daemon=True).start()
        time.sleep(0.7)
        u.ask('poker.net', client='10.20.9.21')
        u.ask('casino.com', client='10.20.9.22')
        assert eventually(lambda: lines, 1.5)
        u.ask('casino.com', client='10.20.9.21')
        assert eventually(lambda: len(lines) == 2, 1.5)
        assert [json.loads(line)['name'] for line in lines] == ['poker.net', 'casino.com']
    finally:
        follower.terminate()
        follower.wait(5)


def test_a_reader_that_stops_reading_holds_up_nobody(u):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(u.folder / 'run/log.sock'))
        s.send(b'GET /v1/log/follow HTTP/1.1\r\nHost: x\r\n\r\n')
        for i in range(300):
            assert u.ask(f'n{i}.casino.com', client='10.20.9.30').blocked
    assert u.ask('www.plain.com').addresses


class Flood(threading.Thread):
    """Asks blocked names as fast as answers come, from one client, and remembers each name that was answered."""

    def __init__(self, u, first, count):
        super().__init__(daemon=True)
        self.names = [f'n{i}.casino.com' for i in range(first, first + count)]
        self.client = f'10.20.{first // 250 % 250}.{first % 250 + 1}'
        self.answered = set()
        self.socket = u.datagrams(self.client)
        self.socket.settimeout(0.3)
        self.wire = dns.message.make_query('n.casino.com', 'A', use_edns=False).to_wire()

    def run(self):
        window = 16
        for start in range(0, len(self.names), window):
            batch = self.names[start:start + window]
            try:
                for i, name in enumerate(batch):
                    label = name.split('.')[0].encode()
                    self.socket.send(struct.pack('!H', start + i) + self.wire[2:12] + bytes([len(label)]) + label + self.wire[14:])
                for _ in batch:
                    reply = self.socket.recv(2048)
                    if reply[3] & 15 == 3:
                        self.answered.add(self.names[struct.unpack('!H', reply[:2])[0]])
            except OSError:
                return


def test_kill_in_the_middle_of_ten_thousand_blocked_lookups_loses_no_answered_one(lab):
    with usherd({'log': {'ring': '4MiB'}}, {'gambling': ['casino.com']}) as u:
        floods = [Flood(u, i * 2500, 2500) for i in range(4)]
        for flood in floods:
            flood.start()
        assert eventually(lambda: sum(len(f.answered) for f in floods) > 4000, 20, every_s=0.001)
        u.kill()
        for flood in floods:
            flood.join(5)
        answered = set().union(*(f.answered for f in floods))
        assert 4000 < len(answered) < 10000, 'killed too late to tell'
        u.start()
        logged = eventually(lambda: (lambda r: r if answered <= {x['name'] for x in r} else None)(u.log('--limit', 20000)), 2) or u.log('--limit', 20000)
        names = [record['name'] for record in logged if record['name'] != 'casino.com']
        assert answered - set(names) == set(), 'answered, but not in the log'
        assert len(names) == len(set(names)), 'in the log twice'
        u.restart()
        assert len([r for r in u.log('--limit', 20000) if r['name'] != 'casino.com']) == len(names)


def test_kill_again_and_again(lab):
    """Five short lives, each killed at another moment: the log holds every answered lookup once."""
    with usherd(lists={'gambling': ['casino.com']}) as u:
        answered = set()
        for life in range(5):
            flood = Flood(u, life * 2000, 2000)
            flood.start()
            eventually(lambda: len(flood.answered) > 300 * life + 100, 5, every_s=0.0005)
            u.kill()
            flood.join(5)
            answered |= flood.answered
            u.start()
        assert eventually(lambda: answered <= {r['name'] for r in u.log('--limit', 20000)}, 2)
        names = [r['name'] for r in u.log('--limit', 20000)]
        assert len(names) == len(set(names))


def test_full_ring_counts_what_it_loses_and_answers_go_on(lab):
    """The writer is held up by a stopped disk in the worst case; here the ring is just too small for the flood."""
    with usherd({'log': {'ring': '64KiB'}, 'workers': 1}, {'gambling': ['casino.com']}) as u:
        flood = Flood(u, 0, 10000)
        flood.start()
        flood.join(60)
        assert len(flood.answered) == 10000
        stats = eventually(lambda: (lambda s: s if s['log']['pending'] == 0 else None)(u.stats()), 3)
        assert stats['log']['events'] + stats['log']['lost'] == 10000
        assert not stats['log']['lost'] or eventually(lambda: u.stats()['faults']['log-lost'], 5)
        assert len(u.log('--limit', 20000)) == stats['log']['events']


def test_root_can_read_the_log_while_usherd_is_down_and_that_is_recorded(lab):
    with usherd(lists={'gambling': ['casino.com']}) as u:
        u.ask('casino.com')
        u.log(count=1)
        u.stop()
        before = ledger_size(u)
        assert [record['name'] for record in u.log()] == ['casino.com']
        assert ledger_size(u) > before


def test_reading_the_log_is_recorded(u):
    before = ledger_size(u)
    u.log('--client', '10.20.77.77')
    assert eventually(lambda: ledger_size(u) > before, 1)


def ledger_size(u):
    return sum(path.stat().st_size for path in (u.folder / 'state/ledger').rglob('*') if path.is_file())
