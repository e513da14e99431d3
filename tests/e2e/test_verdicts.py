"""Issue point 6: what is blocked, for whom it is not, and what a blocked client is told."""

import json
import subprocess

import dns.name
import pytest

from usher import ENVIRONMENT, GUEST, PUPIL, STAFF, SCHOOL, profile, usherd

EVERY_TYPE = ['A', 'AAAA', 'HTTPS', 'SVCB', 'TXT', 'MX', 'NS', 'SOA', 'ANY', 'CNAME', 'DS', 'DNSKEY', 'SRV', 'PTR', 'NULL', 'CAA', 'TYPE65280']

NODATA, NULL, REFUSED, PAGE, PAGE4 = '10.77.1.5', '10.77.2.5', '10.77.3.5', '10.77.4.5', '10.77.5.5'
OWN_RULES, GARDEN, LIMITED = '10.77.6.5', '10.77.7.5', '10.77.8.5'


@pytest.fixture(scope='module')
def u(lab):
    config = {
        'protected-names': ['childline.org.uk', 'samaritans.org'],
        'profiles': [
            profile('pupils'), profile('staff'), profile('guest'),
            profile('with-nodata', networks=['10.77.1.0/24'], block=SCHOOL, block_answer='nodata'),
            profile('with-null', networks=['10.77.2.0/24'], block=SCHOOL, block_answer='null'),
            profile('with-refused', networks=['10.77.3.0/24'], block=SCHOOL, block_answer='refused'),
            profile('with-page', networks=['10.77.4.0/24'], block=SCHOOL, block_answer=['192.0.2.250', '2001:db8::250'], block_ttl='7s'),
            profile('with-page4', networks=['10.77.5.0/24'], block=SCHOOL, block_answer=['192.0.2.250']),
            profile('own-rules', networks=['10.77.6.0/24'], block=SCHOOL,
                    allow_names=['fair.casino.com', 'www.poker.net', 'shop.cloak.com', 'illegal.net', 'deep.bad.plain.com'],
                    block_names=['bad.plain.com', 'very.fair.casino.com']),
            profile('garden', networks=['10.77.7.0/24'], default='block', allow_names=['wikipedia.org']),
            profile('limited', networks=['10.77.8.0/24'], block=SCHOOL, rate_limit=20),
        ],
    }
    lists = {'gambling': ['casino.com', 'poker.net', 'childline.org.uk'], 'games': ['games.org'], 'illegal': ['illegal.net']}
    with usherd(config, lists) as u:
        yield u


def test_listed_name_is_nxdomain_with_the_category_as_reason(u):
    a = u.ask('casino.com')
    assert (a.rcode, a.ede) == ('NXDOMAIN', 15)
    assert 'gambling' in a.ede_text.lower()
    assert a.soa == (30, 30)
    assert not a.message.answer and a.ra and not a.ad


def test_client_without_edns_gets_no_opt(u):
    a = u.ask('casino.com', edns=False)
    assert a.rcode == 'NXDOMAIN' and not a.opt


def test_unlisted_name_resolves(u):
    a = u.ask('www.plain.com')
    assert (a.rcode, a.addresses, a.ede) == ('NOERROR', ['192.0.2.1'], None)


@pytest.mark.parametrize('type', EVERY_TYPE)
def test_blocked_for_every_type(u, type):
    a = u.ask('www.casino.com', type)
    assert a.rcode == 'NXDOMAIN' and a.ede == 15 and not a.message.answer


def test_blocked_over_tcp_too(u):
    assert u.ask('casino.com', tcp=True).ede == 15


@pytest.mark.parametrize('name', ['CaSiNo.CoM', 'WWW.casino.COM', 'a.b.c.d.e.casino.com', r'x\000y.casino.com', r'dot\.ted.casino.com',
                                  r'\255.casino.com', r'c\097sino.com', '*.casino.com', '_443._tcp.casino.com'])
def test_every_spelling_of_a_name_below_is_blocked(u, name):
    assert u.ask(name).ede == 15


def test_the_longest_possible_name_is_blocked(u):
    name = dns.name.Name([b'a' * 63, b'b' * 63, b'c' * 63, b'd' * 50, b'casino', b'com', b''])
    assert len(name.to_wire()) == 255
    assert u.ask(name).ede == 15


@pytest.mark.parametrize('name', ['notcasino.com', 'casino.com.plain.com', 'casino.plain.com', r'www\.casino.com'])
def test_only_whole_labels_match(u, name):
    assert not u.ask(name).blocked


def test_nodata_form(u):
    for type in 'A', 'AAAA', 'HTTPS', 'TXT':
        a = u.ask('casino.com', type, NODATA)
        assert (a.rcode, a.types, a.soa, a.ede) == ('NOERROR', [], (30, 30), 15)


def test_null_form(u):
    assert u.ask('casino.com', 'A', NULL).addresses == ['0.0.0.0']
    assert u.ask('casino.com', 'AAAA', NULL).addresses == ['::']
    a = u.ask('casino.com', 'HTTPS', NULL)
    assert (a.rcode, a.types, a.ede) == ('NOERROR', [], 15) and a.soa


def test_refused_form(u):
    a = u.ask('casino.com', client=REFUSED)
    assert (a.rcode, a.ede) == ('REFUSED', 15) and not a.message.answer


def test_address_form(u):
    a = u.ask('casino.com', 'A', PAGE)
    assert (a.addresses, a.ttl, a.ede) == (['192.0.2.250'], 7, 15)
    assert u.ask('casino.com', 'AAAA', PAGE).addresses == ['2001:db8::250']
    for type in 'HTTPS', 'TXT':
        a = u.ask('casino.com', type, PAGE)
        assert (a.rcode, a.types, a.soa) == ('NOERROR', [], (7, 7))


def test_address_form_without_that_family_is_nodata(u):
    a = u.ask('casino.com', 'AAAA', PAGE4)
    assert (a.rcode, a.types) == ('NOERROR', []) and a.soa


def test_category_blocks_only_the_profiles_that_name_it(u):
    assert u.ask('games.org').ede == 15
    assert u.ask('games.org', client=GUEST).addresses == ['192.0.2.1']
    assert u.ask('casino.com', client=STAFF).addresses == ['192.0.2.1']
    assert u.ask('casino.com').ede == 15, 'the answer that staff got was given to a pupil'


@pytest.mark.parametrize('client', [PUPIL, STAFF, GUEST, NODATA, OWN_RULES])
def test_sealed_is_blocked_for_everybody_and_says_censored(u, client):
    a = u.ask('www.illegal.net', client=client)
    assert a.ede == 16 and not a.addresses


def test_protected_name_beats_the_list(u):
    assert u.ask('www.childline.org.uk').addresses == ['192.0.2.50']
    assert u.ask('samaritans.org', client=GUEST).addresses == ['192.0.2.1']


def test_protected_name_covers_its_chain_but_not_into_sealed(u):
    assert u.ask('cdn.childline.org.uk').addresses == ['192.0.2.1']
    assert u.ask('sealed.childline.org.uk').ede == 16


def test_shipped_help_names_are_protected(lab):
    with usherd(lists={'gambling': ['casino.com', 'ceop.police.uk', 'childline.org.uk']}) as u:
        assert u.ask('www.ceop.police.uk').addresses == ['192.0.2.1']
        assert u.ask('childline.org.uk').addresses == ['192.0.2.50']


def test_the_longest_own_rule_wins_over_lists(u):
    assert u.ask('casino.com', client=OWN_RULES).ede == 15
    assert u.ask('fair.casino.com', client=OWN_RULES).addresses == ['192.0.2.1']
    assert u.ask('below.fair.casino.com', client=OWN_RULES).addresses == ['192.0.2.1']
    assert u.ask('very.fair.casino.com', client=OWN_RULES).blocked
    assert u.ask('bad.plain.com', client=OWN_RULES).blocked
    assert not u.ask('deep.bad.plain.com', client=OWN_RULES).blocked


def test_own_rules_are_the_profiles_alone(u):
    assert u.ask('fair.casino.com').ede == 15
    assert not u.ask('bad.plain.com').blocked


def test_allowed_name_covers_its_chain(u):
    assert u.ask('shop.cloak.com', client=OWN_RULES).addresses == ['192.0.2.1']
    assert u.ask('hop1.cloak.com', client=OWN_RULES).ede == 15


def test_walled_garden_resolves_only_what_it_names(u):
    assert u.ask('www.wikipedia.org', client=GARDEN).addresses == ['192.0.2.1']
    assert u.ask('www.plain.com', client=GARDEN).blocked
    assert u.ask('childline.org.uk', client=GARDEN).addresses == ['192.0.2.50']


def test_one_client_over_its_rate_is_limited_alone(u):
    limited = u.stats()['answers']['limited']
    with u.load(['www.plain.com'], [LIMITED], rate=400) as load:
        load.patience_s = 0.5
        while load.sent < 200:
            assert u.ask('www.plain.com').rcode == 'NOERROR'
    served = load.results[LIMITED, 'www.plain.com']['192.0.2.1']
    assert 10 <= served <= 60, load.results
    assert u.stats()['answers']['limited'] - limited >= 100


@pytest.mark.parametrize('name, who, verdict', [
    ('casino.com', 'pupils', 'block'), ('casino.com', 'staff', 'resolve'), ('games.org', 'guest', 'resolve'),
    ('illegal.net', 'staff', 'block'), ('childline.org.uk', 'pupils', 'resolve'), ('www.google.com', 'pupils', 'rewrite'),
    ('use-application-dns.net', 'staff', 'local'), ('fair.casino.com', 'own-rules', 'resolve'), ('bad.plain.com', 'own-rules', 'block'),
    ('www.plain.com', 'garden', 'block'),
])
def test_check_says_what_the_daemon_does(u, name, who, verdict):
    said = u.check(name, '--profile', who)
    assert said['verdict'] == verdict and said['profile'] == who and said['name'] == name
    assert said['steps'] and said['reason']


def test_check_explains_a_block(u):
    said = u.check('www.casino.com', '--client', PUPIL, '--type', 'HTTPS')
    assert (said['verdict'], said['category'], said['rule'], said['source']) == ('block', 'gambling', 'casino.com', 'gambling')
    assert said['type'] == 'HTTPS' and said['profile'] == 'pupils'


def test_check_answers_line_by_line(u):
    lines = f'casino.com\n\n  www.google.com {STAFF}\nCASINO.com staff\ngames.org - AAAA\ncasino.com pupils HTTPS 2026-11-23 10:15\n'

    def batch(*words, text=lines, expect=0):
        result = subprocess.run([str(u.build / 'usher'), '-c', str(u.file), 'check', '--batch', *words], input=text, capture_output=True,
                                text=True, env=ENVIRONMENT)
        assert result.returncode == expect, result.stderr
        return result

    rows = [json.loads(line) for line in batch('--json').stdout.splitlines()]
    assert [(r['name'], r['profile'], r['type'], r['verdict']) for r in rows] == [
        ('casino.com', 'pupils', 'A', 'block'), ('www.google.com', 'staff', 'A', 'rewrite'), ('casino.com', 'staff', 'A', 'resolve'),
        ('games.org', 'pupils', 'AAAA', 'block'), ('casino.com', 'pupils', 'HTTPS', 'block')]
    assert rows[0] == u.check('casino.com'), 'the same words as one by one'
    assert len(batch('--csv').stdout.splitlines()) == 1 + len(rows), 'one header'
    for bad, word in ('bad..name', 'bad..name'), ('x.org nobody', 'nobody'), ('x.org - WHAT', 'WHAT'), ('x.org - A teatime', 'teatime'):
        said = batch('--json', text=f'casino.com\n{bad}\ncasino.com\n', expect=2)
        assert word in said.stderr and 'line 2' in said.stderr and len(said.stdout.splitlines()) == 1
    assert u.cli('check', '--batch', 'casino.com', expect=2).stderr


def test_timetable_opens_and_closes_a_category(lab):
    config = {
        'periods': {'lunch': {'days': 'mon-fri', 'from': '12:10', 'to': '13:00'}},
        'profiles': [profile('pupils', periods={'lunch': {'unblock': ['games']}})],
    }
    with usherd(config, {'games': ['games.org'], 'gambling': ['casino.com']}) as u:
        def verdict(name, at):
            return u.check(name, '--profile', 'pupils', '--at', at)['verdict']
        assert verdict('games.org', '2026-11-23 12:09') == 'block'
        assert verdict('games.org', '2026-11-23 12:10') == 'resolve'
        assert verdict('games.org', '2026-11-23 12:59') == 'resolve'
        assert verdict('games.org', '2026-11-23 13:00') == 'block'
        assert verdict('games.org', '2026-11-22 12:30') == 'block', 'a Sunday'
        assert verdict('casino.com', '2026-11-23 12:30') == 'block'
