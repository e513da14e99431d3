"""Issue point 3: the school's own rules, from the command line, live at once; and what becomes of them when something goes wrong."""

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from usher import GUEST, PUPIL, STAFF, eventually, profile, usherd

ROOM = '10.20.3.0/24'
IN_ROOM = '10.20.3.7'
WHY = ('--reason', 'maths lesson')


@pytest.fixture(scope='module')
def u(lab):
    config = {
        'protected-names': ['childline.org.uk'],
        'internal-zones': [{'zone': 'ad.school.example', 'servers': ['127.0.0.1@5301']}],
        'profiles': [profile('pupils', block_names=['www.poker.net']), profile('staff'), profile('guest'),
                     profile('office', networks=['10.77.1.0/24'], block=[])],
    }
    lists = {'gambling': ['casino.com', 'poker.net'], 'hate': ['hate.org'], 'illegal': ['illegal.net']}
    with usherd(config, lists) as u:
        yield u


@pytest.fixture(autouse=True)
def no_rules(request):
    yield
    if 'u' in request.fixturenames:
        u = request.getfixturevalue('u')
        for rule in {r['name']: r for r in u.json('rules', 'list')}.values():
            u.cli('rules', 'remove', rule['name'], '--reason', 'the test is over')


def refused(u, *words, expect=1):
    result = u.cli(*words, expect=expect)
    assert result.stdout == ''
    return result.stderr


def test_block_and_allow_are_live_when_the_command_ends(u):
    assert u.ask('www.plain.com').addresses == ['192.0.2.1']
    u.cli('block', 'plain.com', *WHY)
    for client in (PUPIL, STAFF, GUEST):
        assert u.ask('www.plain.com', client=client).ede == 15
    assert u.ask('casino.com').ede == 15
    u.cli('allow', 'casino.com', '--profile', 'pupils', *WHY)
    assert not u.ask('casino.com').blocked
    assert u.ask('casino.com', client=GUEST).ede == 15
    u.cli('rules', 'remove', 'plain.com', *WHY)
    assert u.ask('www.plain.com').addresses == ['192.0.2.1']


def test_the_log_names_the_rule_and_who_made_it_is_listed(u):
    u.cli('block', 'plain.com', '--reason', 'ünderstood by all, "quoted"')
    u.ask('www.plain.com')
    record = u.log('--name', 'plain.com', '--limit', 1, count=1)[0]
    assert (record['matched'], record['rule'], record['source'], record['category']) == ('www.plain.com', 'plain.com', 'rules', None)
    by_category = 'log', '--name', 'plain.com', '--count-by', 'category'
    [counted] = u.json(*by_category)
    assert counted['category'] is None
    assert f'no category {counted["count"]}' in ' '.join(u.cli(*by_category).stdout.split())
    assert u.cli(*by_category, '--csv').stdout.splitlines()[1] == f',{counted["count"]}'
    rule, = u.json('rules', 'list')
    assert rule.pop('added') and rule.pop('author')
    assert rule == {'name': 'plain.com', 'exact': False, 'action': 'block', 'profile': None, 'client': None, 'until': None,
                    'reason': 'ünderstood by all, "quoted"', 'uid': 0}
    assert 'plain.com' in u.cli('rules', 'list').stdout
    assert u.cli('rules', 'list', '--csv').stdout.splitlines()[0].startswith('action,name,')


def test_check_sees_the_rules_and_says_why(u):
    u.cli('allow', 'casino.com', '--client', ROOM, '--for', '40m', *WHY)
    said = u.check('www.casino.com', '--client', IN_ROOM)
    assert (said['verdict'], said['rule'], said['source']) == ('resolve', 'casino.com', 'rules')
    assert 'maths lesson' in said['reason']
    assert u.check('www.casino.com', '--client', PUPIL)['verdict'] == 'block'
    assert u.check('www.casino.com', '--client', IN_ROOM, '--at', '41m')['verdict'] == 'block'


def test_a_grant_for_a_room_is_for_that_room_alone(u):
    u.cli('allow', 'casino.com', '--client', ROOM, '--for', '40m', *WHY)
    assert not u.ask('casino.com', client=IN_ROOM).blocked
    assert u.ask('casino.com', client=PUPIL).ede == 15
    # one device of it is closer than the room
    u.cli('block', 'casino.com', '--client', IN_ROOM, *WHY)
    assert u.ask('casino.com', client=IN_ROOM).ede == 15
    assert not u.ask('casino.com', client='10.20.3.8').blocked
    # and a longer name is closer than any client
    u.cli('block', 'www.casino.com', '--exact', *WHY)
    assert u.ask('www.casino.com', client='10.20.3.8').ede == 15
    assert not u.ask('a.www.casino.com', client='10.20.3.8').blocked


def test_a_grant_ends_to_the_second_and_no_ttl_outlives_it(u):
    u.cli('block', 'plain.com', *WHY)
    u.cli('allow', 'plain.com', '--for', '2s', *WHY)
    end = time.time() + 2
    first = u.ask('www.plain.com')
    assert first.addresses == ['192.0.2.1']
    blocked_at = eventually(lambda: u.ask('www.plain.com').blocked and time.time(), 3)
    assert end - 1.1 <= blocked_at <= end + 0.2
    assert [r['action'] for r in u.json('rules', 'list')] == ['block']


def test_one_place_has_one_rule(u):
    u.cli('block', 'plain.com', *WHY)
    replaced = u.json('allow', 'plain.com', *WHY)[0]['replaced']
    assert replaced['action'] == 'block'
    assert [(r['name'], r['action']) for r in u.json('rules', 'list')] == [('plain.com', 'allow')]
    u.cli('block', 'plain.com', '--profile', 'staff', *WHY)
    u.cli('block', 'plain.com', '--client', ROOM, *WHY)
    assert len(u.json('rules', 'list')) == 3
    removed = u.json('rules', 'remove', 'plain.com', '--profile', 'staff', *WHY)[0]['removed']
    assert [r['profile'] for r in removed] == ['staff']
    assert len(u.json('rules', 'remove', 'PLAIN.com.', *WHY)[0]['removed']) == 2


@pytest.mark.parametrize('words, sentence', [
    (('block', 'plain.com'), 'reason'),
    (('block', 'plain.com', '--reason', ' '), 'reason'),
    (('block', 'a..b', *WHY), "'a..b' is no domain name"),
    (('block', 'https://plain.com/page', *WHY), 'the name in it'),
    (('block', '192.0.2.1', *WHY), 'is an address'),
    (('block', '*.plain.com', *WHY), 'write plain.com'),
    (('block', 'plain.com', '--profile', 'pupil', *WHY), "no profile 'pupil'"),
    (('block', 'plain.com', '--client', '10.20.3.0/33', *WHY), "'10.20.3.0/33' is no network"),
    (('block', 'plain.com', '--client', '::/0', *WHY), 'every client'),
    (('block', 'plain.com', '--client', '203.0.113.5', *WHY), 'no network of `serve`'),
    (('block', 'com', *WHY), 'whole registry'),
    (('allow', 'co.uk', *WHY), 'whole registry'),
    (('block', '.', *WHY), 'default: block'),
    (('block', 'childline.org.uk', *WHY), 'protected'),
    (('block', 'pc.ad.school.example', *WHY), 'internal'),
    (('allow', 'use-application-dns.net', *WHY), 'go around'),
    (('allow', 'illegal.net', *WHY), 'sealed category illegal'),
    (('allow', 'x.illegal.net', '--for', '1h', *WHY), 'sealed'),
    (('allow', 'hate.org', '--for', '1h', '--profile', 'pupils', *WHY), 'severity danger'),
    (('allow', 'casino.com', '--for', '1h', '--profile', 'guest', *WHY), 'guests'),
    (('rules', 'remove', 'nothing.example', *WHY), 'no such rule'),
    (('rules', 'remove', 'www.poker.net', *WHY), 'block-names of pupils'),
])
def test_what_cannot_be_is_refused_with_a_sentence(u, words, sentence):
    assert sentence in refused(u, *words, expect=(1, 2))
    assert u.json('rules', 'list') == []


@pytest.mark.parametrize('words', [('allow',), ('block', 'a.com', 'b.com', *WHY), ('block', 'a.com', '--for', 'soon', *WHY), ('rules',),
                                   ('rules', 'add'), ('rules', 'list', 'x'), ('block', 'a.com', '--for', '0s', *WHY)])
def test_wrong_usage_is_told(u, words):
    assert 'usher help' in refused(u, *words, expect=2)


def test_where_a_rule_has_no_effect_is_told(u):
    note = u.json('allow', 'hate.org', '--for', '1h', *WHY)[0]['note']
    assert 'no effect for pupils, guest' in note and 'danger' in note
    assert u.ask('hate.org').ede == 15
    # for good it is the school's own word
    u.cli('allow', 'hate.org', *WHY)
    assert not u.ask('hate.org').blocked


def test_a_rule_behind_another_one_is_told_of(u):
    u.cli('block', 'plain.com', '--for', '1h', *WHY)
    note = u.json('allow', 'plain.com', '--profile', 'pupils', *WHY)[0]['note']
    assert note == ''
    note = u.json('allow', 'plain.com', *WHY)[0]['note']
    assert 'another rule for this name goes before it' in note
    note = u.json('allow', 'www.poker.net', '--profile', 'pupils', *WHY)[0]['note']
    assert 'goes before it, for pupils' in note and u.ask('www.poker.net').ede == 15


def test_the_socket_refuses_what_is_no_rule(u):
    for body in ('', '[]', '{', '{"name":"a.com"}', '{"name":"a.com","action":"shout","reason":"x"}', '{"name":7,"action":"block","reason":"x"}',
                 '{"name":"a.com","action":"block","reason":"x","for_s":"1h"}', '{"name":"a.com","action":"block","reason":"x","for_s":-1}',
                 '{"name":"a.com","action":"block","reason":"two\\nlines"}', '{"name":"a.com","action":"block","reason":"x","forever":true}',
                 '{"name":"a.com","action":"block","reason":"x","exact":1}', json.dumps({'name': 'a.com', 'action': 'block', 'reason': 'x' * 501})):
        status, reply, _ = u.http('control.sock', '/v1/rules', 'POST', body)
        assert status == 400 and json.loads(reply)['error'], body
    for query in ('', '?name=a.com', '?name=a.com&reason=x&who=me', '?reason=x'):
        assert u.http('control.sock', f'/v1/rules{query}', 'DELETE')[0] == 400
    assert json.loads(u.http('control.sock', '/v1/rules')[1])['rules'] == []


def test_many_rules_at_once_are_all_kept(u):
    names = [f'n{i}.many.example' for i in range(16)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: u.cli('block', name, *WHY), names))
    assert sorted(r['name'] for r in u.json('rules', 'list')) == sorted(names)


# ---- life and death ----


def test_rules_outlive_kill_and_damage_is_told(lab):
    """Killed while rules are made, usherd has every one it acknowledged; a damaged file is refused by name and the revision before serves."""
    with usherd(lists={'gambling': ['casino.com']}) as u:
        acknowledged = []

        def make(number):
            if u.cli('block', f'n{number}.example', *WHY, expect=None).returncode == 0:
                acknowledged.append(f'n{number}.example')

        with ThreadPoolExecutor(2) as pool:
            tasks = [pool.submit(make, number) for number in range(24)]
            eventually(lambda: len(acknowledged) > 5, 5)
            u.kill()
            for task in tasks:
                task.result()
        assert 5 < len(acknowledged) < 24
        assert 'usherd does not run' in u.cli('block', 'late.example', *WHY, expect=1).stderr
        u.start()
        rules = {r['name'] for r in u.json('rules', 'list')}
        assert set(acknowledged) <= rules and len(rules) <= len(acknowledged) + 2
        made = [e for e in u.ledger() if e['what'] == 'rules.block']
        assert sorted(e['detail']['name'] for e in made) == sorted(rules)
        for name in acknowledged:
            assert u.ask(name).ede == 15
        last = max(made, key=lambda e: e['detail']['revision'])['detail']['name']

        u.stop()
        store = u.folder / 'state/rules/rules'
        store.write_bytes(store.read_bytes().replace(b'lesson', b'lessen', 1))
        assert 'damaged' in u.cli('check', last).stderr
        u.start()
        part = next(p for p in u.json('status')[0]['parts'] if p['part'] == 'rules')
        assert part['state'] == 'warning' and 'damaged' in part['text'] and 'rules.damaged' in part['text'] and u.stats()['faults']['rules'] == 1
        assert {r['name'] for r in u.json('rules', 'list')} == rules - {last}
        assert u.ask(next(iter(rules - {last}))).ede == 15
        u.cli('block', last, *WHY)
        assert u.ask(last).ede == 15
        u.restart()
        assert next(p for p in u.json('status')[0]['parts'] if p['part'] == 'rules')['state'] == 'warning'
        (u.folder / 'state/rules/rules.damaged').unlink()
        assert next(p for p in u.json('status')[0]['parts'] if p['part'] == 'rules')['state'] == 'ok'

        u.stop()
        store.unlink()
        u.start()
        part = next(p for p in u.json('status')[0]['parts'] if p['part'] == 'rules')
        assert part['state'] == 'warning' and 'is gone' in part['text'] and u.json('rules', 'list')
        u.cli('rules', 'remove', acknowledged[0], *WHY)
        assert next(p for p in u.json('status')[0]['parts'] if p['part'] == 'rules')['state'] == 'ok'


def test_a_rule_without_a_ledger_is_not_made(lab):
    with usherd(lists={'gambling': ['casino.com']}) as u:
        u.cli('block', 'before.example', *WHY)
        file = u.folder / 'state/ledger/ledger.jsonl'
        file.write_bytes(file.read_bytes().replace(b'maths', b'meths'))
        assert 'nothing has changed' in u.cli('block', 'plain.com', *WHY, expect=1).stderr
        assert [r['name'] for r in u.json('rules', 'list')] == ['before.example']
        assert u.ask('www.plain.com').addresses == ['192.0.2.1']
        u.restart()
        assert [r['name'] for r in u.json('rules', 'list')] == ['before.example']


def test_rules_of_a_profile_that_is_no_more_rest(lab):
    with usherd(lists={'gambling': ['casino.com']}) as u:
        u.cli('block', 'plain.com', '--profile', 'staff', *WHY)
        everything = u.config['profiles']
        u.configure({'profiles': [p for p in everything if p['name'] != 'staff']})
        u.reload()
        part = next(p for p in u.json('status')[0]['parts'] if p['part'] == 'rules')
        assert part['state'] == 'warning' and '1 of them name a profile' in part['text']
        assert not u.ask('www.plain.com', client=STAFF).blocked
        u.configure({'profiles': everything})
        u.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: u.ask('www.plain.com', client=STAFF).blocked, 2)


def test_a_change_costs_no_query(lab):
    """Cached answers go on being served while rules come and go."""
    names = ['www.plain.com', 'mail.plain.com', 'multi.plain.com']
    with usherd(lists={'gambling': ['casino.com']}) as u:
        for name in names:
            u.ask(name)
        before = u.stats()['cache']['misses']
        with u.load(names, (PUPIL, STAFF), rate=600) as load:
            for number in range(10):
                u.cli('block', f'n{number}.example', *WHY)
        assert load.lost == 0 and load.answered > 100
        assert all(len(load.got(name)) == 1 for name in names)
        assert u.stats()['cache']['misses'] == before
