"""What other programs rely on: the keys that each command prints with --json, in their order, and the head of its CSV."""

import csv
import io
import json

import pytest

from usher import GUEST, PUPIL, STAFF, usherd

RECORD = 'time client device profile name type category severity rule source matched action generation mac confidence randomised identity'
EPISODE = 'client device profile severity category first last count names more watched bypass background mac confidence randomised identity'
SIGNAL = 'id rule kind sent severity profile client device category first last count clients text evidence more action mac confidence randomised identity'
SOURCE = ('name url format licence sha256 size etag last_modified signed fetched_at changed_at read taken duplicate covered shared shared_first '
          'skipped categories ignored missing left_out samples accepted held failed')
UPDATE = 'source state why has_good read taken duplicate covered shared skipped ignored missing left_out'
CASE = 'uid client profile name since until reason device case at rows macs addresses goes_on'
RULE = 'name exact action profile client until reason author uid added'

# words: keys of the first object that they print. What is asked first is there for what comes after.
JSON = {
    'lists status': 'generation sources categories sealed_unfed',
    'lists history': 'id published_at names size hash starter current pinned sources',
    'lists find www.casino.com': 'name listed category kind source url licence fetched_at',
    'lists coverage': 'row title categories names data sources licences fetched_at',
    'lists export': 'name at below exception',
    'lists diff 1 2': 'category added removed',
    'lists diff 1 2 --names': 'name category change',
    'lists diff 1 2 --used': 'change name profiles category source asked logged protected',
    'lists update': UPDATE,
    'lists update --force': UPDATE,
    'lists update --preview': UPDATE,
    'lists rollback': 'generation before pinned',
    'lists update --resume': UPDATE,
    'check casino.com': 'name type profile verdict category rule source target watch reason steps',
    'allow fine.org --reason r': 'rule replaced note',
    'block bad.org --for 1h --reason r': 'rule replaced note',
    'rules list': RULE,
    'rules remove bad.org --reason r': 'removed',
    'log': RECORD,
    'log --count-by client': 'client count',
    'log --count-by device': 'device count',
    'log --count-by category': 'category count',
    'log --count-by name': 'name count',
    'log --count-by severity': 'severity count',
    'log --count-by hour': 'hour count',
    'log --ids yes': 'id ' + RECORD,
    'episodes': EPISODE,
    'signals': SIGNAL,
    'alert list': 'id time channel to rules alerts state attempts next why',
    'alert test': 'channel to sent why',
    'report daily': EPISODE,
    'report weekly': EPISODE,
    'report staff': EPISODE,
    'report term --since 7d': 'category risk severity lookups devices',
    f'report subject-access --client {PUPIL}': RECORD,
    'selftest': 'time generation hash passed failed engines notes cases',
    'retention --verify': 'class profile keep_s files rows oldest verdict',
    f'case hold --client {PUPIL} --since 1d --name casino.com --reason r': CASE,
    'case list': CASE,
    'case release 1 --reason r': 'case reason',
    f'forget --client {GUEST} --reason r': 'rows finished reports reports_left shipped',
    'ledger': 'seq time uid user what why until detail hash',
    'ledger --reads': 'seq time uid user what why until detail hash',
    'ledger --verify': 'verified entries why',
    'status': 'version pid uptime_s config parts libraries',
    'reload': 'reloaded note',
    'flush casino.com': 'flushed',
    'stats': ('version uptime_s generation queries answers blocked rewritten profiles cache log latency_us upstream recursion overload tcp sources '
              'alerts recursor_restarts other faults bypass selftest'),
}

# The head of the CSV, where it is not the same.
CSV = {
    'lists status': SOURCE,
    'lists update': UPDATE,
    'lists update --preview': 'change name profiles category source asked logged protected',
    'check casino.com': 'name type profile verdict category rule source target watch reason',
    'rules list': 'action name exact profile client until author reason added',
    'log --ids yes': RECORD,
    'report daily': 'first last client device profile severity category count background bypass names',
    f'report subject-access --client {PUPIL}': 'time client device profile name type category severity matched action',
    'report term --since 7d': 'category severity lookups devices risk',
    'selftest': 'profile client name subject want passed found',
    'case list': 'case at uid client profile name since until rows reason device goes_on addresses',
    'log --count-by hour': 'hour count',
    'status': 'part state text',
    'stats': 'section key value',
}
# What has no rows, or those of another one, or says what it did in words.
NO_CSV = ['lists update', 'lists rollback', 'allow', 'block', 'rules remove', 'log --count-by', 'report weekly', 'report staff', 'case hold',
          'case release', 'forget', 'ledger --verify', 'reload', 'flush']


@pytest.fixture(scope='module')
def u(lab):
    lists = {'gambling': ['casino.com', 'bet.com'], 'self-harm': ['cut.org'], 'illegal': ['illegal.net'], 'adult': ['sex.com']}
    with usherd({'alerts': {'mail-to': ['dsl@school.example'], 'sendmail': '/bin/true'}}, lists) as u:
        for client, name in (PUPIL, 'casino.com'), (PUPIL, 'cut.org'), (STAFF, 'sex.com'), (GUEST, 'casino.com'), (GUEST, 'bet.com'):
            u.ask(name, client=client)
        u.log(count=5)
        u.source('gambling', ['casino.com', 'bingo.com'])
        u.cli('lists', 'update')
        yield u


def test_json_has_these_keys_in_this_order(u):
    for words, keys in JSON.items():
        lines = u.cli(*words.split(), '--json').stdout.splitlines()
        assert lines, words
        rows = [json.loads(line) for line in lines]
        assert list(rows[0]) == keys.split(), words
        assert [json.dumps(row, separators=(',', ':'), ensure_ascii=False) for row in rows] == lines, f'{words}: compact'
        if len(words.split()) == 1 or words.split()[0] in ('log', 'report', 'ledger', 'retention'):
            assert all(list(row) == keys.split() for row in rows), f'{words}: every key in every line'


def test_csv_has_a_head_of_these_columns_and_no_line_that_is_none(u):
    for words, keys in {**JSON, **CSV}.items():
        if words not in CSV and any(words.startswith(verb) for verb in NO_CSV):
            continue
        rows = list(csv.reader(io.StringIO(u.cli(*words.split(), '--csv', expect=None).stdout)))
        assert rows, words
        assert rows[0] == keys.split(), words
        assert {len(row) for row in rows} == {len(rows[0])}, words


def test_nested_objects_have_these_keys(u):
    status = u.json('lists', 'status')[0]
    assert list(status['generation']) == 'id names published_at age_s size hash starter pinned'.split()
    assert all(list(source) == SOURCE.split() for source in status['sources'])
    assert status['sources'][0]['licence'] is None and status['sources'][0]['held'] is None, 'null where it is not known'
    assert list(u.json('allow', 'fine.org', '--reason', 'r')[0]['rule']) == RULE.split()
    last = u.json('lists', 'update')[-1]
    assert list(last) == 'published preview pinned generation names held failed newly_blocked newly_unblocked sealed_unfed'.split()
    assert all(list(part) == ['part', 'state', 'text'] for part in u.json('status')[0]['parts'])
    assert all(set(step) == {'step', 'decided', 'text'} for step in u.check('casino.com')['steps'])


# Of each key of /v1/stats that DESIGN.md names, and of which kind it is.
STATS = {
    'version': str, 'uptime_s': int, 'generation.id': int, 'generation.names': int, 'generation.age_s': int, 'generation.hash': str,
    'queries.udp': int, 'queries.tcp': int, 'cache.entries': int, 'cache.bytes': int, 'cache.hits': int, 'cache.misses': int,
    'log.events': int, 'log.pending': int, 'log.lost': int, 'latency_us.le': list, 'latency_us.count': list,
    'upstream.queries': int, 'upstream.timeouts': int, 'upstream.latency_us': int, 'profiles.guest.queries': int, 'profiles.guest.blocked': int,
    'blocked.gambling': int, 'rewritten.google': int,
    **{f'answers.{kind}': int for kind in ('resolved', 'cached', 'stale', 'blocked', 'rewritten', 'local', 'refused', 'servfail', 'formerr', 'limited')},
}


def test_statistics_are_numbers_and_texts_where_they_should_be(u):
    stats = u.stats()
    for path, kind in STATS.items():
        value = stats
        for key in path.split('.'):
            value = value[key]
        assert type(value) is kind, path


# socket, method, path, body: status.
ROUTES = [
    ('stats.sock', 'GET', '/v1/stats', None, 200), ('stats.sock', 'GET', '/metrics', None, 200), ('stats.sock', 'POST', '/v1/stats', '{}', 405),
    ('stats.sock', 'GET', '/v1/log', None, 404), ('control.sock', 'GET', '/v1/status', None, 200), ('control.sock', 'POST', '/v1/status', '{}', 405),
    ('control.sock', 'POST', '/v1/reload', '', 200), ('control.sock', 'GET', '/v1/reload', None, 405),
    ('control.sock', 'POST', '/v1/flush', '{"name":"casino.com"}', 200), ('control.sock', 'POST', '/v1/flush', '{}', 400),
    ('control.sock', 'POST', '/v1/flush', '{"name":"a..b"}', 400), ('control.sock', 'GET', '/v1/rules', None, 200),
    ('control.sock', 'POST', '/v1/rules', '{"name":"x.org","action":"block","reason":"r"}', 200), ('control.sock', 'POST', '/v1/rules', '{"name":"x.org"}', 400),
    ('control.sock', 'POST', '/v1/rules', 'nonsense', 400), ('control.sock', 'DELETE', '/v1/rules?name=x.org&reason=r', None, 200),
    ('control.sock', 'PUT', '/v1/rules', '{}', 405), ('log.sock', 'GET', '/v1/log?client=10.20.0.5&since=1h', None, 200),
    ('log.sock', 'GET', '/v1/log?since=someday', None, 400), ('log.sock', 'GET', '/v1/log?nonsense=1', None, 400), ('log.sock', 'POST', '/v1/log', '{}', 405),
    ('log.sock', 'GET', '/v1/episodes', None, 200), ('log.sock', 'GET', '/v1/signals', None, 200), ('log.sock', 'GET', '/v1/stats', None, 404),
]


def test_routes_answer_with_these_statuses_and_a_sentence_where_something_is_wrong(u):
    for sock, method, path, body, status in ROUTES:
        got, reply, _ = u.http(sock, path, method, body)
        assert got == status, (sock, method, path, reply)
        assert status == 200 or json.loads(reply)['error'], (sock, method, path)


def test_a_case_that_is_none_is_not_released_in_the_ledger_either(u):
    assert 'there is no case 99' in u.cli('case', 'release', '99', '--reason', 'r', expect=1).stderr
    assert not [e for e in u.json('ledger') if e['what'] == 'case.release' and e['detail']['case'] == 99]
