"""Issue 6, point 9: the log forgets on time and on request, truly and at once, and keeps what a case holds; whatever kills usherd meanwhile."""

import json
import os
import random
import re
import shutil
import socket
import subprocess
import time
from datetime import datetime, timedelta, timezone

from usher import BUILD, ENVIRONMENT, PLAIN_BUILD, Usherd, eventually, gone, profile, usherd

LISTS = {'gambling': ['casino.com', 'poker.net']}
ERASED, KEPT = '10.20.4.31', '10.20.4.32'
DAY_S = 86400
QUICK = PLAIN_BUILD if (PLAIN_BUILD / 'usherd').exists() else BUILD     # many short lives


def log_octets(u):
    """All that lies in the files of the log, rings and left-overs too."""
    return b''.join(path.read_bytes() for path in [*(u.folder / 'state').rglob('*'), *(u.folder / 'run').glob('ring-*')]
                    if path.is_file() and 'ledger' not in path.parts)


def age(u, days):
    """The files of the class 90d become so many days older: their day, and their last change. usherd must not run; another file must be of
    today, or it would not believe the clock."""
    for path in (u.folder / 'state/log').glob('*-90d.mdb'):
        day, rest = path.name[:10], path.name[10:]
        older = (datetime.fromisoformat(day) - timedelta(days=days)).date().isoformat()
        when = path.stat().st_mtime - days * DAY_S
        moved = path.rename(path.with_name(older + rest))
        os.utime(moved, (when, when))
        path.with_name(path.name + '-lock').unlink(missing_ok=True)


def fill(u):
    for i in range(40):
        u.ask(f'secret{i}.casino.com', client=ERASED)
        u.ask(f'public{i}.casino.com', client=KEPT)
    u.log('--limit', 1000, count=80)


def test_what_is_forgotten_is_in_no_file_and_the_rest_is(lab):
    with usherd(lists=LISTS) as u:
        fill(u)
        assert b'secret7' in log_octets(u)
        [answer] = u.json('forget', '--client', ERASED, '--reason', 'request 17')
        assert answer == {'rows': 40, 'finished': True, 'reports': [], 'reports_left': [], 'shipped': []}
        octets = log_octets(u)
        assert b'secret7' not in octets and b'public7' in octets
        assert socket.inet_aton(ERASED) not in octets and socket.inet_aton(KEPT) in octets
        assert len(u.log('--client', KEPT)) == 40 and u.log('--client', ERASED) == []
        entry = next(e for e in u.ledger() if e['what'] == 'log.forget')
        assert entry['detail'] == {'rows': 40, 'reason': 'request 17'} and entry['uid'] == 0
        u.ask('again.casino.com', client=ERASED)
        u.log('--client', ERASED, count=1)
        u.restart()
        assert len(u.log('--limit', 1000)) == 41
        u.cli('forget', '--client', KEPT, '--name', 'public7.casino.com', '--reason', 'one name')
        assert len(u.log('--client', KEPT)) == 39
        for words in (['--client', KEPT], ['--reason', 'x'], ['--client', 'nobody', '--reason', 'x']):
            u.cli('forget', *words, expect=(1, 2))


def test_an_erasure_that_kill_9_interrupts_is_shown_nowhere_and_ends_by_itself(lab):
    """The writer finds the erasure when it starts: as after a kill between the two."""
    with usherd(lists=LISTS) as u:
        fill(u)
        u.kill()
        erase = {'client': '00000000000000000000ffff0a14041f', 'length': 128, 'name': None, 'profiles': None, 'since_us': 0, 'until_us': 2**60}
        u.write('state/log/erase.json', json.dumps(erase))
        store = next((u.folder / 'state/log').glob('*.mdb'))
        shutil.copy(store, f'{store}.new')
        assert u.log('--client', ERASED) == [] and len(u.log('--client', KEPT)) == 40
        u.start()
        assert eventually(lambda: not (u.folder / 'state/log/erase.json').exists(), 5)
        assert b'secret7' not in log_octets(u) and len(u.log('--client', KEPT)) == 40


def test_a_case_holds_rows_beyond_their_time_and_against_erasure(lab):
    with usherd(lists=LISTS) as u:
        fill(u)
        [case] = u.json('case', 'hold', '--client', ERASED, '--since', '1h', '--reason', 'case 2026-4')
        assert (case['case'], case['rows'], case['reason']) == (1, 40, 'case 2026-4')
        assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ', case['since'])
        assert len(u.log('--limit', 1000)) == 80, 'held rows are there once'
        assert {c['client']: c['count'] for c in u.json('log', '--count-by', 'client')} == {ERASED: 40, KEPT: 40}
        assert u.ledger()[-3]['detail'].items() >= {'case': 1, 'rows': 40, 'client': ERASED, 'reason': 'case 2026-4'}.items()
        refused = u.cli('forget', '--client', ERASED, '--reason', 'x', expect=1)
        assert '40 of these rows are held for case 1' in refused.stderr
        u.stop()
        age(u, 100)
        u.start()
        assert len(u.log('--limit', 1000)) == 40 and len(u.log('--client', ERASED)) == 40
        assert b'public7' not in log_octets(u)
        assert [c['case'] for c in u.json('case', 'list')] == [1]
        held = next(line for line in u.json('retention', '--verify') if line['verdict'] == 'held')
        assert held['class'] == 'case 1' and held['rows'] == 40
        u.cli('case', 'release', 1, '--reason', 'closed')
        assert u.log() == [] and u.json('case', 'list') == [] and b'secret7' not in log_octets(u)
        assert [e['what'] for e in u.ledger() if e['what'].startswith('case.') and e['what'] != 'case.read'] == ['case.hold', 'case.release']
        u.cli('case', 'release', 1, '--reason', 'again', expect=1)
        assert 'no such rows' in u.cli('case', 'hold', '--client', '10.9.9.9', '--since', '1h', '--reason', 'x', expect=1).stderr


def test_a_case_holds_a_device_wherever_it_was_and_goes(lab):
    """Anna's phone, blocked at two addresses; the library's PC has the first one now. What she does next is hers too."""
    now = time.time()
    with usherd({'leases': [{'file': '{folder}/kea.csv'}]}, LISTS) as u:
        leases = u.write('kea.csv', KEA + lease(ERASED, 'aa:bb:cc:00:00:01', 'annas-phone', now - 60) + lease(KEPT, 'aa:bb:cc:00:00:02', 'library-pc', now - 60))
        assert eventually(lambda: found(u, b'annas-phone') and found(u, b'library-pc'), 4)
        u.ask('first.casino.com', client=ERASED)
        u.ask('library.casino.com', client=KEPT)
        time.sleep(1.1)
        with leases.open('a') as file:
            file.write(lease('10.20.4.40', 'aa:bb:cc:00:00:01', 'annas-phone', time.time()) + lease(ERASED, 'aa:bb:cc:00:00:02', 'library-pc', time.time()))
        assert eventually(lambda: found(u, bytes([10, 20, 4, 40])), 4)
        u.ask('second.casino.com', client='10.20.4.40')
        u.ask('others.casino.com', client=ERASED)
        u.log(count=4)
        [case] = u.json('case', 'hold', '--device', 'annas-phone', '--since', '1h', '--reason', 'case 2026-5')
        assert (case['device'], case['macs'], case['rows'], case['goes_on']) == ('annas-phone', ['aa:bb:cc:00:00:01'], 2, True)
        assert {(a['client'], a['device'], a['rows']) for a in case['addresses']} == {(ERASED, 'annas-phone', 1), ('10.20.4.40', 'annas-phone', 1)}
        assert 'growth' not in case and u.json('case', 'list') == [case]
        [by_address] = u.json('case', 'hold', '--client', '10.20.4.40', '--since', '1h', '--reason', 'the same')
        assert (by_address['device'], by_address['rows']) == ('aa:bb:cc:00:00:01', 2)
        mixed = u.cli('--json', 'case', 'hold', '--client', ERASED, '--since', '1h', '--reason', 'whoever')
        assert json.loads(mixed.stdout)['rows'] == 2 and '2 devices had this address' in mixed.stderr
        assert len(json.loads(mixed.stdout)['macs']) == 2, 'the case says who they were, the ledger, which forgets nothing, does not'
        kept = {e['detail']['case']: e['detail'] for e in u.ledger() if e['what'] == 'case.hold'}
        assert 'macs' not in kept[3] and kept[1]['macs'] == ['aa:bb:cc:00:00:01'] and 'aa:bb:cc:00:00:02' not in json.dumps(kept)
        for number in 2, 3:
            u.cli('case', 'release', number, '--reason', 'enough')
        table = u.cli('case', 'list').stdout
        assert 'annas-phone' in table and f'{ERASED} annas-phone 1' in table and '10.20.4.40 annas-phone 1' in table
        assert u.ledger()[-1]['what'] == 'case.read' and 'addresses' not in next(e for e in u.ledger() if e['what'] == 'case.hold')['detail']
        u.ask('third.casino.com', client='10.20.4.40')
        u.log(count=5)
        assert '3 of these rows are held for case 1' in u.cli('forget', '--device', 'annas-phone', '--reason', 'x', expect=1).stderr
        [answer] = u.json('forget', '--device', 'library-pc', '--reason', 'request 20')
        assert answer['rows'] == 2 and {r['name'] for r in u.log()} == {'first.casino.com', 'second.casino.com', 'third.casino.com'}
        u.stop()
        for path in (u.folder / 'state/log').glob('*-90d*'):
            path.unlink()               # its time is over
        u.start()
        assert {r['name'] for r in u.log()} == {'first.casino.com', 'second.casino.com', 'third.casino.com'}
        held = [line for line in u.json('retention', '--verify') if line['verdict'] == 'held']
        assert [(line['class'], line['rows']) for line in held] == [('case 1', 3)]
        assert u.cli('case', 'release', 1, '--reason', 'closed') and u.log() == [] and b'third' not in log_octets(u)


def test_a_case_goes_on_by_itself_when_its_day_is_over(lab):
    with usherd({'leases': [{'file': '{folder}/kea.csv'}]}, LISTS) as u:
        u.write('kea.csv', KEA + lease(ERASED, 'aa:bb:cc:00:00:01', 'annas-phone', time.time() - 60))
        assert eventually(lambda: found(u, b'annas-phone'), 4)
        u.ask('first.casino.com', client=ERASED)
        u.log(count=1)
        u.json('case', 'hold', '--device', 'annas-phone', '--since', '1h', '--reason', 'case 2026-6')
        u.stop()
        path = u.folder / 'state/log/case-1.json'
        case = json.loads(path.read_text())
        case['growth']['seen_us'] -= 2 * DAY_S * 10**6
        path.write_text(json.dumps(case))
        u.start()
        u.ask('second.casino.com', client=ERASED)
        u.ask('others.casino.com', client=KEPT)
        assert eventually(lambda: u.json('case', 'list')[0]['rows'] == 2, 10, 0.3)
        assert len(u.log('--limit', 1000)) == 3 and 'reader' not in u.said()


def test_a_shorter_keep_reaches_rows_that_were_promised_longer(lab):
    config = {'profiles': [profile('pupils'), profile('staff', block=['gambling']), profile('guest', keep='30d')]}
    with usherd(config, LISTS) as u:
        u.ask('pupil.casino.com')
        u.ask('colleague.casino.com', client='10.30.0.5')
        u.ask('visitor.casino.com', client='10.99.0.5')
        u.log(count=3)
        u.stop()
        age(u, 20)
        u.start()
        assert len(u.log()) == 3
        assert {line['verdict'] for line in u.json('retention', '--verify')} == {'ok'}
        u.configure({'profiles': [profile('pupils', keep='7d'), profile('staff', block=['gambling']), profile('guest', keep='30d')]})
        u.restart()
        assert eventually(lambda: b'pupil\x06casino' not in log_octets(u), 5)
        assert [r['profile'] for r in u.log()] == ['guest', 'staff']
        u.configure({'profiles': [profile('pupils', keep='7d'), profile('staff', block=['gambling'], keep='7d'), profile('guest', keep='30d')]})
        u.reload()
        assert eventually(lambda: len(u.log()) == 1, 5), 'a reload is enough'
        assert b'colleague' not in log_octets(u)


def test_holding_and_erasing_is_for_root_and_the_dsl(lab):
    config = {'access': {'dsl': {'profiles': ['pupils']}, 'head': {'profiles': ['staff']}}}
    with usherd(config, LISTS) as u:
        u.ask('casino.com')
        u.log(count=1)
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setuid(65534)
            body = json.dumps({'client': '10.20.0.0/16', 'reason': 'mine'})
            os.write(writer, str([u.http('log.sock', path, 'POST', body)[0] for path in ('/v1/forget', '/v1/case/hold', '/v1/case/release')]).encode())
            os._exit(0)
        os.close(writer)
        assert os.read(reader, 100) == b'[403, 403, 400]'
        os.waitpid(pid, 0)
        assert len(u.log()) == 1 and [e['what'] for e in u.ledger()].count('log.refused') == 2


def test_what_root_reads_while_usherd_is_down_is_on_record(lab):
    with usherd({'profiles': [profile('pupils')]}, LISTS) as u:
        u.ask('casino.com', client=KEPT)
        u.log(count=1)
        u.stop()
        u.cli('case', 'list')
        u.cli('retention', '--verify')
        assert [(e['what'], e['detail']) for e in u.ledger()[-2:]] == [('case.read', {'offline': True}), ('retention.read', {'offline': True})]


KEA = 'address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n'


def lease(address, mac, name, start, lifetime=3600):
    return f'{address},{mac},,{lifetime},{int(start) + lifetime},1,0,0,{name},0,\n'


def state_octets(u):
    """All files that usherd keeps, but the ledger, which says that something was erased."""
    return {path: path.read_bytes() for path in (u.folder / 'state').rglob('*') if path.is_file() and 'ledger' not in path.parts}


def found(u, *octets):
    return {path.name for path, content in state_octets(u).items() for one in octets if one in content}


def test_a_device_is_forgotten_with_its_history_and_its_alerts(lab):
    """Its rows under two addresses, its leases, and an alert that waits for a mail server; nobody else's."""
    now = time.time()
    config = {'leases': [{'file': '{folder}/kea.csv'}],
              'alerts': {'mail-to': ['dsl@school.example'], 'sendmail': '/bin/false', 'wait': '1s', 'rules': [{'name': 'danger'}]}}
    with usherd(config, LISTS | {'self-harm': ['harm.org']}) as u:
        leases = u.write('kea.csv', KEA + lease(ERASED, 'aa:bb:cc:00:00:01', 'annas-phone', now - 60) + lease(KEPT, 'aa:bb:cc:00:00:02', 'library-pc', now - 60))
        u.reload()
        assert eventually(lambda: b'library-pc' in b''.join(state_octets(u).values()), 4)
        fill(u)
        u.ask('secret.harm.org', client=ERASED)
        time.sleep(1.1)
        with leases.open('a') as file:
            file.write(lease('10.20.4.40', 'aa:bb:cc:00:00:01', 'annas-phone', time.time()) + lease(ERASED, 'aa:bb:cc:00:00:03', 'next-pc', time.time()))
        assert eventually(lambda: b'next-pc' in b''.join(state_octets(u).values()), 4)
        u.ask('secret99.casino.com', client='10.20.4.40')
        u.ask('nextone.casino.com', client=ERASED)
        u.log('--limit', 1000, count=83)
        assert eventually(lambda: 'queue.json' in found(u, b'secret.harm'), 5)
        leases.write_text(KEA)
        [answer] = u.json('forget', '--device', 'Annas-Phone', '--reason', 'request 18')
        assert answer['rows'] == 42 and answer['finished']
        assert found(u, b'secret', b'annas-phone', bytes.fromhex('aabbcc000001'), b'aa:bb:cc:00:00:01', socket.inet_aton('10.20.4.40')) == set()
        assert found(u, b'library-pc') and found(u, b'next-pc') and found(u, b'public7')
        rows = u.log('--limit', 1000)
        assert [row['name'] for row in rows if row['client'] == ERASED] == ['nextone.casino.com'] and len(rows) == 41
        assert {row['device'] for row in rows} == {'library-pc', 'next-pc'}
        u.restart()
        assert len(u.log('--limit', 1000)) == 41 and found(u, b'secret', b'annas-phone') == set()
        [answer] = u.json('forget', '--device', 'aa-bb-cc-00-00-02', '--client', '10.99.0.0/16', '--reason', 'nothing')
        assert answer['rows'] == 0 and answer['finished']
        assert 'device' in u.cli('forget', '--device', '', '--reason', 'x', expect=(1, 2)).stderr


def test_reports_in_files_that_name_the_person_go_and_the_others_stay(lab):
    config = {'leases': [{'file': '{folder}/kea.csv'}], 'profiles': [profile('pupils')]}
    with usherd(config, LISTS) as u:
        u.write('kea.csv', KEA + lease(ERASED, 'aa:bb:cc:00:00:01', "anna's<pad>", time.time() - 60))
        assert eventually(lambda: b"anna's" in b''.join(state_octets(u).values()), 4)
        folder = u.folder / 'reports'
        folder.mkdir()
        u.ask('public1.casino.com', client=KEPT)
        u.log(count=1)
        u.cli('report', 'daily', '--since', '1h', '--format', 'html', '--output', folder / 'before.html')
        u.ask('secret1.casino.com', client=ERASED)
        u.log(count=2)
        for kind in 'html', 'text', 'csv':
            u.cli('report', 'daily', '--since', '1h', '--format', kind, '--output', folder / f'daily.{kind}')
        u.cli('report', 'term', '--format', 'html', '--output', folder / 'term.html')
        (folder / f'{ERASED}.html').write_text('a subject access report, by its name')
        (folder / 'by-name.csv').write_text("x,ANNA'S<PAD>,y")
        (folder / 'by-mac.csv').write_text('x,aa:bb:cc:00:00:01,y')
        (folder / 'longer.csv').write_text(f'{ERASED}7 {KEPT} 1{ERASED} caa:bb:cc:00:00:01')
        (folder / 'old.csv').write_text(f'{ERASED}')
        os.utime(folder / 'old.csv', (time.time() - 8 * DAY_S,) * 2)
        (folder / 'elsewhere').symlink_to(folder / 'by-name.csv')
        expected = {'daily.html', 'daily.text', 'daily.csv', f'{ERASED}.html', 'by-name.csv', 'by-mac.csv'}
        with (folder / 'huge.csv').open('w') as huge:
            huge.truncate(1 << 30)
        assert 'huge.csv' in u.cli('forget', '--client', ERASED, '--since', '7d', '--reason', 'request 19', expect=1).stderr
        assert len(u.log(count=2)) == 2, 'nothing is erased'
        (folder / 'huge.csv').unlink()
        [answer] = u.json('forget', '--client', ERASED, '--since', '7d', '--reason', 'request 19')
        assert answer['rows'] == 1 and set(answer['reports']) == expected and answer['reports_left'] == []
        assert {path.name for path in folder.iterdir()} == {'before.html', 'term.html', 'longer.csv', 'old.csv', 'elsewhere'}
        detail = next(e for e in u.ledger() if e['what'] == 'log.forget')['detail']
        assert set(detail['reports']) == expected - {f'{ERASED}.html'} | {'…'}, 'a name that names the person is not kept for good'
        (folder / 'by-name.csv').write_text("anna's<pad>")
        assert 'by-name.csv' in u.cli('forget', '--device', "anna's<pad>", '--reason', 'again').stdout


def test_kill_9_at_any_moment_of_an_erasure_leaves_all_or_nothing_and_it_ends(lab):
    chance = random.Random(9)
    config = {'leases': [{'file': '{folder}/kea.csv'}]}
    u = Usherd(config, LISTS, build=QUICK)
    try:
        u.write('kea.csv', KEA + lease(ERASED, 'aa:bb:cc:00:00:01', 'annas-phone', time.time() - 60))
        u.start()
        assert eventually(lambda: found(u, b'annas-phone'), 4)
        (u.folder / 'kea.csv').write_text(KEA)
        kept = 0
        for life in range(4):
            for i in range(30):
                u.ask(f'secret{i}.casino.com', client=ERASED)
                u.ask(f'public{life}-{i}.casino.com', client=KEPT)
            kept += 30
            before = len(u.log('--client', ERASED, '--limit', 1000, count=30, within_s=3))
            asking = subprocess.Popen([str(u.build / 'usher'), '-c', str(u.file), 'forget', '--client', ERASED, '--reason', 'x'], stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL, env=ENVIRONMENT)
            time.sleep(chance.uniform(0, 0.15 if life < 3 else 1.2))
            assert gone(u.kill(), 5)
            asking.wait(20)
            down = len(u.log('--client', ERASED, '--limit', 1000))
            assert down in (0, before), 'a reader sees half'
            u.start()
            assert len(u.log('--client', ERASED, '--limit', 1000)) == down, 'what was erased is back, or what was not is gone'
            if down:
                u.cli('forget', '--client', ERASED, '--reason', 'x')
            assert eventually(lambda: found(u, b'secret', b'annas-phone', socket.inet_aton(ERASED)) == set(), 5), found(u, b'secret', b'annas-phone')
            assert len(u.log('--client', KEPT, '--limit', 1000)) == kept
            assert eventually(lambda: not list((u.folder / 'state').rglob('erase.json*')), 5)
            assert not list((u.folder / 'state').rglob('*.new'))
        u.stop()
    finally:
        u._forget()


def test_a_clock_far_ahead_does_not_take_the_history_of_devices(lab):
    """The newest file is what the clock is held against; with one of today beside it, the clock is right and the old one goes."""
    with usherd({'leases': [{'file': '{folder}/kea.csv'}]}) as u:
        u.write('kea.csv', KEA)
        u.stop()
        devices = u.folder / 'state/devices'
        old = devices / (datetime.now(timezone.utc) - timedelta(days=400)).date().isoformat()
        for path in devices.iterdir():
            path.unlink()
        for today, stays in ((False, True), (True, False)):
            old.write_bytes(b'usher devices 1\n')
            os.utime(old, (time.time() - 400 * DAY_S,) * 2)
            if today:
                (devices / datetime.now(timezone.utc).date().isoformat()).write_bytes(b'usher devices 1\n')
            u.start()
            time.sleep(0 if today else 1.2)
            assert eventually(lambda: old.exists() == stays, 4)
            [line] = [line for line in u.json('retention', '--verify', expect=int(stays)) if line['class'] == 'devices']
            assert (line['files'], line['verdict']) == (1, 'overdue' if stays else 'ok')
            u.stop()
