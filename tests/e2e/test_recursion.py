"""Issue point 9: recursion, validation, the school's own zones, the cache and its ageing, deadlines."""

import time
from concurrent.futures import ThreadPoolExecutor

import dns.edns
import dns.message
import pytest
from zones import INTERNAL

from usher import GUEST, PUPIL, PUPIL6, STAFF, eventually, usherd


@pytest.fixture(scope='module')
def u(lab):
    config = {
        'internal-zones': [{'zone': 'ad.school.example', 'servers': ['127.0.53.10']}, {'zone': '10.in-addr.arpa', 'servers': ['127.0.53.10']}],
        'local-records': ['intranet.school.example. 300 IN A 10.0.0.5', 'intranet.school.example. 300 IN AAAA fd00::5',
                          'two.school.example. 60 IN A 10.0.0.6', 'two.school.example. 60 IN A 10.0.0.7',
                          'printer.rooms.school.example. 300 IN CNAME intranet.school.example.'],
        'dns': {'nsid': 'school-1', 'version': 'usher in the laboratory'},
    }
    with usherd(config, {'gambling': ['casino.com']}) as u:
        yield u


# ---- validation ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('name', ['www.signed.com', 'www.signed3.org', 'x.wild.signed.com', 'alias.signed.com'])
def test_signed_name_validates(u, name):
    assert u.ask(name, do=True).ad and u.ask(name, ad=True).ad
    assert not u.ask(name).ad, 'AD for a client that asked for neither AD nor DO'


def test_denial_in_a_signed_zone_validates(u):
    a = u.ask('nosuch.signed.com', do=True)
    assert a.rcode == 'NXDOMAIN' and a.ad and a.soa
    a = u.ask('www.signed.com', 'TXT', do=True)
    assert (a.rcode, a.types) == ('NOERROR', []) and a.ad


def test_unsigned_name_and_a_chain_out_of_the_signed_are_not_authentic(u):
    assert not u.ask('www.plain.com', do=True).ad
    assert not u.ask('outside.signed.com', do=True).ad


def test_signatures_only_for_clients_that_asked(u):
    assert 'RRSIG' in u.ask('www.signed.com', do=True).types
    a = u.ask('www.signed.com')
    assert a.types == ['A'] and not a.message.authority


@pytest.mark.parametrize('name, edes', [
    ('www.bogus.com', {6}), ('www.expired.com', {6, 7}), ('www.early.com', {6, 8}), ('www.nokeys.com', {6, 9}), ('www.stripped.com', {6, 9, 10}),
])
def test_bogus_is_servfail_with_the_reason_unless_cd(u, name, edes):
    for _ in 'fresh', 'cached':
        a = u.ask(name)
        assert a.rcode == 'SERVFAIL' and a.ede in edes and not a.message.answer
    a = u.ask(name, cd=True)
    assert a.rcode == 'NOERROR' and a.addresses and not a.ad
    assert u.ask(name).rcode == 'SERVFAIL', 'the answer of a CD query was given to one without'


# ---- ordinary answers --------------------------------------------------------------------------------------------------------

def test_kinds_of_answers(u):
    assert u.ask('multi.plain.com').addresses == ['192.0.2.11', '192.0.2.12', '192.0.2.13']
    a = u.ask('alias2.plain.com')
    assert (a.cnames, a.addresses) == (['alias.plain.com', 'www.plain.com'], ['192.0.2.1'])
    assert u.ask('gone.plain.com').rcode == 'NXDOMAIN'
    assert u.ask('MIXED.plain.COM').addresses == ['192.0.2.6']
    assert u.ask(r'odd\.label.plain.com').addresses == ['192.0.2.7']
    assert u.ask('xn--bcher-kva.com').addresses == ['192.0.2.1']
    assert 'TYPE65280' in u.ask('unknown.plain.com', 'TYPE65280').types
    assert u.ask('8.8.8.8.in-addr.arpa', 'PTR').types == ['PTR']
    assert u.ask('x.old.cloak.com', 'TXT').rcode == 'NXDOMAIN'


def test_negative_answers_have_an_soa_and_are_cached(u):
    a = u.ask('nosuch.plain.com')
    assert a.rcode == 'NXDOMAIN' and a.soa and a.soa[0] <= 60 and a.ede is None
    a = u.ask('ent.plain.com')
    assert (a.rcode, a.types) == ('NOERROR', []) and a.soa, 'an empty non-terminal is NODATA'
    a = u.ask('v4only.plain.com', 'AAAA')
    assert (a.rcode, a.types) == ('NOERROR', []) and a.soa
    hits = u.stats()['cache']['hits']
    u.ask('nosuch.plain.com')
    assert u.stats()['cache']['hits'] == hits + 1


def test_any_is_minimal(u):
    a = u.ask('www.plain.com', 'ANY')
    assert (a.rcode, a.types) == ('NOERROR', ['HINFO'])


def test_loop_of_aliases_ends(u):
    began = time.monotonic()
    assert u.ask('loop.plain.com').rcode == 'SERVFAIL'
    assert time.monotonic() - began < 5.5


def test_ttl_ages_in_the_cache(u):
    first = u.ask('naptr.plain.com', 'NAPTR').ttl
    time.sleep(2.1)
    assert first - 4 <= u.ask('naptr.plain.com', 'NAPTR').ttl <= first - 2


def test_ttl_is_capped(u):
    assert u.ask('long.plain.com').ttl <= 3600


def test_answer_too_big_for_udp_is_truncated_and_whole_over_tcp(u):
    for name, type, count in ('big.big.com', 'TXT', 1), ('huge.big.com', 'TXT', 80), ('addresses.big.com', 'A', 120):
        a = u.ask(name, type, payload=4096)
        assert a.tc and len(a.message.to_wire()) <= 1232
        assert len(u.ask(name, type, tcp=True).records(type)) == count
    a = u.ask('medium.big.com', 'TXT')
    assert not a.tc and a.records('TXT')
    assert u.ask('medium.big.com', 'TXT', edns=False).tc, 'more than 512 octets for a client without EDNS'
    assert u.ask('medium.big.com', 'TXT', payload=600).tc


def test_both_families_both_transports(u):
    for client in PUPIL, PUPIL6:
        for tcp in False, True:
            assert u.ask('www.plain.com', 'AAAA', client, tcp=tcp).addresses == ['2001:db8::1']


def test_recursion_not_desired_is_refused_or_served_from_the_cache_only(lab, u):
    with lab.watched() as watch:
        a = u.ask('never-asked.many.com', rd=False)
    assert (a.rcode, a.ede) == ('REFUSED', 20)
    assert not watch.names('never-asked.many.com')


def test_cookie_is_answered(u):
    cookie = dns.edns.GenericOption(10, b'12345678')
    a = u.ask('www.plain.com', options=[cookie])
    [mine] = [o.data for o in a.message.options if int(o.otype) == 10]
    assert mine[:8] == b'12345678' and 16 <= len(mine) <= 40
    a = u.ask('www.plain.com', options=[dns.edns.GenericOption(10, mine)])
    assert a.addresses == ['192.0.2.1']


def test_nsid_and_version_are_told_as_configured(u):
    a = u.ask('www.plain.com', options=[dns.edns.GenericOption(3, b'')])
    assert [o.data for o in a.message.options if int(o.otype) == 3] == [b'school-1']
    assert 'usher in the laboratory' in str(u.ask('version.bind', 'TXT', rdclass='CH').message)


# ---- the school's own names --------------------------------------------------------------------------------------------------

def test_internal_zone_is_answered_by_the_schools_servers(lab, u):
    with lab.watched() as watch:
        assert u.ask('files.ad.school.example').addresses == ['10.0.0.20']
        assert u.ask('files.ad.school.example', 'AAAA', STAFF).addresses == ['fd00::20']
        assert u.ask('_ldap._tcp.ad.school.example', 'SRV').types == ['SRV']
        assert u.ask('nosuch.ad.school.example').rcode == 'NXDOMAIN'
        assert u.ask('20.0.0.10.in-addr.arpa', 'PTR').types == ['PTR']
        assert u.ask('web.ad.school.example').addresses == ['192.0.2.1']
    assert watch.servers('ad.school.example') == watch.servers('10.in-addr.arpa') == {INTERNAL}, 'it leaked upstream'
    assert u.ask('www.school.example').addresses == ['198.51.100.200']


def test_internal_names_do_not_exist_for_guests(lab, u):
    for name, type in (('files.ad.school.example', 'A'), ('ad.school.example', 'SOA'), ('intranet.school.example', 'A'), ('20.0.0.10.in-addr.arpa', 'PTR')):
        with lab.watched() as watch:
            a = u.ask(name, type, GUEST)
        assert (a.rcode, a.ede) == ('NXDOMAIN', 18) and not a.message.answer, name
        assert not watch.names(name)
    assert u.ask('files.ad.school.example').addresses == ['10.0.0.20'], 'a guest\'s denial was given to a pupil'
    assert u.ask('www.school.example', client=GUEST).addresses == ['198.51.100.200']


def test_public_alias_into_an_internal_zone_tells_a_guest_nothing(u):
    assert '10.0.0.20' not in u.ask('portal.school.example', client=GUEST).addresses
    assert '10.0.0.20' not in u.ask('inside.cloak.com', client=GUEST).addresses


def test_private_reverse_zones_never_go_upstream(lab, u):
    with lab.watched() as watch:
        for name in '1.1.168.192.in-addr.arpa', '1.0.16.172.in-addr.arpa', '1.0.254.169.in-addr.arpa', f'{"0." * 31}d.f.ip6.arpa'[-72:]:
            assert u.ask(name, 'PTR').rcode == 'NXDOMAIN'
    assert not [name for name in watch.names('arpa') if '168.192' in name or '16.172' in name or 'd.f.ip6' in name or '254.169' in name]


def test_local_records(u):
    assert u.ask('intranet.school.example').addresses == ['10.0.0.5']
    assert u.ask('INTRANET.school.example', 'AAAA').addresses == ['fd00::5']
    assert u.ask('two.school.example').addresses == ['10.0.0.6', '10.0.0.7']
    a = u.ask('intranet.school.example', 'TXT')
    assert (a.rcode, a.types) == ('NOERROR', [])
    a = u.ask('printer.rooms.school.example')
    assert (a.cnames, a.addresses) == (['intranet.school.example'], ['10.0.0.5'])
    a = u.ask('rooms.school.example')
    assert (a.rcode, a.types) == ('NOERROR', []), 'an empty non-terminal'


# ---- upstream in trouble -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('name', ['a.dead.com', 'a.silent.com', 'a.lame.com'])
def test_no_answer_to_be_had_is_servfail_in_time(u, name):
    began = time.monotonic()
    a = u.ask(name)
    assert a.rcode == 'SERVFAIL' and a.ede in (22, 23)
    assert time.monotonic() - began < 5.6
    began = time.monotonic()
    assert u.ask(name).rcode == 'SERVFAIL'
    assert time.monotonic() - began < 0.5, 'a failure is remembered (RFC 9520)'


def test_slow_server_is_waited_for_and_holds_up_nobody(u):
    with ThreadPoolExecutor(20) as pool:
        slow = [pool.submit(u.ask, f'd600.n{i}.slow.com') for i in range(20)]
        began = time.monotonic()
        assert u.ask('www.plain.com').addresses and u.ask('casino.com').blocked and u.ask('fresh-1.many.com').addresses
        assert time.monotonic() - began < 0.5
    assert all(f.result().addresses == ['192.0.2.70'] for f in slow)


def test_same_question_of_many_is_asked_once(lab, u):
    lab.slow.asked.clear()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda i: u.ask('d400.once.slow.com', client=f'10.20.1.{i + 1}'), range(20)))
    assert all(a.addresses == ['192.0.2.70'] for a in answers)
    assert lab.slow.asked.count(('d400.once.slow.com.', 1)) == 1


@pytest.mark.parametrize('mode', ['garbage', 'servfail', 'refused'])
def test_upstream_that_errs_is_servfail(lab, u, mode):
    lab.flaky.mode = mode
    began = time.monotonic()
    assert u.ask(f'{mode}.flaky.com').rcode == 'SERVFAIL'
    assert time.monotonic() - began < 5.6
    assert u.ask('www.plain.com').addresses


def test_stale_answer_when_upstream_is_silent(lab, u):
    lab.flaky.ttl = 1
    assert u.ask('stale.flaky.com').addresses == ['192.0.2.70']
    time.sleep(2.1)
    lab.flaky.mode = 'silent'
    began = time.monotonic()
    a = u.ask('stale.flaky.com')
    assert time.monotonic() - began < 2.5
    assert (a.addresses, a.ede, a.ttl) == (['192.0.2.70'], 3, 30)
    assert u.stats()['answers']['stale'] >= 1


def test_stale_denial_when_upstream_is_silent(lab, u):
    lab.flaky.mode, lab.flaky.ttl = 'nxdomain', 1
    assert u.ask('stale-nx.flaky.com').rcode == 'NXDOMAIN'
    time.sleep(2.1)
    lab.flaky.mode = 'silent'
    a = u.ask('stale-nx.flaky.com')
    assert (a.rcode, a.ede) == ('NXDOMAIN', 19)


def test_fresh_again_when_upstream_is_back(lab, u):
    lab.flaky.ttl = 1
    assert u.ask('back.flaky.com').addresses == ['192.0.2.70']
    time.sleep(1.2)
    lab.flaky.record = '192.0.2.71'
    assert eventually(lambda: u.ask('back.flaky.com').addresses == ['192.0.2.71'], 3)


def test_flush_forgets_a_name(lab, u):
    assert u.ask('flush.flaky.com').addresses == ['192.0.2.70']
    lab.flaky.record = '192.0.2.72'
    assert u.ask('flush.flaky.com').addresses == ['192.0.2.70']
    u.cli('flush', 'flush.flaky.com')
    # The recursor has a cache of its own: it must not bring the old answer back.
    assert u.ask('flush.flaky.com').addresses == ['192.0.2.72']


# ---- forwarders --------------------------------------------------------------------------------------------------------------

def test_forwarding_to_another_resolver_validates_and_fails_in_time(lab):
    upper = usherd(lists={'gambling': ['unused.net']})
    lower = usherd({'recursion': {'forward': [f'{upper.server}@53']}}, {'gambling': ['casino.com']})
    try:
        upper.start()
        with lower:
            assert lower.ask('www.plain.com').addresses == ['192.0.2.1']
            assert lower.ask('www.signed.com', do=True).ad
            assert lower.ask('www.bogus.com').rcode == 'SERVFAIL'
            assert lower.ask('casino.com').blocked
            upper.stop()
            began = time.monotonic()
            assert lower.ask('unasked.many.com').rcode == 'SERVFAIL'
            assert time.monotonic() - began < 5.6
    finally:
        upper._forget()


def test_forwarding_over_tls_works_or_is_refused_at_start_in_a_sentence(lab):
    u = usherd({'recursion': {'forward': ['127.0.53.99@853#dns.example']}})
    try:
        u.start(wait=False)
        code = eventually(lambda: u.process.poll(), 5)
        if code is not None:
            assert code == 1 and 'TLS' in u.said(), u.said()
        u.check_sanitizers()
    finally:
        u._forget()


def test_validation_can_be_turned_off(lab):
    with usherd({'recursion': {'dnssec': False}}, {'gambling': ['casino.com']}) as u:
        a = u.ask('www.bogus.com', do=True)
        assert a.rcode == 'NOERROR' and not a.ad
