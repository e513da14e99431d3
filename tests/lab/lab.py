"""The laboratory: a small internet on loopback, with root, top-level domains, sites good and bad, and a school's own servers.

NSD serves what zones.py says, one instance an address, so that delegations are real; ldns-signzone signs. Servers that
must misbehave are threads of this process. Everything lives in a network namespace of its own: port 53 is free there, the
internet is unreachable, and nothing on the machine notices.
"""

import ctypes
import heapq
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdata
import dns.rrset

from zones import DEAD, FLAKY, HOST, INTERNAL, ROOT, ROOT6, SILENT, SLOW, TLD, ZONES, Zone

CLONE_NEWNET, CLONE_NEWNS = 0x40000000, 0x20000
PR_SET_PDEATHSIG = 1
UNSERVED = ('lame.com',)
UNDELEGATED = ('ad.school.example', '10.in-addr.arpa')   # the world outside does not know them
libc = ctypes.CDLL(None, use_errno=True)

# IPv4 networks on lo are local as a whole: a test may ask from any address of them. IPv6 addresses are added one by one.
NETWORKS4 = ['10.0.0.1/16', '10.20.0.1/16', '10.30.0.1/16', '10.99.0.1/16', '10.77.0.1/16', '192.168.7.1/24', '203.0.113.1/24']
ADDRESSES6 = [*(f'fd00::53:{i:x}' for i in range(16)), 'fd00:20::5', 'fd00:20::6', 'fd00:20:1::5', 'fd00:30::5', 'fd00:99::5', 'fd00:77::5', '2001:db8:77::5', ROOT6]


def enter_network():
    """Moves this process into namespaces of its own: a network with all the laboratory's addresses on lo, and mounts that end with it. Needs root."""
    if libc.unshare(CLONE_NEWNET | CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), 'unshare(CLONE_NEWNET | CLONE_NEWNS): the end-to-end tests need root')
    subprocess.run(['mount', '--make-rprivate', '/'], check=True)
    commands = ['link set lo up']
    commands += [f'addr add {network} dev lo' for network in NETWORKS4]
    commands += [f'-6 addr add {address}/128 dev lo nodad' for address in ADDRESSES6]
    for command in commands:
        subprocess.run(['ip', *command.split()], check=True, stdin=subprocess.DEVNULL)


def die_with_parent():
    """For Popen's preexec_fn: a server must not outlive the tests, not even when those are killed."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Lab:
    """The running internet. trust_anchor and root_hints are files for a resolver's configuration."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.trust_anchor = self.folder / 'root.key'
        self.root_hints = self.folder / 'root.hints'
        self.zones = dict(ZONES)
        self.keys = {}
        self.nsds = []
        self.threads = []

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        self._add_missing_tops()
        self._make_keys()
        self._write_zones()
        self.root_hints.write_text(f'. 3600000 NS a.lab.\na.lab. 3600000 A {ROOT}\na.lab. 3600000 AAAA {ROOT6}\n')
        self.root_hints.chmod(0o644)
        for address in (ROOT, TLD, HOST, INTERNAL):
            self._start_nsd(address)
        self.flaky = Misbehaving(FLAKY)
        self.slow = Misbehaving(SLOW, delay_by_name=True)
        self.silent = Misbehaving(SILENT, mode='silent')
        self.threads = [self.flaky, self.slow, self.silent]
        for thread in self.threads:
            thread.start()
        for address in (ROOT, TLD, HOST, INTERNAL):
            self._await(address)
        return self

    def stop(self):
        for thread in self.threads:
            thread.stop()
        for nsd in self.nsds:
            nsd.terminate()
        for nsd in self.nsds:
            try:
                nsd.wait(5)
            except subprocess.TimeoutExpired:
                nsd.kill()
                nsd.wait()

    @contextmanager
    def watched(self):
        """Records what is asked of the laboratory's servers meanwhile: a Watch, whose names() are those asked for."""
        watch = Watch()
        watch.start()
        try:
            yield watch
        finally:
            watch.stop()

    # ---- making ----------------------------------------------------------------------------------------------------------

    def _add_missing_tops(self):
        for name in list(self.zones):
            top = name.rsplit('.', 1)[-1] or '.'
            self.zones.setdefault(top, Zone(server=TLD))

    def _parent(self, name):
        """The zone that delegates name: the longest that is above it."""
        labels = name.split('.')
        for i in range(1, len(labels)):
            above = '.'.join(labels[i:])
            if above in self.zones:
                return above
        return '.'

    def _make_keys(self):
        """One combined signing key a zone, all generated at once: they are processes, and cheap."""
        signed = [name for name, zone in self.zones.items() if zone.signed]
        makers = {name: subprocess.Popen(['ldns-keygen', '-k', '-a', 'ECDSAP256SHA256', '-r', '/dev/urandom', name], cwd=self.folder,
                                         stdout=subprocess.PIPE, text=True) for name in signed}
        for name, maker in makers.items():
            base = maker.communicate()[0].strip()
            if maker.returncode != 0:
                raise RuntimeError(f'ldns-keygen failed for {name}')
            self.keys[name] = self.folder / base
        shutil.copy(f'{self.keys["."]}.key', self.trust_anchor)
        self.trust_anchor.chmod(0o644)

    def _write_zones(self):
        below = {}
        for name in self.zones:
            if name != '.' and name not in UNDELEGATED:
                below.setdefault(self._parent(name), []).append(name)
        signers = []
        for name, zone in self.zones.items():
            if zone.server in (DEAD, SILENT, FLAKY, SLOW) or name in UNSERVED:
                continue
            path = self._zone_path(name)
            path.write_text(self._zone_text(name, zone, below.get(name, [])))
            if zone.signed and zone.fault != 'unsigned':
                signers.append((name, zone, path, self._sign(name, zone, path)))
        for name, zone, path, signer in signers:
            out, _ = signer.communicate()
            if signer.returncode != 0:
                raise RuntimeError(f'ldns-signzone failed for {name}: {out}')
            os.rename(f'{path}.signed', path)
            self._spoil(zone, path)

    def _zone_path(self, name):
        return self.folder / f'{"root" if name == "." else name}.zone'

    def _zone_text(self, name, zone, children):
        origin = '.' if name == '.' else name + '.'
        server = f'{zone.server}' if name != '.' else ROOT
        ns = 'a.lab.' if name == '.' else f'ns.{origin}'
        lines = [f'$ORIGIN {origin}', '$TTL 300', f'@ SOA {ns} admin.{origin if name != "." else "lab."} 1 3600 600 86400 60', f'@ NS {ns}']
        if name == '.':
            lines += [f'a.lab. A {ROOT}', f'a.lab. AAAA {ROOT6}']
        else:
            lines.append(f'ns.{origin} A {server}')
        lines += [generic(line) for line in zone.text.splitlines() if line]
        for child in children:
            lines += [f'{child}. NS ns.{child}.', f'ns.{child}. A {self.zones[child].server}']
            if self.zones[child].signed:
                lines.append(Path(f'{self.keys[child]}.ds').read_text().strip())
        return '\n'.join(lines) + '\n'

    def _sign(self, name, zone, path):
        now = int(time.time())
        begin, end = now - 86400, now + 30 * 86400
        if zone.fault == 'expired':
            begin, end = now - 60 * 86400, now - 30 * 86400
        if zone.fault == 'early':
            begin, end = now + 30 * 86400, now + 60 * 86400
        command = ['ldns-signzone', '-i', str(begin), '-e', str(end), '-o', name, '-f', f'{path}.signed']
        if zone.nsec3:
            command += ['-n', '-p']
        return subprocess.Popen([*command, str(path), str(self.keys[name])], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def _spoil(self, zone, path):
        if zone.fault == 'signature':
            path.write_text(path.read_text().replace('192.0.2.35', '192.0.2.135'))
        if zone.fault == 'no-keys':
            lines = path.read_text().splitlines(keepends=True)
            path.write_text(''.join(line for line in lines if 'DNSKEY' not in line))

    def _start_nsd(self, address):
        run = self.folder / f'nsd-{address}'
        run.mkdir(exist_ok=True)
        names = [name for name, zone in self.zones.items() if zone.server == address and name not in UNSERVED]
        listen = [address] + ([ROOT6] if address == ROOT else [])
        (run / 'nsd.conf').write_text('\n'.join(
            ['server:', *(f'  ip-address: {a}' for a in listen), '  port: 53', '  server-count: 1', '  username: ""', '  database: ""',
             f'  zonesdir: "{self.folder}"', f'  logfile: "{run}/log"', f'  pidfile: "{run}/pid"', f'  xfrdfile: "{run}/xfrd"',
             f'  zonelistfile: "{run}/zonelist"', f'  xfrdir: "{run}"', '  rrl-ratelimit: 0', '  tcp-count: 500',
             'remote-control:', '  control-enable: no'] +
            [f'zone:\n  name: "{name}"\n  zonefile: "{self._zone_path(name).name}"' for name in names]) + '\n')
        self.nsds.append(subprocess.Popen(['/usr/sbin/nsd', '-d', '-c', str(run / 'nsd.conf')], stdin=subprocess.DEVNULL,
                                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent))

    def _await(self, address):
        query = dns.message.make_query('.', 'SOA')
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                return dns.query.udp(query, address, timeout=0.2)
            except (OSError, dns.exception.Timeout):
                time.sleep(0.02)
        raise RuntimeError(f'NSD on {address} does not answer: see {self.folder}/nsd-{address}/log')


def generic(line):
    """HTTPS and SVCB records as TYPE65 \\# …: not every signer can read them. Targets are whole names."""
    words = line.split(None, 2)
    if words[1] not in ('HTTPS', 'SVCB'):
        return line
    rdata = dns.rdata.from_text('IN', words[1], words[2], origin=dns.name.root, relativize=False)
    number = {'HTTPS': 65, 'SVCB': 64}[words[1]]
    wire = rdata.to_wire()
    return f'{words[0]} TYPE{number} \\# {len(wire)} {wire.hex()}'


class Misbehaving(threading.Thread):
    """A name server whose faults are switched while it runs. It has an address for every name below the zones it is asked for.

    mode: answer, silent, servfail, refused, nxdomain, garbage. asked: every question, in order.
    """

    def __init__(self, address, mode='answer', delay_by_name=False):
        super().__init__(daemon=True)
        self.address, self.mode, self.delay_by_name = address, mode, delay_by_name
        self.reset()
        self.mode = mode
        self.asked = []
        self.sockets = []
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            s = socket.socket(socket.AF_INET, kind)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((address, 53))
            self.sockets.append(s)
        self.sockets[1].listen(64)
        self.running = True

    def reset(self):
        """As it was made: answers at once."""
        self.mode, self.ttl, self.delay_s, self.record = 'answer', 300, 0.0, '192.0.2.70'

    def stop(self):
        self.running = False
        self.join(2)
        for s in self.sockets:
            s.close()

    def run(self):
        due = []
        while self.running:
            wait = 0.1 if not due else max(0.0, min(0.1, due[0][0] - time.monotonic()))
            ready, _, _ = select.select(self.sockets, [], [], wait)
            if self.sockets[0] in ready:
                wire, client = self.sockets[0].recvfrom(65535)
                for at, reply in self._answer(wire):
                    heapq.heappush(due, (at, id(reply), reply, client))
            if self.sockets[1] in ready:
                self._serve_tcp(self.sockets[1].accept()[0])
            while due and due[0][0] <= time.monotonic():
                _, _, reply, client = heapq.heappop(due)
                self.sockets[0].sendto(reply, client)

    def _serve_tcp(self, connection):
        with connection:
            connection.settimeout(0.5)
            try:
                wire = connection.recv(65535)[2:]
                for _, reply in self._answer(wire):
                    connection.sendall(struct.pack('!H', len(reply)) + reply)
            except OSError:
                pass

    def _answer(self, wire):
        """What to send and when: [(monotonic time, octets)], empty for silence."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return []
        question = query.question[0]
        self.asked.append((question.name.to_text().lower(), question.rdtype))
        if self.mode == 'silent':
            return []
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.AA
        label = question.name.labels[0].decode('latin-1').lower()
        if self.mode in ('servfail', 'refused', 'nxdomain'):
            reply.set_rcode(dns.rcode.from_text(self.mode))
        zone = dns.name.Name(question.name.labels[-3:]) if self.address != FLAKY or question.name.labels[-3] != b'pixabay' \
            else dns.name.Name(question.name.labels[-4:])
        self._fill(reply, question, zone, label)
        delay_s = int(label[1:]) / 1000 if self.delay_by_name and label[:1] == 'd' and label[1:].isdigit() else self.delay_s
        octets = reply.to_wire(max_size=65535)
        if self.mode == 'garbage':
            octets = octets[:12] + os.urandom(max(0, len(octets) - 12))
        return [(time.monotonic() + delay_s, octets)]

    def _fill(self, reply, question, zone, label):
        kind = {1: 'A', 2: 'NS', 6: 'SOA', 28: 'AAAA'}.get(question.rdtype)
        soa = f'ns.{zone} admin.{zone} 1 3600 600 86400 {min(60, self.ttl)}'
        if self.mode != 'answer' and self.mode != 'garbage':
            if self.mode == 'nxdomain':
                reply.authority.append(dns.rrset.from_text(zone, self.ttl, 'IN', 'SOA', soa))
        elif kind == 'A':
            reply.answer.append(dns.rrset.from_text(question.name, self.ttl, 'IN', 'A',
                                                    self.address if label == 'ns' else self.record))
        elif kind == 'NS' and question.name == zone:
            reply.answer.append(dns.rrset.from_text(zone, self.ttl, 'IN', 'NS', f'ns.{zone}'))
        elif kind == 'SOA' and question.name == zone:
            reply.answer.append(dns.rrset.from_text(zone, self.ttl, 'IN', 'SOA', soa))
        else:
            reply.authority.append(dns.rrset.from_text(zone, self.ttl, 'IN', 'SOA', soa))


class Watch(threading.Thread):
    """Listens on lo for UDP queries to the laboratory's servers."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))
        self.socket.bind(('lo', 0))
        self.socket.settimeout(0.1)
        self.questions = set()
        self.running = True

    def run(self):
        while self.running:
            try:
                packet = self.socket.recv(65535)
            except TimeoutError:
                continue
            self._note(packet)

    def _note(self, packet):
        header = (packet[0] & 15) * 4
        if packet[0] >> 4 != 4 or packet[9] != 17 or packet[16:19] != bytes((127, 0, 53)):
            return
        if packet[header + 2:header + 4] != b'\x00\x35':
            return
        try:
            question = dns.message.from_wire(packet[header + 8:]).question[0]
        except (dns.exception.DNSException, IndexError):
            return
        self.questions.add((question.name.to_text().lower(), socket.inet_ntoa(packet[16:20])))

    def stop(self):
        time.sleep(0.05)
        self.running = False
        self.join(1)
        self.socket.close()

    def names(self, below):
        """The names asked for at or below a name, QNAME minimisation included."""
        return sorted({name for name, _ in self._below(below)})

    def servers(self, below):
        """The addresses of the servers that were asked for them."""
        return {server for _, server in self._below(below)}

    def _below(self, below):
        parent = dns.name.from_text(below)
        return [(name, server) for name, server in self.questions if dns.name.from_text(name).is_subdomain(parent)]
