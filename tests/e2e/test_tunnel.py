"""Data carried out by names: what iodine and dnscat2 do is blocked for the client that does it, and what only looks like it is not."""

import base64
import random
import struct

import pytest

from usher import PUPIL, STAFF, profile, usherd

NOISE = random.Random(7)
OPEN = '10.77.1.5'


@pytest.fixture(scope='module')
def u(lab):
    config = {
        'tunnel-exempt': ['exempt.com'],
        'dns': {'rebinding-exempt': ['dnsbl.org'], 'tunnelling': {'names': 50}},
        'protected-names': ['rebind.com'],
        'profiles': [profile('pupils', allow_names=['cloak.com']), profile('staff'), profile('guest'),
                     profile('open', networks=['10.77.1.0/24'], block=['adult'])],
    }
    with usherd(config, {'adult': ['adult.example']}) as u:
        yield u


def labels(data, alphabet):
    text = alphabet(data).decode().rstrip('=').lower()
    return '.'.join(text[i:i + 57] for i in range(0, len(text), 57))


def iodine(zone):
    """An upstream packet: user and sequence in the first letters, then base32."""
    return labels(NOISE.randbytes(70), base64.b32encode) + '.' + zone


def dnscat2(zone, number):
    """MESSAGE_TYPE_MSG of a session that waits: packet id, type, session, seq, ack."""
    return struct.pack('>HBHHH', NOISE.randrange(65536), 1, 0x1234, number, 77).hex() + '.' + zone


def blocked_after(u, names, client=PUPIL):
    """How many of (name, type) were let through before one was blocked; None: all."""
    for number, (name, type) in enumerate(names):
        if u.ask(name, type, client).blocked:
            return number
    return None


@pytest.mark.parametrize('type, most', [('NULL', 20), ('TXT', 65), ('A', 65), ('CNAME', 65), ('TYPE65399', 65)])
def test_iodine_is_blocked_whatever_type_it_asks(u, type, most):
    client = f'10.20.9.{most + len(type)}'
    found = blocked_after(u, ((iodine('t.many.com'), type) for _ in range(80)), client)
    assert found is not None and found <= most
    a = u.ask(iodine('t.many.com'), type, client)
    assert (a.rcode, a.ede) == ('NXDOMAIN', 15) and 'bypass' in a.ede_text
    assert u.ask('new-name.many.com', client=client).blocked, 'the zone is blocked, for this client'
    assert u.ask('newer-name.many.com').addresses == ['192.0.2.20'], '… alone'


def test_dnscat2_is_blocked_while_it_only_waits(u):
    client = '10.20.9.3'
    found = blocked_after(u, ((dnscat2('many.com', i), ('TXT', 'CNAME', 'MX')[i % 3]) for i in range(120)), client)
    assert found is not None and 45 <= found <= 100


def test_tunnel_is_logged_with_how_it_was_seen(u):
    client, before = '10.20.9.4', u.stats()['bypass']['tunnels']
    blocked_after(u, ((iodine('many.com'), 'TXT') for _ in range(80)), client)
    assert u.ask('afterwards.many.com', client=client).blocked
    last, first = u.log('--client', client, count=2)
    assert {r['category'] for r in (first, last)} == {'bypass'} and first['source'] == 'tunnelling' and first['severity'] == 'caution'
    assert first['rule'].startswith('many.com (') and 'bits' in first['rule'] and last['rule'] == 'many.com'
    stats = u.stats()['bypass']
    assert stats['tunnels'] == before + 1 and stats['tunnelled'] >= 2


def test_what_only_looks_like_it_passes(u):
    client = '10.20.9.5'
    names = [(f'{NOISE.randbytes(16).hex()}.telemetry.many.com', 'A') for _ in range(70)]
    names += [(f'rr{i}---sn-{NOISE.randbytes(4).hex()}.many.com', 'HTTPS') for i in range(70)]
    names += [(f'{".".join(str(NOISE.randrange(256)) for _ in range(4))}.many.com', 'TXT') for _ in range(70)]
    names += [('.'.join(NOISE.randbytes(16).hex()) + '.ip6.arpa', 'PTR') for _ in range(55)]
    assert blocked_after(u, names, client) is None
    assert u.ask('www.many.com', client=client).addresses == ['192.0.2.20']


def test_exempt_protected_and_allowed_names_pass(u):
    client = '10.20.9.6'
    for zone in 'exempt.com', 'dnsbl.org', 'rebind.com', 'cloak.com':
        assert blocked_after(u, ((iodine(zone), 'TXT') for _ in range(60)), client) is None
    assert not u.log('--client', client, count=0)


def test_profile_that_does_not_block_bypass_is_left_alone(u):
    assert blocked_after(u, ((iodine('many.com'), 'NULL') for _ in range(40)), OPEN) is None


def test_tunnels_can_be_watched_or_left_alone(lab):
    with usherd({'dns': {'tunnelling': {'action': 'watch', 'names': 20}}}, {'adult': ['adult.example']}) as u:
        assert blocked_after(u, ((iodine('many.com'), 'TXT') for _ in range(30)), '10.20.9.7') is None
        [record] = u.log('--client', '10.20.9.7', count=1)
        assert record['action'] == 'watch' and record['category'] == 'bypass' and record['rule'].startswith('many.com (')
        u.configure({'dns': {'tunnelling': {'action': 'off'}}})
        u.reload()
        assert blocked_after(u, ((iodine('many.com'), 'NULL') for _ in range(30)), '10.20.9.8') is None
        assert not u.log('--client', '10.20.9.8', count=0) and u.stats()['bypass']['tunnelled'] == 0
