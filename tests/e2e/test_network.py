"""Around usher from a client's network: a device, the school's router with conf/nftables.conf, usher in a network of its own, and an internet
with resolvers on every port. `usher check-network` tells whether anything gets through, and real packets agree."""

import ipaddress
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from usher import BUILD, ENVIRONMENT, ROOT, Usherd, eventually

CLIENT, CLIENT6, USHER, USHER6 = '10.20.0.5', 'fd00:20::5', '10.0.0.53', 'fd00::53'
OUTSIDE, OUTSIDE6 = ['9.9.9.9', '1.1.1.1'], ['2620:fe::fe']
RULES = ROOT / 'conf/nftables.conf'
CHECKS = {'resolver', 'dns-udp', 'dns-tcp', 'dot', 'doq', 'doh', 'doh3'}

# Everything that a device may try answers: DNS with 192.0.2.99, the others with whatever they got.
SERVERS = r'''
import asyncio, dns.message, dns.rrset, socket, sys
def answer(wire):
    query = dns.message.from_wire(wire)
    reply = dns.message.make_response(query)
    if query.question[0].rdtype == 1:
        reply.answer.append(dns.rrset.from_text(query.question[0].name, 60, 'IN', 'A', '192.0.2.99'))
    return reply.to_wire()
class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, reply): self.reply = reply
    def connection_made(self, transport): self.transport = transport
    def datagram_received(self, data, peer): self.transport.sendto(self.reply(data), peer)
async def stream(reader, writer):
    length = await reader.readexactly(2)
    wire = answer(await reader.readexactly(int.from_bytes(length, 'big')))
    writer.write(len(wire).to_bytes(2, 'big') + wire)
    await writer.drain()
    writer.close()
async def main():
    loop = asyncio.get_running_loop()
    for address in sys.argv[1:]:
        for port in 53, 853, 443:
            reply = answer if port == 53 else lambda data: data[:20]
            await loop.create_datagram_endpoint(lambda reply=reply: Datagrams(reply), (address, port))
            await asyncio.start_server(stream, address, port)
    print('ready', flush=True)
    await asyncio.sleep(3600)
asyncio.run(main())
'''

ASK = r'''
import dns.flags, dns.message, dns.query, sys
server, name, tcp = sys.argv[1:]
query = dns.message.make_query(name, 'A', use_edns=0)
reply = (dns.query.tcp if tcp == 'tcp' else dns.query.udp)(query, server, timeout=2)
print([r.address for s in reply.answer for r in s], [str(o) for o in reply.options])
'''


class Space:
    """A network namespace, alive as long as its process."""

    def __init__(self):
        self.process = subprocess.Popen(['unshare', '--net', 'sleep', '3600'])
        own = Path('/proc/self/ns/net').readlink()
        assert eventually(lambda: Path(f'/proc/{self.process.pid}/ns/net').readlink() != own and
                          Path(f'/proc/{self.process.pid}/comm').read_text() == 'sleep\n', 5)
        self.inside = ['nsenter', f'--net=/proc/{self.process.pid}/ns/net']
        self.run('ip link set lo up')

    def run(self, command, **more):
        words = command.split() if isinstance(command, str) else command
        return subprocess.run([*self.inside, *words], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=ENVIRONMENT, timeout=30,
                              **more).stdout

    def address(self, device, *addresses):
        for address in addresses:
            self.run(f'ip addr add {address} dev {device}' + (' nodad' if ':' in address else ''))
        self.run(f'ip link set {device} up')

    def end(self):
        self.process.kill()
        self.process.wait()


def join(space, device, other, other_device):
    subprocess.run(['ip', 'link', 'add', device, 'netns', str(space.process.pid), 'type', 'veth', 'peer', 'name', other_device, 'netns',
                    str(other.process.pid)], check=True)


class Inside(Usherd):
    """An usherd in a namespace, which the tests do not share."""

    space = None

    def await_answer(self, within_s=15):
        def answers():
            try:
                return self.space.run([sys.executable, '-c', ASK, USHER, 'use-application-dns.net', 'udp'])
            except subprocess.CalledProcessError:
                return None
        assert eventually(answers, within_s, 0.1), self.said()


class School:
    def __init__(self):
        self.spaces = self.client, self.router, self.usher, self.outside = [Space() for _ in range(4)]
        join(self.client, 'c', self.router, 'clients')
        join(self.usher, 'u', self.router, 'servers')
        join(self.outside, 'o', self.router, 'world')
        self.router.address('clients', '10.20.0.1/16', 'fd00:20::1/64')
        self.router.address('servers', '10.0.0.1/24', 'fd00::1/64')
        self.router.address('world', '203.0.113.1/24', '2001:db8:1::1/64')
        self.client.address('c', f'{CLIENT}/16', f'{CLIENT6}/64')
        self.usher.address('u', f'{USHER}/24', f'{USHER6}/64')
        self.outside.address('o', '203.0.113.2/24', '2001:db8:1::2/64')
        self.outside.address('lo', *(f'{a}/32' for a in OUTSIDE), *(f'{a}/128' for a in OUTSIDE6))
        for space, gateway, gateway6 in (self.client, '10.20.0.1', 'fd00:20::1'), (self.usher, '10.0.0.1', 'fd00::1'), \
                (self.outside, '203.0.113.1', '2001:db8:1::1'):
            space.run(f'ip route add default via {gateway}')
            space.run(f'ip -6 route add default via {gateway6}')
        self.router.run('ip route add default via 203.0.113.2')
        self.router.run('ip -6 route add default via 2001:db8:1::2')
        self.router.run('sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1')
        self.servers = subprocess.Popen([*self.outside.inside, sys.executable, '-c', SERVERS, *OUTSIDE, *OUTSIDE6], stdout=subprocess.PIPE, text=True)
        assert self.servers.stdout.readline() == 'ready\n'

    def ask(self, server, name, how='udp', space=None):
        return (space or self.client).run([sys.executable, '-c', ASK, server, name, how]).strip()

    def reaches(self, server):
        """New links need a second until neighbours have found each other."""
        try:
            return self.ask(server, 'use-application-dns.net')
        except subprocess.CalledProcessError:
            return None

    def rules(self, on):
        self.router.run(['nft', '-f', str(RULES)] if on else ['nft', 'flush', 'ruleset'])

    def check(self, folder, *words, resolver=USHER, space=None, timeout='1500ms'):
        """(exit code, rows, what was said, seconds)"""
        targets, resolv = folder / 'targets', folder / 'resolv.conf'
        targets.write_text(''.join(f'{address} resolver-{i}.example\n' for i, address in enumerate(OUTSIDE + OUTSIDE6)))
        resolv.write_text(f'# DHCP\nnameserver {resolver}\n')
        began = time.monotonic()
        run = subprocess.run([*(space or self.client).inside, str(BUILD / 'usher'), 'check-network', '--targets', str(targets), '--resolv-conf', str(resolv),
                              '--timeout', timeout, *words], capture_output=True, text=True, env=ENVIRONMENT, timeout=30)
        rows = [json.loads(line) for line in run.stdout.splitlines()] if '--json' in words else run.stdout
        return run.returncode, rows, run.stderr, time.monotonic() - began

    def end(self):
        self.servers.kill()
        self.servers.wait()
        for space in self.spaces:
            space.end()


@pytest.fixture(scope='module')
def school(lab):
    school = School()
    u = None
    try:
        Inside.space = school.usher
        u = Inside({'listen': [f'{USHER}@53', f'{USHER6}@53'], 'workers': 1}, {'gambling': ['casino.com']})
        u.inside = school.usher.inside
        u.start()
        for address in (*OUTSIDE, *OUTSIDE6, USHER, USHER6):
            assert eventually(lambda: school.reaches(address), 20), address
        yield school
        u.stop()
    finally:
        if u:
            u._forget()
        school.end()


def results(rows, check):
    return {row['result'] for row in rows if row['check'] == check}


def test_open_network_lets_everything_around(school, tmp_path):
    school.rules(False)
    code, rows, said, _ = school.check(tmp_path, '--json')
    assert code == 1 and 'ways around' in said
    assert {row['check'] for row in rows} == CHECKS
    assert results(rows, 'resolver') == {'usher'}
    assert all(results(rows, check) == {'open'} for check in CHECKS - {'resolver'}), rows
    assert all(row['way_around'] == (row['result'] == 'open') for row in rows)
    assert school.ask('9.9.9.9', 'casino.com').startswith("['192.0.2.99']")


def test_rules_close_every_way(school, tmp_path):
    school.rules(True)
    code, rows, said, took = school.check(tmp_path, '--json')
    assert code == 0 and 'no way around' in said and took < 5
    assert results(rows, 'dns-udp') == results(rows, 'dns-tcp') == results(rows, 'resolver') == {'usher'}
    assert results(rows, 'dot') == results(rows, 'doq') == results(rows, 'doh') == results(rows, 'doh3') == {'closed'}


@pytest.mark.parametrize('server', OUTSIDE + OUTSIDE6)
@pytest.mark.parametrize('how', ['udp', 'tcp'])
def test_device_that_asks_another_resolver_gets_ushers_answer(school, server, how):
    school.rules(True)
    answer = school.ask(server, 'www.casino.com', how)
    assert answer.startswith('[]') and 'EDE 15' in answer and 'gambling' in answer


def test_usher_itself_may_ask_the_internet(school):
    school.rules(True)
    for server in OUTSIDE + OUTSIDE6:
        assert school.ask(server, 'www.example.com', space=school.usher).startswith("['192.0.2.99']")


def test_network_that_names_another_resolver_is_told(school, tmp_path):
    school.rules(False)
    code, rows, _, _ = school.check(tmp_path, '--json', resolver='9.9.9.9')
    assert code == 1 and results(rows, 'resolver') == {'open'}
    code, table, said, _ = school.check(tmp_path, resolver='9.9.9.9')
    assert code == 1 and 'WAYS AROUND' in table and 'open: 9.9.9.9' in table
    assert school.check(tmp_path, '--csv')[1].splitlines()[0] == 'check,address,name,port,protocol,result,way_around'


def test_network_without_usher_is_not_called_safe(school, tmp_path):
    nowhere = Space()
    try:
        code, _, said, took = school.check(tmp_path, '--json', space=nowhere)
        assert code == 1 and 'no usher answers' in said and took < 5
    finally:
        nowhere.end()


def test_wrong_words_are_told(school, tmp_path):
    for words, expected in (['--timeout', 'soon'], 'no duration'), (['--zone', 'a..b'], 'no domain name'), (['here'], "no word 'here'"):
        code, _, said, _ = school.check(tmp_path, *words)
        assert code == 2 and expected in said
    (tmp_path / 'wrong').write_text('# comment\n9.9.9 nonsense\n')
    code, _, said, _ = school.check(tmp_path, '--targets', tmp_path / 'wrong')
    assert code == 1 and 'wrong:2:' in said


def test_rules_hold_the_addresses_that_are_tried():
    lines = [line.split() for line in (ROOT / 'conf/outside-dns.txt').read_text().splitlines() if line and line[0] != '#']
    assert len(lines) > 60 and all(len(words) == 2 for words in lines)
    text = RULES.read_text()
    elements = {word for block in text.split('elements = {')[1:] for word in block.split('}')[0].replace(',', ' ').split()}
    assert elements == {str(ipaddress.ip_address(address)) for address, _ in lines}
    assert len(lines) == len({address for address, _ in lines})


def test_rules_are_sound_and_load_twice(school):
    subprocess.run(['nft', '-c', '-f', str(RULES)], check=True, stdin=subprocess.DEVNULL)
    school.rules(True)
    school.rules(True)
