"""Issue 4 point 6: more questions than can be answered. One client's flood is its own trouble, and everybody's is shed fairly."""

import signal
import socket
import struct
import threading
import time

from usher import PUPIL, STAFF, STRANGER, eventually, framed, profile, signal_process, usherd, wire

LISTS = {'gambling': ['casino.com']}
FLOOD = '10.20.66.6'


def test_random_names_of_one_client_take_no_place_from_the_others_whatever_port_they_come_from(lab):
    """Two workers: a client's ports spread over both, its limit does not double."""
    with usherd({'limits': {'in-flight': 200, 'in-flight-per-client': 40}}, LISTS) as u:
        sockets = [u.datagrams(FLOOD) for _ in range(10)]
        try:
            for i in range(300):
                sockets[i % 10].send(wire(f'd2500.r{i}.slow.com', number=i))
            assert eventually(lambda: u.stats()['recursion']['refused_client'] == 260, 2), u.stats()['recursion']
            assert 40 <= u.stats()['recursion']['in_flight'] <= 42, 'the pulse may be among them'
            assert u.ask('www.plain.com', client=PUPIL).addresses == ['192.0.2.1']
            assert u.ask('many1.many.com', client=STAFF, timeout=2).rcode in ('NOERROR', 'NXDOMAIN')
            assert u.stats()['answers']['limited'] == 260
        finally:
            for s in sockets:
                s.close()
        assert eventually(lambda: u.stats()['recursion']['in_flight'] <= 1, 8), 'the places come back'


def test_connections_that_ask_and_go_away_do_not_get_around_the_limit(lab):
    with usherd({'limits': {'in-flight': 400, 'in-flight-per-client': 40}}, LISTS) as u:
        for c in range(8):
            with u.connect(FLOOD) as connection:
                connection.sendall(b''.join(framed(wire(f'd3000.c{c}x{i}.slow.com')) for i in range(30)))
                assert eventually(lambda: u.stats()['queries']['tcp'] == 30 * (c + 1), 1)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        assert eventually(lambda: u.stats()['tcp']['clients'] == 0, 1)
        assert u.stats()['recursion']['in_flight'] <= 42
        assert u.ask('www.plain.com', client=PUPIL, timeout=2).addresses == ['192.0.2.1']


def test_many_floods_leave_a_newcomer_its_place_and_the_known_names_stale(lab):
    """Upstream is dead and eight clients flood: who knew a name keeps it, and nobody waits longer than five seconds."""
    with usherd({'workers': 1, 'limits': {'in-flight': 60, 'in-flight-per-client': 60}}, LISTS) as u:
        lab.flaky.ttl = 1
        assert u.ask('known.flaky.com').addresses == ['192.0.2.70']
        time.sleep(2.1)                         # the recursor counts whole seconds too
        lab.flaky.mode = 'silent'
        floods = [u.datagrams(f'10.20.66.{i + 1}') for i in range(8)]
        try:
            for i in range(100):
                for s in floods:
                    s.send(wire(f'r{i}x{s.getsockname()[0][-1]}.flaky.com', number=i))
            assert eventually(lambda: u.stats()['recursion']['refused_client'] > 600, 2)
            began = time.monotonic()
            stale = u.ask('known.flaky.com')
            assert stale.addresses == ['192.0.2.70'] and stale.ede == 3
            assert time.monotonic() - began < 2.2
            assert u.ask('www.plain.com', timeout=3).addresses == ['192.0.2.1'], 'a newcomer finds a place'
            floods[0].settimeout(6)
            began = time.monotonic()
            assert u.ask('never-seen.flaky.com').rcode == 'SERVFAIL'
            assert time.monotonic() - began < 5.5
        finally:
            for s in floods:
                s.close()


def test_flood_of_names_asked_once_leaves_the_names_of_the_school_in_the_cache(lab):
    with usherd({'cache': {'size': '1MiB'}}, LISTS) as u:
        school = [f'school{i}.many.com' for i in range(200)]
        for _ in range(3):
            for name in school:
                assert u.ask(name).rcode == 'NOERROR'
        with u.load([f'r{i}.flood.many.com' for i in range(4000)], clients=(FLOOD,), rate=2500):
            time.sleep(2.5)
        asked = u.stats()['upstream']['queries']
        for name in school:
            u.ask(name)
        assert u.stats()['upstream']['queries'] - asked < 10


def burst(sockets, count, octets):
    for i in range(count):
        sockets[i % len(sockets)].send(struct.pack('!H', i) + octets[2:])


def replies(sockets, within_s=0.5):
    got = []
    deadline = time.monotonic() + within_s
    for s in sockets:
        while True:
            s.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                got.append(s.recv(4096))
            except TimeoutError:
                break
    return got


def test_rate_limit_is_the_clients_whatever_port_it_comes_from(lab):
    """Two workers, many ports: the limit is what the configuration says, and what goes over it is told to come by TCP."""
    config = {'profiles': [profile('pupils', rate_limit=50), profile('staff'), profile('guest')]}
    with usherd(config, LISTS) as u:
        sockets = [u.datagrams(FLOOD) for _ in range(16)]
        try:
            sent = wire('casino.com')
            burst(sockets, 400, sent)
            got = replies(sockets)
            whole = [r for r in got if not r[2] & 2]
            told = [r for r in got if r[2] & 2]
            assert 100 <= len(whole) <= 100 + 50, 'two seconds at once, and what the sending took'
            assert 0.4 * 400 - 80 <= len(told) <= 0.6 * 400, 'half of the rest: less leaves than comes'
            assert all(len(r) <= len(sent) for r in told)
            assert u.stats()['answers']['limited'] == 400 - len(whole)
            assert u.ask('casino.com', client=PUPIL).blocked, 'nobody else is limited'
        finally:
            for s in sockets:
                s.close()


def test_strangers_get_few_refusals_and_none_of_the_others_places(lab):
    with usherd(None, LISTS) as u:
        sockets = [u.datagrams(STRANGER) for _ in range(4)]
        try:
            sent = wire('casino.com')
            burst(sockets, 1000, sent)
            got = replies(sockets)
            assert 200 <= len(got) <= 300 and all(r[3] & 15 == 5 for r in got)
            assert sum(map(len, got)) < len(sent) * 1000
            assert u.ask('casino.com').blocked
        finally:
            for s in sockets:
                s.close()


def test_backlog_loses_its_oldest_and_who_comes_then_is_answered_soon(lab):
    """usherd stands still in the middle of a flood: what waited for half a second is dropped unread, the rest is answered."""
    with usherd({'workers': 1}, LISTS) as u:
        ending = threading.Event()

        def flood():
            octets = wire('casino.com')
            with u.datagrams(FLOOD) as s:
                while not ending.is_set():
                    for _ in range(500):
                        s.send(octets)

        def stood_still():
            signal_process(u.process.pid, signal.SIGSTOP)
            time.sleep(0.8)
            signal_process(u.process.pid, signal.SIGCONT)
            time.sleep(0.2)
            return u.stats()['overload']['dropped'] > 0

        floods = [threading.Thread(target=flood) for _ in range(2)]
        for thread in floods:
            thread.start()
        try:
            time.sleep(0.3)
            assert eventually(stood_still, 8)
        finally:
            ending.set()
            for thread in floods:
                thread.join()
        began = time.monotonic()
        u.await_answer()
        assert time.monotonic() - began < 2
        overload = u.stats()['overload']
        assert eventually(lambda: u.stats()['overload']['overflowed'] > 0, 3), 'and what the socket had no room for is counted'
        assert all(u.ask('casino.com').blocked for _ in range(20))
        assert u.stats()['overload']['dropped'] == overload['dropped'], 'nothing is dropped without a backlog'
