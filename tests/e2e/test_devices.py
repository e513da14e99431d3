"""Issue 6 point 3: the log shows the device that had the address at that moment, and who was logged in, whoever has it now."""

import subprocess
import time

import pytest

from usher import PUPIL, STAFF, eventually, profile, usherd

KEA = 'address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n'
LISTS = {'gambling': ['casino.com', 'first.casino.com', 'second.casino.com']}


def kea_row(address, mac, name, lifetime=3600, start=None):
    start = int(time.time()) if start is None else start
    return f'{address},{mac},,{lifetime},{start + lifetime},1,0,0,{name},0,\n'


def test_log_names_the_device_of_that_moment(lab):
    with usherd({'workers': 1, 'leases': [{'file': '{folder}/kea.csv'}], 'profiles': [profile('pupils'), profile('staff', log='no-client', block=['gambling'])]}, LISTS) as u:
        said = u.said()
        assert 'kea.csv: No such file' in said
        assert ('devices', 'warning') in {(p['part'], p['state']) for p in u.json('status')[0]['parts']}

        # A laptop has the address, and a pupil at it asks.
        leases = u.write('kea.csv', KEA + kea_row(PUPIL, 'aa:bb:cc:00:00:01', 'laptop-1', start=int(time.time()) - 10)
                         + kea_row('10.20.0.6', 'aa:bb:cc:00:00:02', 'laptop-2', lifetime=60, start=int(time.time()) - 120)
                         + kea_row(STAFF, 'aa:bb:cc:00:00:03', 'teacher', start=int(time.time()) - 10))
        assert eventually(lambda: list((u.folder / 'state/devices').iterdir()), 3)
        u.ask('first.casino.com')
        u.ask('first.casino.com', client='10.20.0.6')
        u.ask('first.casino.com', client=STAFF)
        u.ask('first.casino.com', client='10.20.0.99')
        rows = {r['client']: (r['device'], r['mac'], r['confidence']) for r in u.log(count=4)}
        assert rows == {PUPIL: ('laptop-1', 'aa:bb:cc:00:00:01', 'lease'), '10.20.0.6': ('laptop-2', 'aa:bb:cc:00:00:02', 'expired'),
                        None: (None, None, None), '10.20.0.99': (None, None, None)}

        # It gives the address back, and a tablet gets it. What was stays the laptop's.
        time.sleep(1.1)
        with leases.open('a') as file:
            file.write(kea_row(PUPIL, 'aa:bb:cc:00:00:01', 'laptop-1', lifetime=0) + kea_row(PUPIL, 'aa:bb:cc:00:00:09', 'tablet-9'))
        assert eventually(lambda: b'tablet-9' in b''.join(p.read_bytes() for p in (u.folder / 'state/devices').iterdir()), 3)
        u.ask('second.casino.com')
        u.log('--name', 'second.casino.com', count=1)
        assert {r['name']: r['device'] for r in u.log('--client', PUPIL)} == {'first.casino.com': 'laptop-1', 'second.casino.com': 'tablet-9'}
        assert [r['name'] for r in u.log('--device', 'LAPTOP-1')] == ['first.casino.com']
        assert [r['name'] for r in u.log('--device', 'aa-bb-cc-00-00-09')] == ['second.casino.com']
        assert {(c['device'], c['count']) for c in u.json('log', '--count-by', 'device')} == {('laptop-1', 1), ('laptop-2', 1), ('tablet-9', 1), (None, 2)}
        said = u.cli('report', 'subject-access', '--client', PUPIL, expect=1)
        assert 'of 2 devices' in said.stderr and 'laptop-1' in said.stderr and 'first' not in said.stdout, 'one is not told about the other'
        mine = u.cli('report', 'subject-access', '--device', 'laptop-1', '--format', 'csv').stdout
        assert 'first.casino.com' in mine and 'second' not in mine
        assert '1 of them may be' in ' '.join(u.cli('report', 'subject-access', '--device', 'laptop-2').stdout.split())
        table = u.cli('log').stdout
        assert 'tablet-9' in table and 'laptop-2 (expired)' in table
        assert 'mac,confidence' in u.cli('log', '--csv').stdout.splitlines()[0]

        # The same where usherd does not run.
        u.stop()
        assert {r['name']: r['device'] for r in u.log('--client', PUPIL)} == {'first.casino.com': 'laptop-1', 'second.casino.com': 'tablet-9'}


def test_lease_files_are_followed_after_a_reload_and_devices_keep_no_harmful_names(lab):
    with usherd({'workers': 1}, LISTS) as u:
        u.write('dnsmasq.leases', f'{int(time.time()) + 3600} aa:bb:cc:00:00:01 {PUPIL} =cmd|calc!A1\x1b[31m *\n')
        u.configure({'leases': [{'file': '{folder}/dnsmasq.leases', 'format': 'dnsmasq'}]})
        u.reload()
        assert eventually(lambda: list((u.folder / 'state/devices').iterdir()), 3)
        u.ask('casino.com')
        [record] = u.log(count=1)
        assert record['device'] == '=cmd|calc!A1?[31m'
        assert '\x1b' not in u.cli('log').stdout
        assert "'=cmd" in u.cli('log', '--csv').stdout, 'no formula for a spreadsheet'


def session(status, user, mac=None, address=None, session='1', at=None, **more):
    """A block as FreeRADIUS writes it into its detail files; user is as it stands between the quotes."""
    at = int(time.time()) if at is None else at
    lines = {'Acct-Session-Id': f'"{session}"', 'Acct-Status-Type': status, 'User-Name': f'"{user}"', 'NAS-IP-Address': '10.0.0.2',
             'Calling-Station-Id': mac and f'"{mac}"', 'Framed-IP-Address': address, **more, 'Timestamp': at}
    return time.strftime('%a %b %e %H:%M:%S %Y\n', time.localtime(at)) + ''.join(f'\t{k} = {v}\n' for k, v in lines.items() if v is not None) + '\n'


def test_log_names_who_was_logged_in_at_that_moment(lab):
    """Wi-Fi that asks for a user name: by the address of the session, or by its MAC address where DHCP knows whose that was."""
    now = int(time.time())
    today, yesterday = (time.strftime('detail-%Y%m%d', time.localtime(t)) for t in (now, now - 86400))
    leases = [{'file': '{folder}/kea.csv'}, {'file': '{folder}/radacct/*/detail-*', 'format': 'radius'}]
    with usherd({'workers': 1, 'leases': leases}, LISTS) as u:
        assert 'radacct/*/detail-*: No such file' in u.said()
        history = u.folder / 'state/devices'
        known = lambda text: eventually(lambda: text in b''.join(p.read_bytes() for p in history.iterdir()), 5)
        u.write('kea.csv', KEA + kea_row(PUPIL, 'a8:bb:cc:00:00:01', 'laptop-1', start=now - 600) + kea_row('10.20.0.6', 'a8:bb:cc:00:00:02', 'ipad', start=now - 600))
        (u.folder / 'radacct/10.0.0.2').mkdir(parents=True)
        # Jane logged in yesterday evening and has not logged out; the access point does not know her address.
        u.write(f'radacct/10.0.0.2/{yesterday}', session('Start', 'jane', 'A8-BB-CC-00-00-01', at=now - 30, **{'Session-Timeout': 3600}))
        u.write(f'radacct/10.0.0.2/{today}', session('Start', 'tom', '62-02-cc-00-00-07', '10.20.0.7', at=now - 20)
                + session('Start', r'=x\033[31m\n\tFramed-IP-Address = 10.20.0.6\"', 'a8bb.cc00.0009', '10.20.0.8', at=now - 20)
                + session('Start', 'half')[:60])
        assert known(b'jane') and known(b'tom') and known(b'=x')
        for client in (PUPIL, '10.20.0.6', '10.20.0.7', '10.20.0.8'):
            u.ask('first.casino.com', client=client)
        rows = {r['client']: (r['device'], r['mac'], r['confidence'], r['randomised'], r['identity']) for r in u.log(count=4)}
        hostile = rows.pop('10.20.0.8')
        assert rows == {PUPIL: ('jane', 'a8:bb:cc:00:00:01', 'radius', False, 'a8:bb:cc:00:00:01'),
                        '10.20.0.6': ('ipad', 'a8:bb:cc:00:00:02', 'lease', False, 'a8:bb:cc:00:00:02'),
                        '10.20.0.7': ('tom', '62:02:cc:00:00:07', 'radius', True, '62:02:cc:00:00:07')}
        assert hostile[0].startswith('=x?[31m??Framed-IP-Address = 10.20.0.6"~') and hostile[0].isprintable()
        assert {p['state'] for p in u.json('status')[0]['parts'] if p['part'] == 'devices'} == {'ok'}

        # Jane logs out, in the file of the day before, and Anna logs in at the same laptop.
        time.sleep(1.1)
        with (u.folder / f'radacct/10.0.0.2/{yesterday}').open('a') as file:
            file.write(session('Stop', 'jane', 'A8-BB-CC-00-00-01') + session('Start', 'anna', 'A8-BB-CC-00-00-01', session='2'))
        assert known(b'anna')
        u.ask('second.casino.com')
        u.log('--name', 'second.casino.com', count=1)
        assert {r['name']: r['device'] for r in u.log('--client', PUPIL)} == {'first.casino.com': 'jane', 'second.casino.com': 'anna'}
        assert [r['name'] for r in u.log('--device', 'JANE')] == ['first.casino.com']
        assert len(u.log('--device', 'a8-bb-cc-00-00-01')) == 2
        mine = u.cli('report', 'subject-access', '--device', 'jane', '--format', 'csv').stdout
        assert 'first.casino.com' in mine and 'second' not in mine and 'anna' not in mine
        assert 'jane (' not in u.cli('log').stdout

        # What is forgotten of Jane is not taken from Anna.
        [done] = u.json('forget', '--device', 'jane', '--reason', 'asked for')
        assert (done['rows'], done['finished']) == (1, True)
        assert {(r['name'], r['device']) for r in u.log('--client', PUPIL)} == {('second.casino.com', 'anna')}
        assert b'jane' not in b''.join(p.read_bytes() for p in history.iterdir())


RADIUS_PORT = 18130
RADIUSD = '''
prefix = /usr
libdir = /usr/lib/freeradius
logdir = {folder}
radacctdir = {folder}/radacct
client access-point {{
    ipaddr = 127.0.0.1
    secret = testing123
}}
modules {{
    $INCLUDE /etc/freeradius/3.0/mods-available/detail
}}
server school {{
    listen {{
        type = acct
        ipaddr = 127.0.0.1
        port = {port}
    }}
    accounting {{
        detail
    }}
}}
'''


class Radius:
    """The real FreeRADIUS with its detail module as Debian configures it, and an access point that sends it accounting."""

    def __init__(self, folder):
        self.folder = folder
        (folder / 'radius').mkdir()
        (folder / 'radius/radiusd.conf').write_text(RADIUSD.format(folder=folder, port=RADIUS_PORT))

    def __enter__(self):
        command = ['freeradius', '-d', self.folder / 'radius', '-n', 'radiusd', '-f', '-l', 'stdout']
        with (self.folder / 'radius/log').open('w') as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(5)

    def account(self, status, **attributes):
        """Sends one packet, and again until there is a server: it is accounted for when this returns."""
        lines = [f'Acct-Status-Type = {status}', *(f'{name.replace("_", "-")} = {value}' for name, value in attributes.items())]
        run = subprocess.run(['radclient', '-t', '0.3', '-r', '10', f'127.0.0.1:{RADIUS_PORT}', 'acct', 'testing123'], input='\n'.join(lines) + '\n',
                             capture_output=True, text=True)
        assert run.returncode == 0, (run.stdout + run.stderr, (self.folder / 'radius/log').read_text())


def test_a_real_freeradius_tells_who_was_logged_in(lab):
    """Jane logs in, goes on, and logs out; Anna follows at the same laptop; a guest's name is as hostile as a packet may have it."""
    with usherd({'workers': 1, 'leases': [{'file': '{folder}/radacct/*/detail-*', 'format': 'radius'}]}, LISTS) as u, Radius(u.folder) as radius:
        history = u.folder / 'state/devices'
        known = lambda text: eventually(lambda: history.exists() and text in b''.join(p.read_bytes() for p in history.iterdir()), 5)
        laptop = {'Calling_Station_Id': '"A8-BB-CC-00-00-01"', 'Called_Station_Id': '"00-11-22-33-44-55:school"', 'NAS_IP_Address': '10.0.0.2'}
        jane = {'User_Name': '"jane"', 'Acct_Session_Id': '"5F00-1"', **laptop, 'Framed_IP_Address': PUPIL}
        radius.account('Start', **jane, Framed_IPv6_Address='fd00:20::5')
        radius.account('Interim-Update', **jane, Framed_IPv6_Address='fd00:20::5', Acct_Session_Time=60)
        radius.account('Start', User_Name=r'"=x\033[31m\n\tFramed-IP-Address = 10.20.0.6\"z"', Acct_Session_Id='"2"', Calling_Station_Id='"a8bb.cc00.0009"', Framed_IP_Address='10.20.0.8')
        assert known(b'jane') and known(b'=x')
        for client in (PUPIL, '10.20.0.8', '10.20.0.6', 'fd00:20::5'):
            u.ask('first.casino.com', client=client)
        rows = {r['client']: (r['device'], r['mac'], r['confidence']) for r in u.log(count=4)}
        assert rows[PUPIL] == rows['fd00:20::5'] == ('jane', 'a8:bb:cc:00:00:01', 'radius') and rows['10.20.0.6'] == (None, None, None)
        assert rows['10.20.0.8'][0].startswith('=x?[31m??Framed-IP-Address = 10.20.0.6"z~')
        time.sleep(1.1)
        radius.account('Stop', **jane, Acct_Session_Time=90, Acct_Terminate_Cause='User-Request', Acct_Delay_Time=0)
        radius.account('Accounting-On', Acct_Session_Id='"0"', NAS_IP_Address='10.0.0.2')
        radius.account('Start', **{**jane, 'User_Name': '"anna"', 'Acct_Session_Id': '"5F00-2"'})
        assert known(b'anna')
        u.ask('second.casino.com')
        [second] = u.log('--name', 'second.casino.com', count=1)
        assert second['device'] == 'anna' and [r['name'] for r in u.log('--device', 'jane', '--client', PUPIL)] == ['first.casino.com']
        assert {p['state'] for p in u.json('status')[0]['parts'] if p['part'] == 'devices'} == {'ok'}


def test_accounting_that_usherd_may_not_read_is_told(lab, tmp_path):
    tmp_path.chmod(0o700)
    with usherd({'user': 'nobody', 'recursor-user': 'daemon', 'leases': [{'file': f'{tmp_path}/radacct/*/detail-*', 'format': 'radius'}]}, LISTS) as u:
        told = f'leases: {tmp_path}/radacct/*/detail-*: Permission denied; usherd reads it as user nobody'
        assert told in u.said()
        assert [p['text'] for p in u.json('status')[0]['parts'] if p['part'] == 'devices'] == [told]


@pytest.mark.parametrize('leases, problem', [
    ([{'format': 'kea'}], 'leases[0]'),
    ([{'file': '/x', 'format': 'windows'}], "leases[0].format: found 'windows'"),
    ([{'file': 'relative'}], 'leases[0].file'),
])
def test_wrong_leases_are_told(lab, leases, problem):
    u = usherd()
    try:
        u.configure({'leases': leases})
        u.start(wait=False)
        assert eventually(lambda: u.process.poll() is not None, 5)
        assert problem in u.said()
        u.process = None
    finally:
        u._forget()
