"""Issue point 8: the names by which browsers and systems ask whether they may go round the school's DNS."""

import time

import pytest

from usher import GUEST, PUPIL, STAFF, profile, usherd

FREE, PAGE = '10.77.1.5', '10.77.2.5'


@pytest.fixture(scope='module')
def u(lab):
    config = {'profiles': [
        profile('pupils'), profile('staff'), profile('guest'),
        profile('free', networks=['10.77.1.0/24'], safe_search=False, youtube='off', block=[],
                allow_names=['use-application-dns.net', 'mask.icloud.com']),
        profile('page', networks=['10.77.2.0/24'], block_answer=['192.0.2.250', '2001:db8::250']),
    ]}
    with usherd(config, {'bypass': ['use-application-dns.net', 'icloud.com']}) as u:
        yield u


@pytest.mark.parametrize('client', [PUPIL, STAFF, GUEST, FREE, PAGE])
@pytest.mark.parametrize('type', ['A', 'AAAA', 'HTTPS', 'SVCB', 'TXT', 'ANY', 'NULL', 'DS', 'TYPE65280'])
def test_firefox_canary_is_nxdomain_for_everybody(u, client, type):
    a = u.ask('use-application-dns.net', type, client)
    assert a.rcode == 'NXDOMAIN' and not a.message.answer and a.soa


@pytest.mark.parametrize('name', ['x.use-application-dns.net', 'a.b.mask.icloud.com', 'x.mask-h2.icloud.com', 'mask-canary.icloud.com'])
@pytest.mark.parametrize('type', ['A', 'HTTPS', 'NULL'])
def test_names_below_a_signal_are_told_no_too(u, name, type):
    for client in PUPIL, FREE:
        a = u.ask(name, type, client)
        assert a.rcode == 'NXDOMAIN' and not a.message.answer and a.soa


@pytest.mark.parametrize('client', [PUPIL, STAFF, GUEST, FREE, PAGE])
@pytest.mark.parametrize('name', ['mask.icloud.com', 'mask-h2.icloud.com', 'MASK.iCloud.com'])
def test_private_relay_is_told_no_at_once(u, client, name):
    for type in 'A', 'AAAA', 'HTTPS':
        began = time.monotonic()
        a = u.ask(name, type, client)
        assert time.monotonic() - began < 0.5
        assert a.rcode == 'NXDOMAIN' and not a.message.answer and a.soa


@pytest.mark.parametrize('name', ['resolver.arpa', '_dns.resolver.arpa', 'x.y.resolver.arpa'])
@pytest.mark.parametrize('type', ['SVCB', 'A', 'TXT'])
def test_designated_resolver_discovery_is_nodata(u, name, type):
    a = u.ask(name, type)
    assert (a.rcode, a.types) == ('NOERROR', []) and a.soa


def test_canaries_never_go_upstream(lab, u):
    with lab.watched() as watch:
        for name in 'use-application-dns.net', 'mask.icloud.com', 'mask-h2.icloud.com', '_dns.resolver.arpa', 'leak.resolver.arpa':
            u.ask(name, 'AAAA', do=True, cd=True)
            u.ask(name, 'SVCB')
    assert not watch.names('resolver.arpa') and not watch.names('use-application-dns.net') and not watch.names('icloud.com')
