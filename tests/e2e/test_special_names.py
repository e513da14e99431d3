"""Names that mean nothing on the internet stay in the school (RFC 6761, RFC 6303 and the registries that grew from them)."""

import pytest

from usher import usherd

INTERNAL = '127.0.53.10'

NOWHERE = ['host.invalid', 'a.test', 'abcdef.onion', 'printer.local', 'x.alt', 'router.home.arpa', '_tcp.service.arpa',
           # RFC 6303 and 7793: private, link-local, documentation, shared, unique local, link-local reverse
           '5.0.20.10.in-addr.arpa', '1.1.16.172.in-addr.arpa', '1.1.31.172.in-addr.arpa', '9.1.168.192.in-addr.arpa', '1.2.254.169.in-addr.arpa',
           '1.2.0.192.in-addr.arpa', '1.113.0.203.in-addr.arpa', '1.1.64.100.in-addr.arpa', '1.1.127.100.in-addr.arpa',
           '1.0.0.0.in-addr.arpa', 'x.170.0.0.192.in-addr.arpa', '1.0.d.f.ip6.arpa', '1.8.e.f.ip6.arpa', '1.b.e.f.ip6.arpa', '1.8.b.d.0.1.0.0.2.ip6.arpa']


@pytest.fixture(scope='module')
def u(lab):
    with usherd({'workers': 1}, {'gambling': ['casino.com']}) as u:
        yield u


def test_special_names_are_answered_here_and_never_leak(lab, u):
    with lab.watched() as watch:
        for name in NOWHERE:
            a = u.ask(name, 'PTR' if name.endswith('arpa') else 'A')
            assert a.rcode == 'NXDOMAIN' and not a.message.answer and a.soa, f'{name}: {a}'
        for name in 'resolver.arpa', '255.255.255.255.in-addr.arpa', '170.0.0.192.in-addr.arpa':
            assert u.ask(name, 'PTR').types == [], 'the head of such a zone: it is there, and empty'
        assert u.ask('local', 'SOA').rcode == u.ask('alt', 'NS').rcode == 'NOERROR'
        for name in 'localhost', 'www.localhost':
            assert (u.ask(name).addresses, u.ask(name, 'AAAA').addresses) == (['127.0.0.1'], ['::1'])
        assert u.ask('1.0.0.127.in-addr.arpa', 'PTR').types == ['PTR']
    asked = {name for top in ('invalid', 'test', 'onion', 'local', 'alt', 'arpa', 'localhost') for name in watch.names(top)}
    assert not {name for name in asked if name.strip('.') not in ('arpa', 'in-addr.arpa', 'ip6.arpa')}, asked


def test_internal_zone_goes_before_the_special_one(lab):
    zones = [{'zone': 'school.local', 'servers': [INTERNAL]}, {'zone': '10.in-addr.arpa', 'servers': [INTERNAL]}, {'zone': 'alt', 'servers': [INTERNAL]}]
    with usherd({'workers': 1, 'internal-zones': zones}, {'gambling': ['casino.com']}) as u:
        with lab.watched() as watch:
            u.ask('dc1.school.local')
            u.ask('x.alt')
            assert u.ask('20.0.0.10.in-addr.arpa', 'PTR').types == ['PTR']
            assert u.ask('printer.local').rcode == 'NXDOMAIN', 'what is beside the school\'s zone stays special'
        assert watch.servers('school.local') == watch.servers('alt') == {INTERNAL}
