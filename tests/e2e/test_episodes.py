"""Issue 6, points 4 and 5: a burst of lookups is one event, danger is never hidden in it, and what somebody should know is told with its evidence."""

import csv
import io
import json

import pytest

from usher import usherd

LISTS = {'gambling': ['casino.com', 'poker.net'], 'games': ['games.org', 'mirror.org'], 'bypass': ['proxy.com', 'topvpn.net', 'dns.google'],
         'self-harm': ['harm.org'], 'malware': ['bad.net'], 'ads': ['ad.net']}
BLOCK = list(LISTS)
KEYS = {'client', 'device', 'profile', 'severity', 'category', 'first', 'last', 'count', 'names', 'more', 'watched', 'bypass', 'background',
        'mac', 'confidence', 'randomised', 'identity'}


@pytest.fixture(scope='module')
def u(lab):
    config = {'profiles': [{'name': name, 'networks': [network], 'block': BLOCK, 'rate-limit': 0}
                           for name, network in (('pupils', '10.20.0.0/16'), ('staff', '10.30.0.0/16'))]}
    with usherd(config, LISTS) as u:
        asked = 0
        for name in ('www.casino.com', 'cdn.casino.com', 'poker.net'):
            for type in ('A', 'AAAA', 'HTTPS') * 4:
                u.ask(name, type, '10.20.1.1')
                u.ask('x.ad.net', type, '10.20.1.1')
                asked += 2
        u.ask('www.harm.org', client='10.20.1.1')
        for name in ('games.org', 'mirror.org', 'www.proxy.com', 'topvpn.net', 'dns.google'):
            u.ask(name, client='10.20.1.2')
        u.ask('harm.org', client='10.30.1.3')
        asked += 7
        u.log(count=asked)
        yield u


def test_a_burst_is_one_episode_and_danger_stands_by_itself(u):
    episodes = u.json('episodes', '--client', '10.20.1.1')
    assert all(set(e) == KEYS for e in episodes)
    danger, burst, trackers = episodes
    assert (danger['severity'], danger['names'], danger['count']) == ('danger', ['www.harm.org'], 1)
    assert (burst['category'], burst['count'], burst['background']) == ('gambling', 36, False)
    assert burst['names'] == ['www.casino.com', 'poker.net', 'cdn.casino.com'] and burst['first'] < burst['last']
    assert (trackers['category'], trackers['count'], trackers['background']) == ('ads', 36, True)


def test_ways_around_a_block_are_one_episode_with_it(u):
    chase = u.json('episodes', '--client', '10.20.1.2')[0]
    assert chase['bypass'] and chase['category'] == 'games' and chase['severity'] == 'caution'
    assert chase['names'] == ['games.org', 'mirror.org', 'www.proxy.com', 'topvpn.net']


@pytest.mark.parametrize('words, count', [([], 6), (['--severity', 'danger'], 2), (['--profile', 'staff'], 1), (['--name', 'harm.org'], 2),
                                          (['--until', '1h'], 0), (['--limit', '1'], 1), (['--device', 'nobodys-ipad'], 0), (['--category', 'ads', '--since', '1h'], 1)])
def test_filters_are_those_of_the_log(u, words, count):
    assert len(u.json('episodes', *words)) == count


def test_the_screen_tells_signals_then_danger_then_the_rest(u):
    lines = u.cli('episodes', '--since', '1h').stdout.splitlines()
    text = '\n'.join(lines)
    assert len(lines) < 24 and 'chase' in text and 'x.ad.net' not in text and 'set apart: 2' in text
    at = {word: next(i for i, line in enumerate(lines) if word in line) for word in ('signal ', 'severity ', 'danger  ', 'caution ')}
    assert at['signal '] < at['severity '] < at['caution ']
    assert lines[at['severity '] + 1].startswith('danger') and 'harm.org' in lines[at['severity '] + 1]


def test_what_was_only_watched_is_not_shown_as_blocked(lab):
    config = {'profiles': [{'name': 'pupils', 'networks': ['10.20.0.0/16'], 'block': [], 'watch': ['self-harm'], 'rate-limit': 0}]}
    with usherd(config, {'self-harm': ['plain.com']}) as u:
        assert u.ask('www.plain.com').addresses
        u.log(count=1)
        assert 'self-harm, let through' in u.cli('episodes').stdout and ', let through' in u.cli('report', 'daily').stdout
        assert 'Seen and let through' in u.cli('report', 'daily', '--format', 'cpoms').stdout


def test_csv_has_a_header_and_every_episode(u):
    rows = list(csv.DictReader(io.StringIO(u.cli('episodes', '--csv').stdout)))
    assert len(rows) == 6 and set(rows[0]) == KEYS and 'www.casino.com poker.net cdn.casino.com' in [r['names'] for r in rows]
    rows = list(csv.DictReader(io.StringIO(u.cli('signals', '--csv').stdout)))
    assert {r['rule'] for r in rows} == {'danger', 'chase'}


def test_signals_name_their_evidence_and_are_the_same_when_replayed(u):
    signals = u.json('signals', '--since', '30d', '--dry-run')
    assert [(s['rule'], s['client']) for s in signals] == [('danger', '10.30.1.3'), ('chase', '10.20.1.2'), ('danger', '10.20.1.1')]
    chase = signals[1]
    assert [(e['step'], e['name']) for e in chase['evidence']] == \
        [('block', 'games.org'), ('mirror', 'mirror.org'), ('proxy', 'www.proxy.com'), ('vpn', 'topvpn.net')]
    assert signals == u.json('signals')
    assert u.json('signals', '--since', '0s') == []
    u.stop()
    try:
        assert signals == u.json('signals') and len(u.json('episodes')) == 6, 'root reads the store itself'
    finally:
        u.start()


def test_reading_events_is_recorded(u):
    u.json('episodes', '--client', '10.20.77.77')
    ledger = (u.folder / 'state/ledger/ledger.jsonl').read_text().splitlines()
    assert [(e['what'], e['detail']) for e in map(json.loads, ledger[-1:])] == [('log.episodes', {'client': '10.20.77.77'})]


@pytest.mark.parametrize('path, sentence', [('/v1/episodes?count-by=name', 'count-by'), ('/v1/episodes?clients=1', 'clients'),
                                            ('/v1/signals?since=sometime', 'since'), ('/v1/episodes?limit=0', 'limit')])
def test_a_question_that_makes_no_sense_is_refused(u, path, sentence):
    status, body, _ = u.http('log.sock', path)
    assert status == 400 and sentence in body


@pytest.mark.parametrize('words', [['--follow'], ['--count-by', 'client'], ['now']])
def test_options_of_the_log_that_events_do_not_have_are_said(u, words):
    assert u.cli('episodes', *words, expect=2).stderr.startswith('usher')
