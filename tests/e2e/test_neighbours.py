"""Issue 5 point 7: a device that a profile names by its MAC address keeps that profile whatever address it takes."""

import subprocess
import sys

import pytest

from usher import ENVIRONMENT, PUPIL, STRANGER, eventually, profile, usherd

TEACHER, OTHER = 'aa:bb:cc:00:00:01', 'aa:bb:cc:00:00:02'
TEACHER4, TEACHER6, PUPIL6B = '10.20.0.77', 'fd00:20::6', 'fd00:20::5'
LISTS = {'games': ['games.org'], 'adult': ['adult.com']}


def ip(*words):
    subprocess.run(['ip', *' '.join(words).split()], check=True, stdin=subprocess.DEVNULL)


@pytest.fixture(scope='module')
def card(lab):
    """A network card whose neighbours are what a test says they are."""
    ip('link add u0 type veth peer name u0p')
    ip('link set u0 up')
    yield 'u0'
    ip('link del u0')


def neighbour(address, mac, card, state='permanent'):
    ip(f'neigh replace {address} lladdr {mac} dev {card} nud {state}')


def config(**staff):
    return {'workers': 2, 'profiles': [profile('pupils'), profile('staff', devices=[TEACHER], **staff)]}


def is_staff(u, client):
    return u.ask('games.org', client=client).rcode == 'NOERROR'


def test_named_device_keeps_its_profile_at_any_address(card):
    neighbour(TEACHER4, TEACHER, card)
    with usherd({**config(), 'leases': [{'file': '{folder}/dnsmasq.leases'}]}, LISTS) as u:
        u.write('dnsmasq.leases', f'9999999999 {TEACHER} 10.30.0.9 teacher-laptop *\n')
        assert is_staff(u, TEACHER4) and not is_staff(u, PUPIL)

        # It takes a privacy address in the pupils' network, and is known at once.
        assert not is_staff(u, TEACHER6)
        neighbour(TEACHER6, TEACHER, card)
        assert eventually(lambda: is_staff(u, TEACHER6), 2)
        assert not is_staff(u, PUPIL6B), 'others of the same network are not'
        assert all(is_staff(u, TEACHER6) for _ in range(8)), 'on every worker'
        assert u.check('games.org', '--client', TEACHER6)['profile'] == 'staff'
        assert b'profile=staff' in u.ask('me.filter.usher', 'TXT', TEACHER6).records('TXT')[0].strings

        # What is blocked for it is logged under its name, whatever the address.
        u.ask('adult.com', client=TEACHER6)
        u.ask('adult.com', client=TEACHER4)
        assert eventually(lambda: {(r['client'], r['device'], r['mac'], r['confidence'], r['profile']) for r in u.log('--name', 'adult.com')} == {
            (TEACHER6, 'teacher-laptop', TEACHER, 'neighbour', 'staff'), (TEACHER4, 'teacher-laptop', TEACHER, 'neighbour', 'staff')}, 8)

        # An address that is another's is not the device's: changed, gone, or claimed on two networks.
        neighbour(TEACHER6, OTHER, card)
        assert eventually(lambda: not is_staff(u, TEACHER6), 2)
        ip(f'neigh del {TEACHER4} dev {card}')
        assert eventually(lambda: not is_staff(u, TEACHER4), 2)
        ip('link add u1 type veth peer name u1p')
        ip('link set u1 up')
        try:
            neighbour(TEACHER4, TEACHER, card)
            assert eventually(lambda: is_staff(u, TEACHER4), 2)
            neighbour(TEACHER4, OTHER, 'u1')
            assert eventually(lambda: not is_staff(u, TEACHER4), 2)
        finally:
            ip('link del u1')
        assert eventually(lambda: is_staff(u, TEACHER4), 2)

        # Networks that are not served stay so.
        neighbour(STRANGER, TEACHER, card)
        assert eventually(lambda: is_staff(u, TEACHER4), 2)
        assert u.ask('games.org', client=STRANGER).rcode == 'REFUSED'

        # A reload takes the device away, and gives it back.
        u.configure({'profiles': [profile('pupils'), profile('staff')]})
        u.reload()
        assert eventually(lambda: not is_staff(u, TEACHER4), 2)
        u.configure({'profiles': [profile('guest'), profile('pupils'), profile('staff', devices=[OTHER, TEACHER])]})
        u.reload()
        assert eventually(lambda: is_staff(u, TEACHER4), 2)


CLIENT = '''
import sys, dns.message, dns.query
for source in sys.argv[2:]:
    query = dns.message.make_query("games.org", "A")
    for _ in range(10):
        reply = dns.query.udp(query, sys.argv[1], timeout=5, source=source)
        if reply.rcode() == 0: break
        import time; time.sleep(0.1)
    print(source, reply.rcode())
    dns.query.udp(dns.message.make_query("adult.com", "A"), sys.argv[1], timeout=5, source=source)
'''


def test_real_device_with_privacy_addresses_is_one_device(lab):
    """Another machine, as far as the kernel knows: its own network namespace behind a cable."""
    machine = subprocess.Popen(['unshare', '-n', 'sleep', '60'], stdin=subprocess.DEVNULL)
    inside = ['nsenter', '-t', str(machine.pid), '-n']
    first, second = 'fd00:66::1111', 'fd00:66::a9b8:c7d6'
    try:
        assert eventually(lambda: subprocess.run([*inside, 'true'], check=False).returncode == 0 and subprocess.run(
            ['readlink', f'/proc/{machine.pid}/ns/net'], capture_output=True, check=True).stdout != subprocess.run(
                ['readlink', '/proc/self/ns/net'], capture_output=True, check=True).stdout, 5)
        ip('link add v0 type veth peer name v1 netns', str(machine.pid))
        ip('addr add fd00:66::53/64 dev v0 nodad')
        ip('link set v0 up')
        for words in (f'link set v1 address {TEACHER}', 'link set v1 up', f'addr add {first}/64 dev v1 nodad', f'addr add {second}/64 dev v1 nodad',
                      'route add fd00::53:0/112 via fd00:66::53'):
            subprocess.run([*inside, 'ip', '-6', *words.split()], check=True, stdin=subprocess.DEVNULL)
        with usherd({**config(), 'leases': [{'file': '{folder}/dnsmasq.leases'}]}, LISTS) as u:
            said = subprocess.run([*inside, sys.executable, '-c', CLIENT, u.server6, first, second], capture_output=True, text=True, env=ENVIRONMENT,
                                  timeout=30, stdin=subprocess.DEVNULL, check=False)
            assert said.stdout.split() == [first, '0', second, '0'], said
            assert eventually(lambda: {(r['client'], r['mac'], r['confidence']) for r in u.log('--name', 'adult.com')} == {
                (first, TEACHER, 'neighbour'), (second, TEACHER, 'neighbour')}, 8)
            assert u.json('log', '--name', 'adult.com', '--count-by', 'device') == [{'device': TEACHER, 'count': 2}]
    finally:
        machine.kill()
        machine.wait()
        subprocess.run(['ip', 'link', 'del', 'v0'], check=False, stdin=subprocess.DEVNULL, capture_output=True)


@pytest.mark.parametrize('profiles, problem', [
    ([profile('staff', devices=['aa:bb'])], "profiles[0].devices[0]: found 'aa:bb', expected a device's MAC address"),
    ([profile('staff', devices=['ff:ff:ff:ff:ff:ff'])], 'profiles[0].devices[0]'),
    ([profile('pupils', devices=[TEACHER]), profile('staff', devices=[TEACHER.upper()])], f'profiles[1].devices: found {TEACHER} a second time'),
])
def test_wrong_devices_are_told(lab, profiles, problem):
    u = usherd()
    try:
        u.configure({'profiles': profiles, 'default-profile': profiles[0]['name']})
        u.start(wait=False)
        assert eventually(lambda: u.process.poll() is not None, 5)
        assert problem in u.said()
        u.process = None
    finally:
        u._forget()
