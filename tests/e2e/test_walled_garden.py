"""Issue 5 point 7: a profile with `default: block` reaches its list and what that needs, and nothing else."""

import pytest

from usher import usherd

EXAM = '10.77.0.5'


@pytest.fixture(scope='module')
def u(lab):
    config = {
        'workers': 1,
        'internal-zones': [{'zone': 'ad.school.example', 'servers': ['127.0.53.10']}],
        'local-records': ['intranet.school.example. 300 IN A 10.0.0.5'],
        'profiles': [{'name': 'pupils', 'networks': ['10.20.0.0/16'], 'block': ['gambling']},
                     {'name': 'exam', 'networks': ['10.77.0.0/16'], 'default': 'block', 'block': ['gambling'], 'rate-limit': 0,
                      'allow-names': ['cloak.com', 'alias2.plain.com', 'www.google.com']}]}
    with usherd(config, {'gambling': ['casino.com'], 'illegal': ['illegal.net'], 'adult': ['adult.com']}) as u:
        yield u


def ask(u, name, type='A'):
    return u.ask(name, type, EXAM)


def test_allowed_names_resolve_with_the_chain_they_need(u):
    assert ask(u, 'clean.cloak.com').addresses == ['192.0.2.1'], 'an alias outside of the list'
    assert ask(u, 'alias2.plain.com').addresses == ['192.0.2.1'], 'two aliases on'
    assert ask(u, 'alias2.plain.com', 'AAAA').addresses == ['2001:db8::1']
    assert ask(u, 'shop.cloak.com').rcode == 'NOERROR', 'the school allowed it, whatever it leads to'
    assert ask(u, 'www.google.com').cnames == ['forcesafesearch.google.com']
    assert ask(u, 'sealed.cloak.com').ede == 16, 'but nothing leads to what is sealed'


def test_what_the_chain_goes_through_is_not_allowed_by_itself(u):
    for name in 'www.plain.com', 'alias.plain.com', 'plain.com', 'forcesafesearch.google.com', 'google.com', 'cloak.com.example', 'adult.com', 'example.com':
        for type in 'A', 'HTTPS', 'TXT':
            a = ask(u, name, type)
            assert (a.rcode, a.ede) == ('NXDOMAIN', 15), f'{name} {type}: {a}'
    assert ask(u, 'www.plain.com').ede_text == 'not on the allow list'
    assert ask(u, 'www.casino.com').ede_text == 'gambling'
    record = u.log('--name', 'example.com', '--profile', 'exam', count=3)[0]
    assert (record['category'], record['rule']) == (None, None)


def test_help_lines_the_schools_own_and_the_filter_itself_are_there(u):
    assert ask(u, 'www.childline.org.uk').addresses == ['192.0.2.50']
    assert ask(u, 'files.ad.school.example').addresses == ['10.0.0.20']
    assert ask(u, 'intranet.school.example').addresses == ['10.0.0.5']
    assert ask(u, 'use-application-dns.net').rcode == 'NXDOMAIN'
    [record] = ask(u, 'why.www.plain.com.filter.usher', 'TXT').records('TXT')
    assert record.strings[0] == b'www.plain.com is blocked for exam: not on the list of what is allowed'
    assert u.ask('www.plain.com').addresses == ['192.0.2.1'], 'all this is the exam\'s alone'
