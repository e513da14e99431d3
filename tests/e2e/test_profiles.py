"""Issue point 4: who asks decides, by the longest network; nobody ever gets another profile's verdict."""

import time

import pytest

from usher import (GUEST, GUEST6, HOMELESS, PUPIL, PUPIL6, STAFF, STAFF6, STRANGER, STRANGER6, profile, usherd)

TEACHER_AMONG_PUPILS, GUEST_AMONG_TEACHERS = '10.20.5.7', '10.20.5.9'
TEACHER_AMONG_PUPILS6 = 'fd00:20:1::5'


@pytest.fixture(scope='module')
def u(lab):
    config = {'profiles': [
        profile('pupils', networks=['10.20.0.0/16', 'fd00:20::/32']),
        profile('staff', networks=['10.30.0.0/16', '10.20.5.0/24', 'fd00:30::/64', 'fd00:20:1::/48']),
        profile('guest', networks=['10.99.0.0/16', '10.20.5.9/32', 'fd00:99::/64']),
    ]}
    with usherd(config, {'gambling': ['casino.com'], 'games': ['games.org'], 'malware': ['vpn.net']}) as u:
        yield u


def sees(u, client):
    """What a client may see of (gambling, games): pupils neither, staff both, guests games."""
    return u.ask('casino.com', client=client).rcode == 'NOERROR', u.ask('games.org', client=client).rcode == 'NOERROR'


@pytest.mark.parametrize('client, expected', [
    (PUPIL, (False, False)), (STAFF, (True, True)), (GUEST, (False, True)),
    (PUPIL6, (False, False)), (STAFF6, (True, True)), (GUEST6, (False, True)),
])
def test_each_network_gets_its_profile(u, client, expected):
    assert sees(u, client) == expected


def test_the_longest_network_decides(u):
    assert sees(u, TEACHER_AMONG_PUPILS) == (True, True)
    assert sees(u, GUEST_AMONG_TEACHERS) == (False, True)
    assert sees(u, TEACHER_AMONG_PUPILS6) == (True, True)
    assert sees(u, '10.20.4.255') == sees(u, '10.20.6.0') == (False, False)


def test_client_of_no_profile_gets_the_default_one(u):
    assert sees(u, HOMELESS) == (False, False)


@pytest.mark.parametrize('client', [STRANGER, STRANGER6])
@pytest.mark.parametrize('name', ['www.plain.com', 'casino.com', 'www.google.com', 'use-application-dns.net'])
def test_unlisted_network_is_refused(u, client, name):
    a = u.ask(name, client=client)
    assert (a.rcode, a.ede) == ('REFUSED', 18) and not a.message.answer


def test_unlisted_network_is_refused_over_tcp(u):
    assert u.ask('www.plain.com', client=STRANGER, tcp=True).rcode == 'REFUSED'


def test_interleaved_profiles_get_only_their_own_verdicts(u):
    clients = [PUPIL, STAFF, GUEST, PUPIL6, STAFF6, GUEST6, TEACHER_AMONG_PUPILS, GUEST_AMONG_TEACHERS]
    with u.load(['casino.com', 'games.org', 'vpn.net', 'www.plain.com', 'www.google.com'], clients, rate=1500) as load:
        while load.sent < 6000:
            time.sleep(0.01)
    pupils, staff, guests = (PUPIL, PUPIL6), (STAFF, STAFF6, TEACHER_AMONG_PUPILS), (GUEST, GUEST6, GUEST_AMONG_TEACHERS)
    for client in clients:
        assert load.got('vpn.net', client) == {'NXDOMAIN'}
        assert load.got('www.google.com', client) == {'198.51.100.120'}
        assert load.got('www.plain.com', client) == {'192.0.2.1'}
    for client in pupils:
        assert load.got('casino.com', client) == load.got('games.org', client) == {'NXDOMAIN'}
    for client in staff:
        assert load.got('casino.com', client) == load.got('games.org', client) == {'192.0.2.1'}
    for client in guests:
        assert load.got('casino.com', client) == {'NXDOMAIN'} and load.got('games.org', client) == {'192.0.2.1'}
    assert load.lost == 0


def test_profiles_are_counted_apart(u):
    before = u.stats()['profiles']
    u.ask('casino.com', client=GUEST)
    u.ask('www.plain.com', client=STAFF)
    after = u.stats()['profiles']
    assert after['guest']['queries'] - before['guest']['queries'] == 1
    assert after['guest']['blocked'] - before['guest']['blocked'] == 1
    assert after['staff']['queries'] - before['staff']['queries'] == 1
    assert after['staff']['blocked'] == before['staff']['blocked']
