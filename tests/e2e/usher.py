"""usherd under test: `with usherd(config, lists=…) as u:` starts it against the laboratory, and on leaving ends it and looks
whether it ended well: exit code 0, nothing from the sanitizers, no process left.
"""

import http.client
import itertools
import json
import math
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get('USHER_BUILD', ROOT / 'build-tests'))
PLAIN_BUILD = BUILD / 'plain'           # without sanitizers, which do not bear the sandbox

# Who asks. All addresses of these networks are on lo: see tests/lab/lab.py.
PUPIL, STAFF, GUEST = '10.20.0.5', '10.30.0.5', '10.99.0.5'
PUPIL6, STAFF6, GUEST6 = 'fd00:20::5', 'fd00:30::5', 'fd00:99::5'
HOMELESS = '192.168.7.5'                # served, in no profile's networks
STRANGER, STRANGER6 = '203.0.113.5', '2001:db8:77::5'

SCHOOL = ['adult', 'gambling', 'drugs', 'hate', 'self-harm', 'violence', 'piracy', 'malware', 'phishing', 'bypass']

# The configuration every story starts from; a story names only what it is about.
BASE = {
    'workers': 2,
    'default-profile': 'pupils',
    'recursion': {'allow-loopback': True},
    'cache': {'size': '8MiB'},
    'lists': {'starter': False},
    'profiles': [
        {'name': 'pupils', 'networks': ['10.20.0.0/16', 'fd00:20::/64'], 'block': SCHOOL + ['social', 'games'], 'rate-limit': 0},
        {'name': 'staff', 'networks': ['10.30.0.0/16', 'fd00:30::/64'], 'block': ['adult', 'malware', 'phishing', 'bypass'],
         'youtube': 'moderate', 'rate-limit': 0},
        {'name': 'guest', 'networks': ['10.99.0.0/16', 'fd00:99::/64'], 'block': SCHOOL, 'internal': False, 'keep': '30d',
         'rate-limit': 0},
    ],
}

SANITIZER_WORDS = ('AddressSanitizer', 'ThreadSanitizer', 'LeakSanitizer', 'runtime error:', 'UndefinedBehaviorSanitizer')
ENVIRONMENT = {
    **os.environ,
    'TZ': 'UTC', 'LC_ALL': 'C.UTF-8',
    'ASAN_OPTIONS': 'detect_stack_use_after_return=1',
    'UBSAN_OPTIONS': 'print_stacktrace=1:halt_on_error=1',
    'TSAN_OPTIONS': 'atexit_sleep_ms=50:second_deadlock_stack=1',
}
ENVIRONMENT.pop('JOURNAL_STREAM', None)


def make_folder(what):
    """A folder that a user without rights may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix=f'usher-{what}-'))
    folder.chmod(0o755)
    return folder


def remove_folder(folder):
    if not os.environ.get('USHER_KEEP'):
        shutil.rmtree(folder, ignore_errors=True)


def merged(base, changes):
    """changes over base: maps are merged, everything else is replaced."""
    result = deepcopy(base)
    for key, value in changes.items():
        both_maps = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both_maps else deepcopy(value)
    return result


def profile(name, **changes):
    """A profile of BASE by name, changed; underscores stand for hyphens."""
    found = next((p for p in BASE['profiles'] if p['name'] == name), {'name': name, 'rate-limit': 0})
    return merged(found, {key.replace('_', '-'): value for key, value in changes.items()})


class Answer:
    """A reply, in the words of a story. None of the fields is about the OPT record unless it says so."""

    def __init__(self, message):
        self.message = message
        self.rcode = dns.rcode.to_text(message.rcode())
        self.opt = message.edns >= 0
        self.tc = bool(message.flags & dns.flags.TC)
        self.ad = bool(message.flags & dns.flags.AD)
        self.ra = bool(message.flags & dns.flags.RA)
        self.edes = [(int(o.code), o.text or '') for o in message.options if isinstance(o, dns.edns.EDEOption)]
        self.ede, self.ede_text = self.edes[0] if self.edes else (None, '')
        self.types = [dns.rdatatype.to_text(rrset.rdtype) for rrset in message.answer]

    def records(self, type):
        number = dns.rdatatype.from_text(type)
        return [rdata for rrset in self.message.answer if rrset.rdtype == number for rdata in rrset]

    @property
    def addresses(self):
        return sorted(r.address for type in ('A', 'AAAA') for r in self.records(type))

    @property
    def cnames(self):
        return [r.target.to_text(omit_final_dot=True).lower() for r in self.records('CNAME')]

    @property
    def soa(self):
        """(TTL, MINIMUM) of the authority's SOA, None without one."""
        return next(((s.ttl, s[0].minimum) for s in self.message.authority if s.rdtype == dns.rdatatype.SOA), None)

    @property
    def ttl(self):
        return min(rrset.ttl for rrset in self.message.answer)

    @property
    def blocked(self):
        """Said to be filtered, in whatever form."""
        return self.ede in (15, 16)

    def __repr__(self):
        return f'<{self.rcode} EDE {self.edes} {self.message.answer} {self.message.authority}>'


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path, timeout=5):
        super().__init__('usher', timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Usherd:
    """One usherd with its own folder. config is merged over BASE; `{folder}` in its texts stands for the folder."""

    lab = None                          # the laboratory, set by conftest.py
    inside = []                         # words before usherd's own that start it in another namespace
    running = []
    numbers = itertools.count()

    def __init__(self, config=None, lists=None, server=None, build=BUILD):
        self.build = build
        self.folder = make_folder('e2e')
        # Addresses of its own: two that share one would share the questions too (SO_REUSEPORT).
        number = next(self.numbers)
        self.server, self.server6 = server or f'10.0.53.{number % 250 + 1}', f'fd00::53:{number % 16:x}'
        self.config = merged(BASE, {
            'listen': [f'{self.server}@53', f'{self.server6}@53'],
            'state-dir': f'{self.folder}/state', 'run-dir': f'{self.folder}/run', 'report-dir': f'{self.folder}/reports',
            'recursion': {'trust-anchor': str(self.lab.trust_anchor), 'root-hints': str(self.lab.root_hints)}})
        self.file = self.folder / 'usher.yaml'
        self.process = None
        self.log_file = self.folder / 'stderr'
        self.log_file.touch()
        if lists is not None:
            self.config['lists']['sources'] = [self.source(category, names) for category, names in lists.items()]
        self.config = merged(self.config, config or {})
        self.configure()
        if lists is not None:
            self._compile()

    # ---- life ------------------------------------------------------------------------------------------------------------

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self._forget()
            raise

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.stop()
            elif self.process:
                self.kill()
        finally:
            self._forget()

    def _compile(self):
        try:
            self.cli('lists', 'update')
        except BaseException:
            self._forget()
            raise

    def _forget(self):
        if self.process:
            self.kill()
        if self in Usherd.running:
            Usherd.running.remove(self)
        remove_folder(self.folder)

    def start(self, wait=True):
        if self not in Usherd.running:
            Usherd.running.append(self)
        with open(self.log_file, 'ab') as log:
            self.process = subprocess.Popen([*self.inside, str(self.build / 'usherd'), '-c', str(self.file)], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=ENVIRONMENT, cwd=self.folder)
        if wait:
            self.await_answer()
        return self

    def await_answer(self, within_s=15):
        """Until a name that never needs recursion is answered."""
        deadline = time.monotonic() + within_s
        while True:
            if self.process.poll() is not None:
                raise AssertionError(f'usherd ended with {self.process.returncode}:\n{self.said()}')
            try:
                return self.ask('use-application-dns.net', timeout=0.3)
            except (OSError, dns.exception.Timeout):
                if time.monotonic() > deadline:
                    raise AssertionError(f'usherd does not answer:\n{self.said()}') from None
                time.sleep(0.02)

    def stop(self, within_s=10):
        """SIGTERM, and the checks of a good end. Returns the seconds it took."""
        process, self.process = self.process, None
        if process is None:
            return 0
        children = descendants(process.pid)
        began = time.monotonic()
        process.terminate()
        try:
            process.wait(within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f'usherd did not end within {within_s} s of SIGTERM:\n{self.said()}') from None
        took = time.monotonic() - began
        assert process.returncode == 0, f'usherd ended with {process.returncode}:\n{self.said()}'
        assert gone(children), 'usherd left processes behind'
        self.check_sanitizers()
        return took

    def kill(self):
        """kill -9."""
        process, self.process = self.process, None
        children = descendants(process.pid)
        process.kill()
        process.wait()
        return children

    def restart(self):
        self.stop()
        return self.start()

    def reload(self):
        return self.cli('reload')

    def said(self):
        return self.log_file.read_text(errors='replace')

    def check_sanitizers(self):
        said = self.said()
        assert not any(word in said for word in SANITIZER_WORDS), said[-8000:]

    def recursor_pid(self, within_s=5):
        """The running recursor's process id."""
        def find():
            return next((pid for pid in descendants(self.process.pid) if 'recursor' in command_line(pid)), None)
        return eventually(find, within_s)

    # ---- files -----------------------------------------------------------------------------------------------------------

    def configure(self, changes=None):
        """Writes the configuration file anew, with changes merged in. JSON is YAML."""
        self.config = merged(self.config, changes or {})
        text = json.dumps(self.config, indent=1, ensure_ascii=False).replace('{folder}', str(self.folder))
        self.file.write_text(text)

    def write(self, name, content):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(0o644)
        return path

    def source(self, category, names):
        """A list of plain names in a file, as a source of that category's name."""
        self.write(f'{category}.txt', '\n'.join(names) + '\n')
        return {'name': category, 'url': f'file://{self.folder}/{category}.txt', 'format': 'domains', 'category': category}

    # ---- asking ----------------------------------------------------------------------------------------------------------

    def ask(self, name, type='A', client=PUPIL, *, server=None, port=53, tcp=False, edns=True, do=False, cd=False, ad=False, rd=True,
            payload=1232, options=(), rdclass='IN', timeout=8):
        query = dns.message.make_query(name, type, rdclass, use_edns=0 if edns else False, want_dnssec=do, payload=payload,
                                       options=list(options) or None)
        query.flags &= ~(dns.flags.RD | dns.flags.AD)
        query.flags |= (dns.flags.RD if rd else 0) | (dns.flags.CD if cd else 0) | (dns.flags.AD if ad else 0)
        server = server or self.address(client)
        send = dns.query.tcp if tcp else dns.query.udp
        reply = send(query, server, timeout=timeout, port=port, source=client)
        assert reply.question[0].name.labels == query.question[0].name.labels, 'the question was not echoed as it was'
        return Answer(reply)

    def ask_raw(self, octets, client=PUPIL, timeout=1.0):
        """Sends octets over UDP; the reply's octets, or None for silence."""
        with self.datagrams(client) as s:
            s.settimeout(timeout)
            s.send(octets)
            try:
                return s.recv(65535)
            except TimeoutError:
                return None

    def address(self, client):
        """Our address of the client's family."""
        return self.server6 if ':' in client else self.server

    def datagrams(self, client=PUPIL):
        """A UDP socket of the client's, connected to us."""
        s = socket.socket(socket.AF_INET6 if ':' in client else socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        s.bind((client, 0))
        s.connect((self.address(client), 53))
        return s

    def connect(self, client=PUPIL, timeout=5):
        """A TCP connection, for stories about streams."""
        return socket.create_connection((self.address(client), 53), timeout, (client, 0))

    @contextmanager
    def load(self, names, clients=(PUPIL,), rate=500, type='A', waiting=math.inf):
        """Asks the names in turn from the clients, meanwhile; afterwards the Load tells what came back. waiting: so many answers may be
        outstanding, for stories that ask upstream more than a slow machine can, and want no part in limits.in-flight-per-client."""
        load = Load(self, names, clients, rate, type, waiting)
        load.start()
        try:
            yield load
        finally:
            load.finish()

    # ---- commands and sockets --------------------------------------------------------------------------------------------

    def cli(self, *words, expect=0, timeout=60):
        """usher with our configuration. expect: the exit code, or several, or None for any."""
        result = subprocess.run([str(self.build / 'usher'), '-c', str(self.file), *map(str, words)], stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, env=ENVIRONMENT, timeout=timeout, cwd=self.folder)
        assert not any(word in result.stderr for word in SANITIZER_WORDS), result.stderr
        allowed = expect if isinstance(expect, (tuple, list, set)) else (expect,)
        assert expect is None or result.returncode in allowed, \
            f'usher {" ".join(map(str, words))} ended with {result.returncode}:\n{result.stdout}{result.stderr}'
        return result

    def json(self, *words, expect=0):
        """The objects that a command prints with --json, one a line."""
        return [json.loads(line) for line in self.cli(*words, '--json', expect=expect).stdout.splitlines()]

    def check(self, name, *words):
        return self.json('check', name, *words)[0]

    def log(self, *words, count=None, within_s=1.0):
        """Records of the block log. count: so many are awaited for a second."""
        deadline = time.monotonic() + within_s
        while True:
            last_try = time.monotonic() > deadline
            records = self.json('log', *words)
            if count is None or len(records) >= count or last_try:
                assert count is None or len(records) == count, f'{len(records)} log records instead of {count}: {records}'
                return records
            time.sleep(0.05)

    def http(self, sock, path, method='GET', body=None):
        """(status, body, headers) of a request to a socket of run-dir."""
        connection = Connection(self.folder / 'run' / sock)
        try:
            connection.request(method, path, body)
            reply = connection.getresponse()
            return reply.status, reply.read().decode(), reply.headers
        finally:
            connection.close()

    def ledger(self):
        return [json.loads(line) for line in (self.folder / 'state/ledger/ledger.jsonl').read_text().splitlines()]

    def stats(self):
        status, body, _ = self.http('stats.sock', '/v1/stats')
        assert status == 200
        return json.loads(body)

    def generation(self):
        return self.stats()['generation']['id']


def usherd(config=None, lists=None, **more):
    return Usherd(config, lists, **more)


class Load(threading.Thread):
    """Asks at a steady rate and remembers every reply. results[client, name] counts what was answered: "NXDOMAIN", or the addresses."""

    def __init__(self, u, names, clients, rate, type, waiting):
        super().__init__(daemon=True)
        self.rate, self.waiting = rate, waiting
        self.results = defaultdict(Counter)
        self.sent = self.answered = 0
        self.pending = {}
        self.sockets = {client: u.datagrams(client) for client in clients}
        self.questions = [(client, name, bytearray(dns.message.make_query(name, type, use_edns=0).to_wire()))
                          for name in names for client in clients]
        for s in self.sockets.values():
            s.setblocking(False)
        self.on = True
        self.patience_s = 6.0           # how long the last answers are waited for
        self.order = random.Random(1)

    def run(self):
        began = time.monotonic()
        while self.on:
            due = int((time.monotonic() - began) * self.rate)
            while self.sent < due and len(self.pending) < self.waiting:
                self._send()
            self._receive()
            time.sleep(0.002)

    def _send(self):
        client, name, wire = self.order.choice(self.questions)
        number = self.sent & 0xffff
        wire[0:2] = struct.pack('!H', number)
        self.sent += 1
        self.pending[client, number] = name
        try:
            self.sockets[client].send(wire)
        except (BlockingIOError, ConnectionRefusedError):
            pass

    def _receive(self):
        for client, s in self.sockets.items():
            while True:
                try:
                    wire = s.recv(65535)
                except (BlockingIOError, ConnectionRefusedError):
                    break
                name = self.pending.pop((client, struct.unpack('!H', wire[:2])[0]), None)
                if name is None:
                    continue
                self.answered += 1
                answer = Answer(dns.message.from_wire(wire))
                self.results[client, name][' '.join(answer.addresses) or answer.rcode] += 1

    def finish(self):
        self.on = False
        self.join()
        deadline = time.monotonic() + self.patience_s
        while self.pending and time.monotonic() < deadline:
            self._receive()
            time.sleep(0.01)
        for s in self.sockets.values():
            s.close()

    @property
    def lost(self):
        return len(self.pending)

    def got(self, name, client=PUPIL):
        """The set of different answers to a name."""
        return set(self.results[client, name])


# ---- processes -------------------------------------------------------------------------------------------------------------


def parents():
    """pid -> parent's pid, of all processes."""
    found = {}
    for entry in os.listdir('/proc'):
        if entry.isdigit():
            try:
                found[int(entry)] = int(Path(f'/proc/{entry}/stat').read_text().rsplit(')', 1)[1].split()[1])
            except (OSError, IndexError):
                pass
    return found


def descendants(pid):
    tree, found, more = parents(), [], [pid]
    while more:
        more = [child for child, parent in tree.items() if parent in more]
        found += more
    return found


def command_line(pid):
    try:
        return Path(f'/proc/{pid}/cmdline').read_bytes().replace(b'\0', b' ').decode(errors='replace')
    except OSError:
        return ''


def alive(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] not in 'ZX'
    except OSError:
        return False


def gone(pids, within_s=2.0):
    """True if all of the processes end in time."""
    return bool(eventually(lambda: not any(alive(pid) for pid in pids), within_s))


def wire(name, type='A', number=0):
    query = dns.message.make_query(name, type)
    query.id = number
    return query.to_wire()


def framed(octets):
    """A message as a stream carries it (RFC 7766)."""
    return struct.pack('!H', len(octets)) + octets


def exactly(connection, count):
    octets = b''
    while len(octets) < count:
        more = connection.recv(count - len(octets))
        if not more:
            return None
        octets += more
    return octets


def receive(connection):
    """One framed message, or None at the end of the stream."""
    head = exactly(connection, 2)
    return head and exactly(connection, struct.unpack('!H', head)[0])


def eventually(truth, within_s, every_s=0.02):
    """What truth() says as soon as it says anything, or its last word when the time is over."""
    deadline = time.monotonic() + within_s
    while True:
        value = truth()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(every_s)


def signal_process(pid, what=signal.SIGKILL):
    os.kill(pid, what)
