"""Issue 5 point 9: anybody can ask usher itself, from any device, why a name is blocked and what is logged."""

import pytest

from usher import GUEST, PUPIL, PUPIL6, STAFF, STRANGER, usherd


@pytest.fixture(scope='module')
def u(lab):
    config = {'workers': 1,
              'internal-zones': [{'zone': 'ad.school.example', 'servers': ['127.0.53.10']}]}
    with usherd(config, {'gambling': ['casino.com', 'usher', 'filter.usher'], 'games': ['games.org'], 'illegal': ['illegal.net']}) as u:
        yield u


def told(u, name, client=PUPIL, **more):
    """The strings of the answer: the sentence, and the rest as a dictionary."""
    a = u.ask(name, 'TXT', client, **more)
    [record] = a.records('TXT')
    strings = [s.decode() for s in record.strings]
    return strings[0], dict(s.split('=', 1) for s in strings[1:] if '=' in s)


def test_why_tells_each_client_its_own_verdict(u):
    for name in 'why.casino.com.filter.usher', 'casino.com.why.filter.usher', 'WHY.Casino.COM.filter.Usher':
        sentence, why = told(u, name)
        assert sentence.startswith('casino.com is blocked for pupils: ')
        assert (why['verdict'], why['category'], why['profile']) == ('block', 'gambling', 'pupils')
        assert 'gambling: blocked for pupils' in why['reason']
        assert why['reference'].endswith(f'Z/{PUPIL}')
    assert told(u, 'why.casino.com.filter.usher', STAFF)[1]['verdict'] == 'resolve'
    why = told(u, 'why.games.org.filter.usher', GUEST)[1]
    assert (why['verdict'], why['profile']) == ('resolve', 'guest')
    assert told(u, 'why.www.google.com.filter.usher')[1]['verdict'] == 'rewrite'
    assert told(u, 'why.illegal.net.filter.usher', STAFF)[1]['category'] == 'illegal'
    assert told(u, 'why.files.ad.school.example.filter.usher')[1]['verdict'] == 'resolve'
    assert told(u, 'why.files.ad.school.example.filter.usher', GUEST)[1]['verdict'] == 'local'


def test_why_agrees_with_the_answer_and_with_check(u):
    for client in GUEST, PUPIL6:
        for name in 'casino.com', 'illegal.net', 'www.plain.com', 'www.youtube.com':
            why = told(u, f'why.{name}.filter.usher', client)[1]
            assert why['verdict'] == u.check(name, '--client', client)['verdict']
            assert (why['verdict'] == 'block') == u.ask(name, client=client).blocked


def test_me_tells_the_profile_and_what_is_logged(u):
    sentence, me = told(u, 'me.filter.usher', GUEST)
    assert sentence == 'This device has the profile guest'
    assert me == {'profile': 'guest', 'client': GUEST, 'log': 'full', 'keep': '30d'}
    assert told(u, 'me.filter.usher', tcp=True)[1]['keep'] == '90d'
    assert 'why.NAME.filter.usher' in told(u, 'filter.usher')[0]


def test_tree_is_ours_alone_and_leaves_no_trace(lab, u):
    """Never upstream, never logged, whatever a list says of it; every other type and name is negative, with TTL 0."""
    with lab.watched() as watch:
        before = u.stats()['log']['events']
        for name in 'why.casino.com.filter.usher', 'why.illegal.net.filter.usher', 'me.filter.usher':
            a = u.ask(name, 'TXT')
            assert a.rcode == 'NOERROR' and a.ttl == 0 and not a.tc
            for type in 'A', 'AAAA', 'HTTPS', 'SOA', 'TYPE65280':
                a = u.ask(name, type)
                assert (a.rcode, a.types, a.soa) == ('NOERROR', [], (0, 0))
        for name in 'usher', 'why.filter.usher':
            assert (u.ask(name, 'TXT').rcode, u.ask(name, 'TXT').types) == ('NOERROR', [])
        for name in 'x.filter.usher', 'other.usher', 'casino.com.filter.usher', 'x.me.filter.usher':
            assert u.ask(name, 'TXT').rcode == 'NXDOMAIN'
        assert u.ask('me.filter.usher', 'TXT', STRANGER).rcode == 'REFUSED'
        assert u.ask('me.filter.usher', 'TXT', rd=False).rcode == 'REFUSED'
        assert u.ask('me.filter.usher', 'ANY').types == ['HINFO']
    assert not watch.names('usher')
    assert u.stats()['log']['events'] == before


def test_long_names_are_told_whole(u):
    name = '.'.join(['a' * 60] * 3 + ['b' * 30, 'casino.com'])
    sentence, why = told(u, f'why.{name}.filter.usher')
    assert why['verdict'] == 'block'
    [record] = u.ask(f'why.{name}.filter.usher', 'TXT', tcp=True).records('TXT')
    assert all(len(s) <= 255 for s in record.strings) and name in b''.join(record.strings).decode()


def test_school_may_choose_the_zone(lab):
    with usherd({'workers': 1, 'dns': {'why-zone': 'school.example'}}, {'gambling': ['casino.com']}) as u:
        assert told(u, 'why.casino.com.filter.school.example')[1]['category'] == 'gambling'
        assert u.ask('www.school.example').addresses == ['198.51.100.200'], 'the rest of the zone is the world\'s'
        assert u.check('me.filter.school.example')['verdict'] == 'local'
