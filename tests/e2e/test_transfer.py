"""A trust publishes its list as a response policy zone: fetched by transfer, signed or not, whole or as what changed."""

import socket
import struct
import subprocess
import threading
import time

import dns.message
import dns.query
import dns.rcode
import dns.rrset
import dns.tsigkeyring
import pytest

import lab as laboratory
from usher import Usherd, eventually, make_folder, remove_folder, usherd

SECRET, OTHER = 'c2VjcmV0IG9mIHRoZSB0ZXN0cyBvZiBsaXN0cw==', 'YW5vdGhlciBzZWNyZXQgYWx0b2dldGhlciwgaGVyZQ=='
KEY = {'name': 'lists.example', 'algorithm': 'hmac-sha256', 'secret': SECRET}
ZONE = 'rpz.trust.example'
numbers = iter(range(10, 250))


def zone_text(serial, names, extra=''):
    head = f'$ORIGIN {ZONE}.\n$TTL 300\n@ SOA ns hostmaster {serial} 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\n'
    return head + ''.join(f'{name} CNAME .\n*.{name} CNAME .\n' for name in names) + extra


class Primary:
    """A name server with the zone, on an address of its own."""

    def __init__(self, names, key=False, extra=''):
        self.folder = make_folder('primary')
        self.address = f'10.77.0.{next(numbers)}'
        self.names, self.serial, self.key, self.extra = list(names), 1, key, extra
        self.zone = self.folder / f'{ZONE}.zone'
        self.write()
        self.process = None

    def write(self):
        self.zone.write_text(zone_text(self.serial, self.names, self.extra))

    def source(self, **more):
        return {'name': 'trust', 'url': f'axfr://{self.address}@53/{ZONE}', 'format': 'rpz', 'category': 'gambling', **more}

    def __enter__(self):
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        preexec_fn=laboratory.die_with_parent)
        assert eventually(lambda: self.now() == self.serial, 10)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)
        remove_folder(self.folder)

    def now(self):
        """The serial that it serves."""
        query = dns.message.make_query(ZONE, 'SOA')
        try:
            return dns.query.tcp(query, self.address, timeout=1).answer[0][0].serial
        except (OSError, IndexError, EOFError):
            return None

    def publish(self, names, serial=None):
        self.names, self.serial = list(names), self.serial + 1 if serial is None else serial
        self.write()
        self.reload()
        assert eventually(lambda: self.now() == self.serial, 10)


class Nsd(Primary):
    def command(self):
        acl = 'lists.example' if self.key else 'NOKEY'
        key = f'key:\n  name: lists.example\n  algorithm: hmac-sha256\n  secret: "{SECRET}"\n' if self.key else ''
        (self.folder / 'nsd.conf').write_text(
            f'server:\n  ip-address: {self.address}\n  username: ""\n  chroot: ""\n  database: ""\n  zonelistfile: "{self.folder}/zonelist"\n'
            f'  xfrdfile: "{self.folder}/xfrd"\n  xfrdir: "{self.folder}"\n  pidfile: "{self.folder}/pid"\n  zonesdir: "{self.folder}"\n'
            f'  server-count: 1\nremote-control:\n  control-enable: no\n{key}'
            f'zone:\n  name: {ZONE}\n  zonefile: "{self.zone}"\n  provide-xfr: 0.0.0.0/0 {acl}\n  store-ixfr: yes\n  create-ixfr: yes\n')
        return ['nsd', '-d', '-c', str(self.folder / 'nsd.conf')]

    def reload(self):
        self.process.send_signal(1)


class Knot(Primary):
    def command(self):
        (self.folder / 'db').mkdir()
        key = f'key:\n - id: lists.example\n   algorithm: hmac-sha256\n   secret: {SECRET}\n' if self.key else ''
        allow = '   key: lists.example\n' if self.key else '   address: 0.0.0.0/0\n'
        (self.folder / 'knot.conf').write_text(
            f'server:\n    rundir: "{self.folder}"\n    listen: {self.address}@53\n    tcp-workers: 1\n    udp-workers: 1\n    background-workers: 1\n'
            f'database:\n    storage: "{self.folder}/db"\n{key}acl:\n - id: all\n   action: transfer\n{allow}'
            f'zone:\n - domain: {ZONE}\n   file: "{self.zone}"\n   acl: all\n   zonefile-load: difference\n   zonefile-sync: -1\n   journal-content: changes\n')
        return ['knotd', '-c', str(self.folder / 'knot.conf')]

    def reload(self):
        self.process.send_signal(1)


@pytest.fixture
def u(lab):
    u = usherd()
    yield u
    u._forget()


def update(u, source, *words, expect=0):
    u.configure({'lists': {'sources': [source]}})
    report = u.json('lists', 'update', *words, expect=expect)[0]
    return report


def listed(u):
    return sorted(line for line in u.cli('lists', 'export').stdout.splitlines() if not line.startswith('#'))


def kept(u):
    return (u.folder / 'state/lists/sources/trust/good').read_text()


def traffic():
    """Octets on lo in our network: /sys would show that of whoever mounted it."""
    return next(int(line.split()[1]) for line in open('/proc/thread-self/net/dev') if line.split()[0] == 'lo:')


@pytest.mark.parametrize('key', [False, True], ids=['plain', 'signed'])
@pytest.mark.parametrize('primary', [Nsd, Knot])
def test_zone_is_fetched_whole_and_then_by_what_changed(u, primary, key):
    names = [f'n{i}.casino.example' for i in range(3000)]
    tsig = {'tsig': KEY} if key else {}
    with primary(names, key) as p:
        assert update(u, p.source(**tsig))['state'] == 'taken'
        assert listed(u) == sorted(names)
        assert update(u, p.source(**tsig))['state'] == 'unchanged'
        p.publish(names[1:] + ['new.casino.example'])
        p.publish(names[2:] + ['new.casino.example', 'newer.casino.example'])
        before = traffic()
        assert update(u, p.source(**tsig))['state'] == 'taken'
        assert traffic() - before < 20000, 'the whole zone came, not what changed'
        assert listed(u) == sorted(names[2:] + ['new.casino.example', 'newer.casino.example'])
        assert kept(u).splitlines()[0].split()[6] == '3'
        after_changes = sorted(kept(u).splitlines())
        assert update(u, p.source(**tsig), '--force')['state'] == 'taken'
        assert sorted(kept(u).splitlines()) == after_changes, 'AXFR says otherwise'


def test_wrong_key_is_named_and_the_last_good_list_stays(u):
    with Nsd(['a.casino.example'], key=True) as p:
        update(u, p.source(tsig=KEY))
        for tsig, words in ((dict(KEY, secret=OTHER), 'another secret'), (dict(KEY, name='other.example'), 'does not know the key'), (None, 'REFUSED')):
            p.publish([f'{p.serial}.casino.example'])
            report = update(u, p.source(**({'tsig': tsig} if tsig else {})), expect=1)
            assert report['state'] == 'failed' and words in report['why'], report
            assert listed(u) == ['a.casino.example']
        assert SECRET not in u.cli('lists', 'status').stdout + u.cli('lists', 'status', '--json').stdout


def test_unknown_zone_dead_primary_and_no_tcp(u):
    with Nsd(['a.casino.example']) as p:
        report = update(u, dict(p.source(), url=f'axfr://{p.address}/other.example'), expect=1)
        assert report['state'] == 'failed' and p.address in report['why']
    report = update(u, p.source(), expect=1)
    assert 'refused' in report['why'].lower()


def test_serial_that_goes_back_fails_and_is_taken_by_force(u):
    with Nsd(['a.casino.example', 'b.casino.example']) as p:
        p.publish(p.names, serial=50)
        update(u, p.source())
    q = Nsd(['c.casino.example', 'd.casino.example'])
    q.address = p.address
    with q:
        report = update(u, q.source(), expect=1)
        assert report['state'] == 'failed' and 'serial went back from 50 to 1' in report['why']
        assert listed(u) == ['a.casino.example', 'b.casino.example']
        assert update(u, q.source(), '--force')['state'] == 'taken'
        assert listed(u) == ['c.casino.example', 'd.casino.example']


def test_serial_goes_around_the_end_of_numbers(u):
    with Nsd(['a.casino.example', 'b.casino.example']) as p:
        p.publish(p.names, serial=0xfffffff0)
        update(u, p.source())
    q = Nsd(['a.casino.example', 'c.casino.example'])
    q.address, q.serial = p.address, 5
    q.write()
    with q:
        assert update(u, q.source())['state'] == 'taken'


# ---- a primary that does as it likes -----------------------------------------------------------------------------------------


class Liar(threading.Thread):
    """Answers each query with messages that transfer(query) yields; ends the connection after None."""

    def __init__(self, soa_serial, transfer):
        super().__init__(daemon=True)
        self.soa_serial, self.transfer = soa_serial, transfer
        self.address = f'10.77.0.{next(numbers)}'
        self.listener = socket.create_server((self.address, 53))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def source(self, **more):
        return {'name': 'trust', 'url': f'axfr://{self.address}/{ZONE}', 'category': 'gambling', **more}

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                try:
                    self.serve(connection)
                except (OSError, struct.error, EOFError):
                    pass

    def serve(self, connection):
        while True:
            length, = struct.unpack('!H', connection.recv(2, socket.MSG_WAITALL))
            query = dns.message.from_wire(connection.recv(length, socket.MSG_WAITALL))
            for message in [reply(query, soa(self.soa_serial))] if query.question[0].rdtype == 6 else self.transfer(query):
                if message is None:
                    return
                wire = message if isinstance(message, bytes) else message.to_wire()
                connection.sendall(struct.pack('!H', len(wire)) + wire)


def reply(query, *records):
    message = dns.message.make_response(query)
    message.answer = [dns.rrset.from_text(*record) for record in records]
    return message


def soa(serial):
    return f'{ZONE}.', 300, 'IN', 'SOA', f'ns.{ZONE}. host.{ZONE}. {serial} 3600 600 86400 60'


def bad(name):
    return f'{name}.{ZONE}.', 300, 'IN', 'CNAME', '.'


GOOD = [soa(7), bad('a.casino.example'), bad('b.casino.example'), soa(7)]
LIES = {
    'half': (lambda q: [reply(q, *GOOD[:2]), None], 'broke off'),
    'changed on its way': (lambda q: [reply(q, *GOOD[:3], soa(8))], 'changed on its way'),
    'no soa first': (lambda q: [reply(q, GOOD[1])], 'does not begin with a SOA'),
    'of another zone': (lambda q: [reply(q, soa(7), ('a.other.example.', 300, 'IN', 'CNAME', '.'), soa(7))], 'not of the zone'),
    'more than the end': (lambda q: [reply(q, *GOOD, bad('c.casino.example'))], 'after the end'),
    'empty messages': (lambda q: [reply(q)], 'without records'),
    'an empty zone': (lambda q: [reply(q, soa(7), soa(7))], 'empty'),
    'octets': (lambda q: [b'\0' * 40], 'no answer'),
    'short': (lambda q: [b'\0'], 'no answer'),
    'malformed': (lambda q: [reply(q, *GOOD).to_wire()[:-20]], 'malformed'),
    'nothing': (lambda q: [None], 'broke off'),
    'without end': (lambda q: (reply(q, *(GOOD[:1] if i == 0 else []), *(bad(f'{i}-{k}.casino.example') for k in range(300))) for i in range(100000)), 'larger than'),
    'older than it said': (lambda q: [reply(q, soa(3), bad('x.casino.example'), soa(3))], 'before the one held'),
}


@pytest.mark.parametrize('lie', LIES)
def test_half_or_false_transfer_fails_with_the_reason(u, lie):
    transfer, words = LIES[lie]
    truth = [True]
    with Liar(6, lambda q: [reply(q, soa(6), bad('a.casino.example'), soa(6))] if truth[0] else transfer(q)) as p:
        u.configure({'lists': {'max-size': '1MiB'}})
        update(u, p.source())
        truth[0], p.soa_serial = False, 7
        report = update(u, p.source(), expect=1)
        assert report['state'] == 'failed' and words in report['why'], report
        assert listed(u) == ['a.casino.example']
        assert sorted(f.name for f in (u.folder / 'state/lists/sources/trust').iterdir()) == ['good', 'good.json', 'state.json']


def test_changes_that_do_not_fit_bring_the_whole_zone(u):
    asked = []

    def transfer(q):
        asked.append(q.question[0].rdtype)
        if q.question[0].rdtype == 251:
            return [reply(q, soa(7), soa(6), bad('never.casino.example'), soa(7), bad('b.casino.example'), soa(7))]
        return [reply(q, *GOOD)] if len(asked) > 1 else [reply(q, soa(6), bad('a.casino.example'), soa(6))]

    with Liar(6, transfer) as p:
        update(u, p.source())
        p.soa_serial = 7
        assert update(u, p.source())['state'] == 'taken'
        assert listed(u) == ['a.casino.example', 'b.casino.example'] and asked == [252, 251, 252]


def test_slow_primaries_are_waited_for_side_by_side(u):
    """Each of three answers only once all three have been asked."""
    all_asked = threading.Barrier(3, timeout=15)

    def transfer(q):
        all_asked.wait()
        return [reply(q, soa(6), bad('a.casino.example'), soa(6))]

    with Liar(6, transfer) as p, Liar(6, transfer) as q, Liar(6, transfer) as r:
        u.configure({'lists': {'sources': [primary.source(name=f'trust{i}') for i, primary in enumerate((p, q, r))]}})
        assert [report.get('state') for report in u.json('lists', 'update')][:3] == ['taken'] * 3


def test_unsigned_answer_to_a_signed_query_is_refused(u):
    with Liar(6, lambda q: [reply(q, *GOOD)]) as p:
        p.serve = lambda connection: serve_unsigned(p, connection)
        report = update(u, p.source(tsig=KEY), expect=1)
        assert 'not signed' in report['why']


def serve_unsigned(p, connection):
    length, = struct.unpack('!H', connection.recv(2, socket.MSG_WAITALL))
    query = dns.message.from_wire(connection.recv(length, socket.MSG_WAITALL), keyring=dns.tsigkeyring.from_text({KEY['name']: SECRET}))
    plain = dns.message.make_query(ZONE, 'SOA')
    plain.id = query.id
    wire = reply(plain, soa(6)).to_wire()
    connection.sendall(struct.pack('!H', len(wire)) + wire)
    time.sleep(0.2)
