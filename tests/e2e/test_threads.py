"""What threads share (cache, snapshots, lists, limits, counters), under interleaved load on four workers. tests/run runs this once more
under the thread sanitizer."""

import struct
import threading
import time
from contextlib import contextmanager

import dns.message
import pytest

from usher import GUEST, PUPIL, STAFF, eventually, profile, usherd

LISTS = {'gambling': ['casino.com'], 'games': ['games.org']}


@pytest.fixture(scope='module')
def u(lab):
    with usherd({'workers': 4, 'cache': {'size': '1MiB'}, 'recursion': {'serve-stale': '1h'}}, LISTS) as u:
        yield u


@contextmanager
def meanwhile(*works):
    """Each of works is called over and over; what one raises is raised here."""
    ending, raised = threading.Event(), []

    def run(work):
        try:
            while not ending.is_set():
                work()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ending.set()
        for thread in threads:
            thread.join()
    if raised:
        raise raised[0]


def variants_differ(u):
    """DO, CD and case of one name: each asker gets its own form of the one answer."""
    for name in 'www.signed.com', 'WWW.sIgNeD.CoM':
        assert 'RRSIG' in u.ask(name, do=True).types and u.ask(name, do=True).ad
        plain = u.ask(name)
        assert plain.types == ['A'] and not plain.ad
    assert u.ask('www.bogus.com').rcode == 'SERVFAIL'
    assert u.ask('www.bogus.com', cd=True).rcode == 'NOERROR'


def pipelined(u):
    """Twenty questions in one go over TCP."""
    names = ['casino.com', 'www.plain.com'] * 10
    with u.connect() as c:
        octets = b''
        for i, name in enumerate(names):
            query = dns.message.make_query(name, 'A')
            query.id = i
            octets += struct.pack('!H', len(query.to_wire())) + query.to_wire()
        c.sendall(octets)
        stream = c.makefile('rb')
        for _ in names:
            wire = stream.read(struct.unpack('!H', stream.read(2))[0])
            assert wire[3] & 15 == (3 if wire[1] % 2 == 0 else 0)


def test_profiles_variants_and_connections_stay_apart_while_lists_and_configuration_change(u):
    names = ['casino.com', 'games.org', 'www.plain.com', 'www.google.com']
    with u.load(names, (PUPIL, STAFF, GUEST), rate=600) as load, meanwhile(lambda: variants_differ(u), lambda: pipelined(u)):
        for round in range(3):
            before = u.generation()
            u.source('gambling', ['casino.com', f'round{round}.net'])
            u.cli('lists', 'update')
            assert eventually(lambda: u.generation() > before, 5)
            assert all(u.ask(f'round{round}.net').blocked for _ in range(8)), 'every worker has it'
            u.reload()
            u.cli('flush', 'www.plain.com')
            u.http('stats.sock', '/metrics')
    assert load.lost == 0
    for client in PUPIL, STAFF, GUEST:
        assert load.got('www.plain.com', client) == {'192.0.2.1'} and load.got('www.google.com', client) == {'198.51.100.120'}
    assert load.got('casino.com', PUPIL) == load.got('casino.com', GUEST) == load.got('games.org', PUPIL) == {'NXDOMAIN'}
    assert load.got('games.org', GUEST) == load.got('casino.com', STAFF) == load.got('games.org', STAFF) == {'192.0.2.1'}


# A class of thirty: profile, address of the first, how many; and what each profile gets for a name (profiles in this order).
CLASS = [('pupils', '10.20.1.', 12), ('staff', '10.30.1.', 6), ('guest', '10.99.1.', 6), ('juniors', '10.77.1.', 3), ('sixth', '10.77.2.', 3)]
SITE, NO = '192.0.2.1', 'NXDOMAIN'
GETS = {
    'casino.com': (NO, SITE, NO, NO, NO),
    'www.casino.com': (NO, SITE, NO, NO, NO),
    'shop.cloak.com': (NO, SITE, NO, NO, NO),
    'games.org': (NO, SITE, SITE, NO, SITE),
    'games.cloak.com': (NO, SITE, SITE, NO, SITE),
    'social.net': (NO, SITE, SITE, NO, NO),
    'adult.com': (NO, NO, NO, NO, NO),
    'www.illegal.net': (NO, NO, NO, NO, NO),
    'www.wikipedia.org': (SITE, SITE, SITE, SITE, SITE),
    'www.plain.com': (SITE, SITE, SITE, NO, SITE),
    'intranet.school.example': ('10.0.0.5', '10.0.0.5', NO, '10.0.0.5', '10.0.0.5'),
    'www.google.com': ('198.51.100.120', '198.51.100.120', '198.51.100.120', '198.51.100.120', '203.0.113.66'),
    'www.youtube.com': ('198.51.100.121', '198.51.100.119', '198.51.100.121', '198.51.100.121', '203.0.113.66'),
    'use-application-dns.net': (NO, NO, NO, NO, NO),
    'ten.rebind.com': ('NOERROR', 'NOERROR', 'NOERROR', 'NOERROR', 'NOERROR'),
}
# Before and after a list is published with the first, and rules are made for the others.
CHANGES = {
    'www.bbc.co.uk': ((SITE, SITE, SITE, SITE, SITE), (NO, SITE, NO, NO, NO)),
    'roblox.com': ((SITE, SITE, SITE, SITE, SITE), (NO, SITE, SITE, SITE, SITE)),
    'poker.net': ((NO, SITE, NO, NO, NO), (NO, SITE, NO, SITE, NO)),
}


def test_thirty_clients_of_five_profiles_see_no_wrong_verdict(lab):
    """All ask all names in no order, of one cache, while a list is published, rules are made and the configuration is read anew."""
    config = {'workers': 4, 'cache': {'size': '1MiB'}, 'local-records': ['intranet.school.example. 300 IN A 10.0.0.5'], 'profiles': [
        profile('pupils'), profile('staff'), profile('guest'),
        profile('juniors', networks=['10.77.1.0/24'], block=['gambling', 'games', 'social', 'adult'], block_names=['plain.com']),
        profile('sixth', networks=['10.77.2.0/24'], block=['gambling', 'social', 'adult'], safe_search=False, youtube='off')]}
    lists = {'gambling': ['casino.com', 'poker.net'], 'games': ['games.org'], 'social': ['social.net'], 'adult': ['adult.com'],
             'illegal': ['illegal.net']}
    clients = {f'{network}{i + 1}': number for number, (_, network, count) in enumerate(CLASS) for i in range(count)}
    assert len(clients) == 30

    def wrong(load, expected):
        return [(client, name, got) for (client, name), counts in load.results.items() for got in counts
                if got not in expected(name, clients[client])]

    with usherd(config, lists) as u:
        with u.load([*GETS, *CHANGES], clients, rate=700) as load:
            while load.sent < 2000:
                time.sleep(0.05)
            before = u.generation()
            u.source('gambling', [*lists['gambling'], 'bbc.co.uk'])
            u.cli('lists', 'update')
            u.cli('block', 'roblox.com', '--profile', 'pupils', '--reason', 'lesson')
            u.cli('allow', 'poker.net', '--profile', 'juniors', '--for', '10m', '--reason', 'lesson')
            u.reload()
            assert eventually(lambda: u.generation() > before, 5)
        assert load.lost == 0 and len(load.results) > 400, 'nearly every client asked for nearly every name'
        assert not wrong(load, lambda name, who: {GETS[name][who]} if name in GETS else {either[who] for either in CHANGES[name]})

        with u.load([*GETS, *CHANGES], clients, rate=700) as load:
            while load.sent < 2000:
                time.sleep(0.05)
        assert load.lost == 0
        assert not wrong(load, lambda name, who: {GETS[name][who] if name in GETS else CHANGES[name][1][who]})


def test_full_cache_serves_right_answers_that_age(u):
    """More names than the cache holds, while one that all ask stays, ages, and is never older than the clock says."""
    first, began = u.ask('naptr.plain.com', 'NAPTR').ttl, time.monotonic()

    def ages():
        ttl, passed = u.ask('naptr.plain.com', 'NAPTR').ttl, time.monotonic() - began
        assert first - passed - 2 <= ttl <= first

    names = [f'n{i}.many.com' for i in range(3000)]
    with u.load(names, (PUPIL, STAFF), rate=1200, waiting=400) as load, meanwhile(ages, ages):
        time.sleep(3)
    assert load.lost == 0
    assert {answer for counts in load.results.values() for answer in counts} == {'192.0.2.20'}


def test_expired_answers_are_served_and_refreshed_behind(lab, u):
    """Names of one second's life: refreshed by whoever comes first, stale for all when upstream is silent, and new when it is back. One of
    eleven seconds is popular: refreshed behind its last answer."""
    lab.flaky.ttl = 11
    assert u.ask('popular.flaky.com').ttl == 11
    began = time.monotonic()
    lab.flaky.ttl = 1
    names = [f'f{i}.flaky.com' for i in range(20)]
    with u.load(['popular.flaky.com'], (PUPIL, STAFF), rate=100) as popular:
        with u.load(names, (PUPIL, STAFF, GUEST), rate=400) as load:
            time.sleep(1.5)
            lab.flaky.mode = 'silent'
            time.sleep(3.5)
            lab.flaky.mode, lab.flaky.record = 'answer', '192.0.2.77'
            assert eventually(lambda: u.ask('later.flaky.com', timeout=6).addresses == ['192.0.2.77'], 8)
        assert load.lost == 0
        time.sleep(max(0, began + 12.5 - time.monotonic()))
    assert {answer for counts in load.results.values() for answer in counts} <= {'192.0.2.70', '192.0.2.77'}
    assert popular.lost == 0 and popular.got('popular.flaky.com') | popular.got('popular.flaky.com', STAFF) == {'192.0.2.70', '192.0.2.77'}
    assert u.stats()['answers']['stale'] > 0
