"""Issue 4 point 5: TCP. Thousands of idle connections cost little, one client's connections and slowness are its own trouble."""

import resource
import socket
import struct
import threading
import time
from contextlib import contextmanager

import dns.edns
import pytest

from usher import PLAIN_BUILD, eventually, framed, receive, usherd, wire

LISTS = {'gambling': ['casino.com']}
IDLE = 3000


@pytest.fixture(scope='module', autouse=True)
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, IDLE + 1000)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def query(name, type='A', number=0x1234):
    return framed(wire(name, type, number))


def private_octets(pid):
    """Anonymous memory of a process: heap and stacks, no files."""
    rows = open(f'/proc/{pid}/smaps_rollup').read().split('\n')
    return next(int(row.split()[1]) * 1024 for row in rows if row.startswith('Anonymous:'))


@contextmanager
def connections(u, count, each=20):
    """So many connections, `each` of them a client."""
    opened = []
    try:
        for i in range(count):
            opened.append(u.connect(f'10.20.{100 + i // each // 200}.{i // each % 200 + 1}', timeout=10))
        yield opened
    finally:
        for c in opened:
            c.close()


def test_idle_connection_costs_less_than_a_kibibyte(lab):
    with usherd({'workers': 2, 'limits': {'tcp-clients': 4000, 'tcp-idle': '60s'}}, LISTS, build=PLAIN_BUILD) as u:
        with connections(u, 50) as warm:
            for c in warm:
                c.sendall(query('casino.com'))
                receive(c)
        assert eventually(lambda: u.stats()['tcp']['closed'] >= 50, 5)
        before = private_octets(u.process.pid)
        with connections(u, IDLE) as idle:
            for c in idle:
                c.sendall(query('casino.com'))
            for c in idle:
                assert receive(c)[3] & 15 == 3
            grown = private_octets(u.process.pid) - before
            print(f'{grown / IDLE:.0f} octets a connection')
            assert grown / IDLE < 1024, f'{grown / IDLE:.0f} octets a connection'


@pytest.fixture(scope='module')
def u(lab):
    """One worker, so that every connection is its own and the limits are exact."""
    with usherd({'workers': 1, 'limits': {'tcp-clients': 40, 'tcp-idle': '1500ms'}}, LISTS) as u:
        yield u


def open_ones(u):
    return u.stats()['tcp']['clients']


@pytest.fixture(autouse=True)
def all_gone(request):
    """Every story begins without connections."""
    if 'u' in request.fixturenames:
        u = request.getfixturevalue('u')
        assert eventually(lambda: open_ones(u) == 0, 5)


def living(connection):
    connection.sendall(query('casino.com'))
    try:
        return receive(connection) is not None
    except ConnectionError:
        return False


def test_flood_of_connections_ends_those_idle_longest_and_not_the_ones_in_use(u):
    before = u.stats()['tcp']
    with connections(u, 40) as first:
        assert all(living(c) for c in first)
        slow = first[7]
        slow.sendall(query('d100.flood.slow.com'))
        assert living(first[3]), 'used once more: no longer the one idle longest'
        with connections(u, 20, each=5) as flood:
            assert all(living(c) for c in flood)
            assert living(first[3])
            assert receive(slow)[3] & 15 == 0, 'the one that waits for its answer keeps its place'
            after = u.stats()['tcp']
            assert after['clients'] == 40
            assert after['closed_cap'] - before['closed_cap'] == 20 and after['refused'] == before['refused']


def test_client_that_never_reads_is_ended_and_holds_little_memory(lab):
    with usherd({'workers': 1, 'limits': {'tcp-idle': '1500ms'}}, LISTS, build=PLAIN_BUILD) as u:
        assert u.ask('big.big.com', 'TXT', tcp=True).types == ['TXT']
        before = private_octets(u.process.pid)
        with connections(u, 60) as greedy:
            for c in greedy:
                c.settimeout(0.05)
                try:
                    c.sendall(query('big.big.com', 'TXT') * 2000)
                except TimeoutError:
                    pass
            assert eventually(lambda: u.stats()['queries']['tcp'] > 60 * 5, 3)
            assert private_octets(u.process.pid) - before < 24 << 20
            assert u.ask('casino.com', tcp=True).blocked
            assert eventually(lambda: u.stats()['tcp']['closed_slow'] >= 60, 4), str(u.stats()['tcp'])
        assert eventually(lambda: u.stats()['tcp']['clients'] == 0, 4)


def test_client_that_reads_and_writes_an_octet_now_and_then_is_ended(u):
    before = u.stats()['tcp']
    with u.connect() as writer, u.connect() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        reader.settimeout(0.1)
        try:
            for _ in range(300):
                reader.sendall(query('huge.big.com', 'TXT'))
        except TimeoutError:
            pass
        began = time.monotonic()
        writer.settimeout(0.2)
        octets = iter(query('casino.com') + bytes(100))
        try:
            while True:
                writer.send(bytes([next(octets)]))
                reader.recv(1)
                try:
                    if writer.recv(1) == b'':
                        break
                except TimeoutError:
                    pass
        except ConnectionError:
            pass
        assert 1 < time.monotonic() - began < 4
        assert eventually(lambda: u.stats()['tcp']['closed_slow'] > before['closed_slow'], 4)


def test_answers_leave_as_they_come_and_in_any_order(u):
    with u.connect() as c:
        names = ['d600.order.slow.com', 'd200.order.slow.com', 'casino.com']
        c.sendall(b''.join(query(name, number=i) for i, name in enumerate(names)))
        assert [receive(c)[1] for _ in names] == [2, 1, 0]


def test_more_questions_than_may_wait_are_all_answered(u):
    with u.connect(timeout=10) as c:
        c.sendall(b''.join(query(f'd30.w{i}.slow.com', number=i) for i in range(250)))
        assert sorted(struct.unpack('!H', receive(c)[:2])[0] for _ in range(250)) == list(range(250))


def test_blocked_and_cached_questions_of_one_piece_get_each_its_own_answer_and_are_counted_once(u):
    u.ask('www.plain.com')
    before = u.stats()
    names = ['casino.com', 'www.plain.com', 'www.casino.com'] * 30
    piece = b''.join(query(name, number=number) for number, name in enumerate(names))
    with u.connect(timeout=10) as c:
        c.sendall(piece[:-7])
        answers = [receive(c) for _ in names[1:]]
        c.sendall(piece[-7:])
        answers.append(receive(c))
    for number, (name, answer) in enumerate(zip(names, answers)):
        answer = dns.message.from_wire(answer)
        assert (answer.id, answer.question[0].name.to_text()) == (number, name + '.'), 'in the order of the questions'
        assert answer.rcode() == (0 if name == 'www.plain.com' else 3)
    after = u.stats()
    assert after['queries']['tcp'] - before['queries']['tcp'] == len(names)
    assert sum(after['latency_us']['count']) - sum(before['latency_us']['count']) == len(names)


def test_what_is_no_question_ends_the_connection_and_questions_before_it_are_answered(u):
    before = u.stats()['queries']['tcp']
    with u.connect(timeout=10) as c:
        c.sendall(query('casino.com') * 3 + query('d300.last.slow.com', number=7) + struct.pack('!H', 5) + b'abcde' + query('casino.com'))
        assert [receive(c)[1] for _ in range(4)] == [0x34] * 3 + [7]
        assert receive(c) is None
    assert u.stats()['queries']['tcp'] == before + 4
    assert eventually(lambda: open_ones(u) == 0, 1)


def test_answers_arrive_and_no_reset_although_more_comes_behind_what_is_no_question(u):
    with u.connect(timeout=10) as c:
        c.sendall(query('casino.com') + query('d300.kept.slow.com', number=7) + struct.pack('!H', 5))
        time.sleep(0.1)
        c.sendall(b'x' * 100_000)
        assert [receive(c)[1] for _ in range(2)] == [0x34, 7]
        assert receive(c) is None, 'an end, not ECONNRESET'
        c.sendall(b'x' * 1000)
        assert receive(c) is None and open_ones(u) == 1
        assert eventually(lambda: open_ones(u) == 0, 3), 'who does not end is not waited for longer than for an idle one'
    with u.connect(timeout=10) as c:
        c.sendall(struct.pack('!H', 5))
        assert receive(c) is None
        with pytest.raises(ConnectionError):
            for _ in range(100):
                c.sendall(b'x' * 100_000)
        assert eventually(lambda: open_ones(u) == 0, 1), 'nor is more read than a little'


def test_query_of_the_greatest_length_in_pieces_gets_its_answer(u):
    # Octets behind the message: malformed, and to be told so.
    octets = framed(wire('casino.com', number=0x1234).ljust(65535, b'\0'))
    with u.connect() as c:
        for at in range(0, len(octets), 9000):
            c.sendall(octets[at:at + 9000])
            time.sleep(0.005)
        assert receive(c)[:2] == b'\x12\x34'
        assert living(c)


def test_client_that_asks_is_told_how_long_it_may_be_idle(u):
    asked = [dns.edns.GenericOption(dns.edns.OptionType(11), b'')]
    told = [o.data for o in u.ask('casino.com', tcp=True, options=asked).message.options if o.otype == 11]
    assert told == [struct.pack('!H', 15)], 'RFC 7828: in tenths of a second'
    assert not any(o.otype == 11 for o in u.ask('casino.com', tcp=True).message.options), 'RFC 7828 3.2.2: only who asks'
    assert not any(o.otype == 11 for o in u.ask('casino.com', options=asked).message.options), 'and never over UDP'


def test_end_in_the_middle_of_many_questions_is_a_good_one(lab):
    with usherd({'workers': 2}, LISTS) as u, connections(u, 60) as asking:
        for c in asking:
            c.setblocking(False)
        ending = threading.Event()

        def ask_on():
            number = 0
            while not ending.is_set():
                for c in asking:
                    try:
                        c.send(query(f'd900.e{number}.slow.com'))
                    except OSError:
                        pass
                    number += 1

        thread = threading.Thread(target=ask_on)
        thread.start()
        try:
            time.sleep(0.4)
            u.stop()
        finally:
            ending.set()
            thread.join()
