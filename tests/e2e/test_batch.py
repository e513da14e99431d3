"""Many questions in one turn of a worker: it takes up to 64 at once, and each gets its own answer."""

import signal
import struct

import dns.message
import dns.rcode

from usher import GUEST, PUPIL, STAFF, STRANGER, eventually, signal_process, usherd

LISTS = {'gambling': [f'casino{i}.com' for i in range(40)], 'adult': ['adult.com'], 'malware': ['deep.listed.example.net']}
CONFIG = {'workers': 1, 'local-records': ['intranet.school.example. 300 IN A 10.0.0.5']}


def held_back(u, packets, port=53):
    """Sends (client, octets) to an usherd that stands still, and lets it go on: they arrive together. Returns the clients' sockets."""
    sockets = {client: u.datagrams(client) for client, _ in packets}
    for s in sockets.values():
        s.connect((u.server, port))
    signal_process(u.process.pid, signal.SIGSTOP)
    for client, octets in packets:
        sockets[client].send(octets)
    signal_process(u.process.pid, signal.SIGCONT)
    return sockets


def query(number, name, type='A', **more):
    wire = dns.message.make_query(name, type, **more)
    wire.id = number
    return wire.to_wire()


def answers(sockets, count):
    """{(client, id): message} of the next answers."""
    got = {}
    for s in sockets.values():
        s.setblocking(False)

    def all_came():
        for client, s in sockets.items():
            try:
                while True:
                    message = dns.message.from_wire(s.recv(4096))
                    got[client, message.id] = message
            except BlockingIOError:
                pass
        return len(got) >= count

    assert eventually(all_came, 8), f'{len(got)} answers instead of {count}'
    return got


def test_each_of_a_batch_gets_its_own_answer(lab):
    with usherd(CONFIG, LISTS) as u:
        u.ask('www.plain.com')
        asked = []                              # client, question, rcode expected
        for i in range(40):
            asked += [(PUPIL, f'casino{i}.com', 'NXDOMAIN'), (STAFF, 'WWW.Plain.com', 'NOERROR'), (PUPIL, f'x{i}.casino{i}.com', 'NXDOMAIN'),
                      (PUPIL, 'intranet.school.example', 'NOERROR'), (GUEST, 'intranet.school.example', 'NXDOMAIN'),
                      (STAFF, 'deep.listed.example.net', 'NXDOMAIN'), (PUPIL, f'n{i}.wild.com', None), (STRANGER, 'www.plain.com', 'REFUSED')]
        packets = []
        for number, (client, name, _) in enumerate(asked):
            packets.append((client, query(number, name, use_edns=number % 3 - 1)))
            packets.append((client, struct.pack('!6H', number, 0x8000, 1, 0, 0, 0)))      # a response: silence
        sockets = held_back(u, packets)
        got = answers(sockets, len(asked))
        for number, (client, name, rcode) in enumerate(asked):
            message = got[client, number]
            assert message.question[0].name.to_text(omit_final_dot=True) == name
            assert rcode in (None, dns.rcode.to_text(message.rcode())), f'{client} {message}'
        assert not answers(sockets, 0), 'nobody got more'
        stats = u.stats()
        assert stats['answers']['blocked'] == 3 * 40 and stats['answers']['dropped'] == len(asked)
        assert stats['log']['events'] == 3 * 40


def test_answers_of_a_batch_come_from_the_address_that_was_asked(lab):
    u = usherd(CONFIG, LISTS)
    u.configure({'listen': [*u.config['listen'], '0.0.0.0@5300']})
    with u:
        packets = [(client, query(i, 'casino1.com')) for i in range(30) for client in (PUPIL, '10.20.0.6')]
        got = answers(held_back(u, packets, 5300), 60)      # a connected socket takes answers of that address alone
        assert {dns.rcode.to_text(m.rcode()) for m in got.values()} == {'NXDOMAIN'}
