"""Bad input: the right rcode or silence, no crash, and the others are served meanwhile."""

import random
import resource
import socket
import struct
import time

import dns.message
import pytest

from usher import PUPIL6, STRANGER, eventually, framed, receive, usherd

FORMERR, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 1, 3, 4, 5, 16
CASINO = b'\x06casino\x03com\x00'
OTHER = b'\x05plain\x03com\x00'
OPT = b'\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00'


@pytest.fixture(scope='module')
def u(lab):
    with usherd({'limits': {'tcp-idle': '3s', 'tcp-per-client': 30}}, {'gambling': ['casino.com']}) as u:
        yield u


@pytest.fixture(autouse=True)
def still_well(u):
    """Whatever a test sent, usherd lives, serves and did not upset the sanitizers."""
    pid = u.process.pid
    yield
    assert u.process.poll() is None and u.process.pid == pid
    assert u.ask('casino.com').ede == 15
    u.check_sanitizers()


def packet(flags=0x0100, qd=1, an=0, ns=0, ar=0, question=CASINO + b'\0\1\0\1', rest=b''):
    return struct.pack('!6H', 0x1234, flags, qd, an, ns, ar) + question + rest


def rcode(reply):
    """The rcode of a reply, with the extended bits; it must be a reply to our id."""
    assert reply is not None, 'silence'
    assert reply[:2] == b'\x12\x34' and reply[2] & 0x80
    low = reply[3] & 15
    try:
        return int(dns.message.from_wire(reply).rcode())
    except Exception:
        return low


def edns(udp_size=1232, ext=0, version=0, flags=0, options=b'', name=b'\0'):
    return name + struct.pack('!HHBBHH', 41, udp_size, ext, version, flags, len(options)) + options


ANSWERED = {
    'no question': (packet(qd=0, question=b''), FORMERR),
    'two questions': (packet(qd=2, question=(CASINO + b'\0\1\0\1') * 2), FORMERR),
    'question count without question': (packet(question=b''), FORMERR),
    'many questions announced': (packet(qd=65535), FORMERR),
    'question cut off in the name': (packet(question=CASINO[:5]), FORMERR),
    'question cut off in the type': (packet(question=CASINO + b'\0'), FORMERR),
    'trailing octets': (packet(rest=b'junk'), FORMERR),
    'label longer than 63': (packet(question=b'\x50' + b'a' * 80 + b'\0\0\1\0\1'), FORMERR),
    'name longer than 255': (packet(question=(b'\x3f' + b'a' * 63) * 4 + b'\0\0\1\0\1'), FORMERR),
    'pointer to itself': (packet(question=b'\xc0\x0c\0\1\0\1'), FORMERR),
    'pointer loop': (packet(question=b'\xc0\x0e\xc0\x0c\0\1\0\1'), FORMERR),
    'pointer forward': (packet(question=b'\xc0\xff\0\1\0\1'), FORMERR),
    'extended label type': (packet(question=b'\x41\x01\0\0\1\0\1'), FORMERR),
    'records announced that are not there': (packet(an=5, ns=5, ar=5), FORMERR),
    'record cut off': (packet(ar=1, rest=OPT[:6]), FORMERR),
    'record longer than the packet': (packet(ar=1, rest=b'\0\0\1\0\1\0\0\0\0\xff\xff'), FORMERR),
    'two OPT records': (packet(ar=2, rest=OPT * 2), FORMERR),
    'OPT with a name': (packet(ar=1, rest=edns(name=CASINO)), FORMERR),
    'OPT option cut off': (packet(ar=1, rest=edns(options=b'\0\x0a\0\x20abcd')), FORMERR),
    'cookie of a wrong length': (packet(ar=1, rest=edns(options=b'\0\x0a\0\x03abc')), FORMERR),
    'EDNS version 1': (packet(ar=1, rest=edns(version=1)), BADVERS),
    'EDNS version 255': (packet(ar=1, rest=edns(version=255)), BADVERS),
    'opcode IQUERY': (packet(flags=0x0900), NOTIMP),
    'opcode STATUS': (packet(flags=0x1100), NOTIMP),
    'opcode NOTIFY': (packet(flags=0x2100), NOTIMP),
    'opcode UPDATE': (packet(flags=0x2900), NOTIMP),
    'opcode 15': (packet(flags=0x7900), NOTIMP),
    'class HESIOD': (packet(question=CASINO + b'\0\1\0\4'), REFUSED),
    'class 0': (packet(question=CASINO + b'\0\1\0\0'), REFUSED),
    'class ANY': (packet(question=CASINO + b'\0\1\0\xff'), REFUSED),
    'class NONE': (packet(question=CASINO + b'\0\1\0\xfe'), REFUSED),
    'transfer': (packet(question=OTHER + b'\0\xfc\0\1'), REFUSED),
    'incremental transfer': (packet(question=OTHER + b'\0\xfb\0\1'), REFUSED),
    'transfer of a blocked name': (packet(question=CASINO + b'\0\xfc\0\1'), NXDOMAIN),
}


@pytest.mark.parametrize('what', ANSWERED)
def test_bad_query_gets_its_rcode(u, what):
    octets, expected = ANSWERED[what]
    assert rcode(u.ask_raw(octets)) == expected


@pytest.mark.parametrize('octets', [b'', b'\0', b'\x12\x34\x01\0\0\1', packet()[:11], packet(flags=0x8180), packet(flags=0x8000, an=1),
                                    packet(flags=0xffff), packet(flags=0x8180, qd=0, question=b'')])
def test_fragments_of_a_header_and_responses_get_silence(u, octets):
    assert u.ask_raw(octets, timeout=0.3) is None


def test_stranger_gets_no_more_than_a_refusal_for_bad_queries(u):
    for octets, _ in ANSWERED.values():
        reply = u.ask_raw(octets, STRANGER, timeout=0.2)
        assert reply is None or len(reply) <= len(octets) + 40


def test_other_records_in_a_query_are_skipped(u):
    tsig = b'\x03key\0' + struct.pack('!HHIH', 250, 255, 0, 4) + b'abcd'
    reply = dns.message.from_wire(u.ask_raw(packet(ar=2, rest=OPT + tsig)), ignore_trailing=True)
    assert reply.rcode() == 3


def test_udp_size_below_512_counts_as_512(u):
    reply = u.ask_raw(packet(ar=1, rest=edns(udp_size=10)))
    assert rcode(reply) == 3


def test_largest_packets_and_unknown_options(u):
    padding = b'\0\x0c' + struct.pack('!H', 60000) + b'\0' * 60000
    u.ask_raw(packet(ar=1, rest=edns(options=padding)), timeout=0.3)
    assert rcode(u.ask_raw(packet(ar=1, rest=edns(options=b'\xfd\xe9\0\4abcd\0\x08\0\7\0\1\x18\0\x0a\x14\0')))) == 3


def test_random_and_mutated_packets(u):
    dice = random.Random(20)
    good = packet(ar=1, rest=edns(options=b'\0\x0a\0\x08abcdefgh'))
    with u.datagrams() as s:
        s.setblocking(False)
        for i in range(20000):
            octets = bytearray(dice.randbytes(dice.randrange(0, 80)) if i % 4 == 0 else good[:dice.randrange(1, len(good) + 1)] if i % 4 == 1 else good)
            for _ in range(dice.randrange(0, 6)):
                if octets:
                    octets[dice.randrange(len(octets))] = dice.randrange(256)
            try:
                s.send(octets)
                while i % 50 == 0:
                    s.recv(65535)
            except BlockingIOError:
                if i % 500 == 0:
                    time.sleep(0.01)


# ---- TCP -----------------------------------------------------------------------------------------------------------------------

def closed(connection, within_s=6):
    """True if the other side closes without another answer."""
    connection.settimeout(within_s)
    try:
        return connection.recv(10) == b''
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def test_pipelined_queries_are_all_answered_a_slow_one_holds_up_none(u):
    with u.connect() as c:
        slow = bytearray(dns.message.make_query('d700.pipeline.slow.com', 'A').to_wire())
        slow[:2] = b'\xff\xff'
        c.sendall(framed(bytes(slow)))
        for i in range(100):
            c.sendall(framed(struct.pack('!H', i) + packet()[2:]))
        ids = [receive(c)[:2] for _ in range(101)]
        assert sorted(ids[:100]) == [struct.pack('!H', i) for i in range(100)] and ids[100] == b'\xff\xff'


def test_query_in_single_octets_is_answered(u):
    with u.connect() as c:
        for octet in framed(packet()):
            c.sendall(bytes([octet]))
            time.sleep(0.005)
        assert receive(c)[3] & 15 == 3


@pytest.mark.parametrize('octets', [b'\0\0', framed(b'abc'), framed(packet(flags=0x8180))])
def test_framed_nonsense_ends_the_stream_or_is_passed_over(u, octets):
    with u.connect() as c:
        c.sendall(octets)
        c.sendall(framed(packet()))
        c.settimeout(5)
        try:
            reply = receive(c)
        except ConnectionError:
            reply = None
        assert reply is None or reply[:2] == b'\x12\x34'


def test_length_that_promises_more_than_comes_is_given_up(u):
    with u.connect() as c:
        c.sendall(b'\xff\xff' + packet())
        assert closed(c)
    with u.connect() as c:
        c.sendall(framed(packet())[:-3])
        c.shutdown(socket.SHUT_WR)
        assert closed(c)


def test_bad_query_over_tcp_gets_its_rcode(u):
    with u.connect() as c:
        c.sendall(framed(packet(qd=2, question=(CASINO + b'\0\1\0\1') * 2)))
        assert receive(c)[3] & 15 == FORMERR


def test_half_closed_client_still_gets_its_answer(u):
    with u.connect() as c:
        c.sendall(framed(packet()))
        c.shutdown(socket.SHUT_WR)
        assert receive(c)[3] & 15 == 3


def test_client_that_does_not_read_is_given_up(u):
    with u.connect() as c:
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        big = framed(dns.message.make_query('huge.big.com', 'TXT').to_wire())
        c.settimeout(0.2)
        try:
            for _ in range(3000):
                c.sendall(big)
        except (TimeoutError, ConnectionError):
            pass
        began = time.monotonic()
        assert u.ask('casino.com').blocked and u.ask('www.plain.com', tcp=True).addresses
        assert time.monotonic() - began < 1


def test_client_that_goes_away_with_questions_open(u):
    for _ in range(20):
        c = u.connect()
        for i in range(5):
            c.sendall(framed(dns.message.make_query(f'd300.away{i}.slow.com', 'A').to_wire()))
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        c.close()
    time.sleep(0.5)


def test_idle_connection_is_closed_in_time(u):
    with u.connect() as c:
        c.sendall(framed(packet()))
        receive(c)
        began = time.monotonic()
        assert closed(c, 8)
        assert 2 < time.monotonic() - began < 6


def test_connections_of_one_client_are_capped_and_others_are_not_touched(u):
    greedy = '10.20.8.8'
    connections = [u.connect(greedy) for _ in range(60)]
    time.sleep(0.3)
    living = 0
    for c in connections:
        c.settimeout(2)
        try:
            c.sendall(framed(packet()))
            living += receive(c) is not None
        except OSError:
            pass
    assert 20 <= living <= 30
    assert u.ask('casino.com', client='10.20.8.9', tcp=True).blocked
    for c in connections:
        c.close()


def test_thousand_slow_and_silent_clients_while_others_are_served(u):
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]), resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    clients = [f'10.20.{100 + i // 25}.{i % 25 + 1}' for i in range(1000)]
    connections = []
    try:
        for i, client in enumerate(clients):
            c = u.connect(client, timeout=10)
            if i % 3 == 1:
                c.sendall(b'\0')
            if i % 3 == 2:
                c.sendall(framed(packet())[:10])
            connections.append(c)
        began = time.monotonic()
        for i in range(50):
            assert u.ask('casino.com', tcp=i % 2 == 0).blocked
            assert u.ask('www.plain.com', client=PUPIL6, tcp=i % 2 == 1).addresses
        assert time.monotonic() - began < 3
        assert eventually(lambda: all_closed(connections), 10, every_s=0.2), 'silent clients are kept for ever'
    finally:
        for c in connections:
            c.close()


def all_closed(connections):
    for c in connections:
        c.setblocking(False)
        try:
            if c.recv(1) != b'':
                return False
        except BlockingIOError:
            return False
        except ConnectionError:
            pass
    return True
