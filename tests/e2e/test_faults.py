"""Issue 5, point 12: what usherd's own faults do to pupils, and where they are told. It never stops filtering in silence."""

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from usher import ROOT, STAFF, eventually, profile, signal_process, usherd

LISTS = {'gambling': ['casino.com']}
KEYS = ['lists', 'lists-damaged', 'lists-old', 'rules', 'log', 'log-lost', 'ledger', 'cases', 'recursor', 'upstream', 'trust-anchor', 'clock', 'reload',
        'worker', 'disk', 'memory']


def faults(u):
    return {key for key, on in u.stats()['faults'].items() if on} - {'memory'}


def part(u, key):
    return next((p['state'], p['text']) for p in json.loads(u.http('control.sock', '/v1/status')[1])['parts'] if p['part'] == key)


def told(u, key):
    """What operations alerts are made of."""
    file = u.folder / 'run/alerts/troubles.json'
    return json.loads(file.read_text()).get(key) if file.exists() else None


def appears(u, key, words, within_s=5):
    assert eventually(lambda: key in faults(u) and words in part(u, key)[1] and told(u, key), within_s), (key, faults(u), u.said()[-2000:])
    assert words in told(u, key) and part(u, key)[0] in ('warning', 'failed')


def goes(u, key, within_s=5):
    assert eventually(lambda: key not in faults(u) and part(u, key)[0] == 'ok' and not told(u, key), within_s), (key, faults(u))


def filters(u):
    """Blocked names are blocked, and what is known is answered."""
    return u.ask('casino.com').blocked and u.ask('www.plain.com').addresses == ['192.0.2.1']


def test_every_fault_is_told_everywhere_and_in_the_table(lab):
    with usherd(lists=LISTS) as u:
        assert list(u.stats()['faults']) == KEYS and faults(u) == set()
        metrics = u.http('stats.sock', '/metrics')[1]
        assert [k for k in KEYS if not re.search(rf'^usher_fault{{fault="{k}"}} [01]$', metrics, re.M)] == []
        parts = {p['part'] for p in u.json('status')[0]['parts']}
        assert set(KEYS) - parts == set()
    for document in 'README.md', 'resolver/usherd.8':
        text = (ROOT / document).read_text()
        assert [k for k in KEYS if k not in text.split('Faults')[-1]] == [], document


def test_files_that_go_bad_are_told_and_nobody_notices(lab):
    """One school day: a bad reload, a ledger that was touched, a trust anchor that is gone, a list nobody confirmed."""
    u = usherd({'recursion': {'trust-anchor': '{folder}/root.key'}}, LISTS)
    shutil.copy(lab.trust_anchor, u.folder / 'root.key')
    with u:
        assert filters(u)

        good, anchor, ledger = u.file.read_text(), u.folder / 'root.key', u.folder / 'state/ledger/ledger.jsonl'
        u.reload()
        entries = ledger.read_bytes()
        ledger.write_bytes(entries.replace(b'"reload"', b'"reloaf"'))
        u.reload()
        anchor.rename(u.folder / 'root.away')
        u.file.write_text(good.replace('10.20.0.0/16', '10.20.0.0/99'))
        signal_process(u.process.pid, signal.SIGHUP)
        appears(u, 'reload', 'profiles[0].networks[0]')
        assert '10.20' not in told(u, 'reload'), 'what stands in the file is not for mails'
        appears(u, 'trust-anchor', 'No such file')
        appears(u, 'ledger', 'damaged')
        assert filters(u) and u.ask('www.signed.com', do=True).ad

        ledger.write_bytes(entries)
        (u.folder / 'root.away').rename(anchor)
        u.file.write_text(good)
        u.reload()
        for key in 'reload', 'trust-anchor', 'ledger':
            goes(u, key)


def test_case_that_cannot_go_on_is_told_for_it_keeps_the_log_of_all(lab):
    with usherd({'leases': [{'file': '{folder}/kea.csv'}]}, LISTS) as u:
        u.write('kea.csv', 'address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n'
                f'10.20.0.5,aa:bb:cc:00:00:01,,86400,{int(time.time()) + 86340},1,0,0,annas-phone,0,\n')
        assert eventually(lambda: any(b'annas-phone' in p.read_bytes() for p in (u.folder / 'state/devices').glob('*')), 5)
        u.ask('casino.com', client='10.20.0.5')
        u.log(count=1)
        [case] = u.json('case', 'hold', '--device', 'annas-phone', '--since', '1h', '--reason', 'case 2026-7')
        assert case['goes_on'] and faults(u) == set()
        u.stop()
        path = u.folder / 'state/log/case-1.json'
        good = json.loads(path.read_text())
        good['growth']['seen_us'] -= 2 * 86400 * 10**6
        path.write_text(json.dumps(good | {'growth': good['growth'] | {'client': 'nowhere'}}))
        u.start()
        appears(u, 'cases', 'Bad message', 12)
        assert filters(u)
        u.stop()
        path.write_text(json.dumps(good))
        u.start()
        goes(u, 'cases', 12)


def test_lists_that_cannot_be_read_close_pupils_and_are_told(lab):
    with usherd({'profiles': [profile('pupils'), profile('staff', on_list_failure='open')]}, LISTS) as u:
        u.stop()
        [generation] = (u.folder / 'state/lists').glob('gen-*.mdb')
        whole = generation.read_bytes()
        generation.write_bytes(whole[:5000])
        u.start()
        assert u.ask('www.plain.com').rcode == 'SERVFAIL' and u.ask('www.plain.com', client=STAFF).addresses
        assert eventually(lambda: 'lists' in faults(u) and told(u, 'lists'), 5) and part(u, 'lists')[0] == 'failed'
        u.cli('lists', 'update', '--force')
        goes(u, 'lists')
        assert filters(u)

        u.write('gambling.txt', 'casino.com\nbingo.com\n')
        u.cli('lists', 'update')
        newest = (u.folder / 'state/lists/current').resolve()
        u.stop()
        whole = newest.read_bytes()
        newest.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        u.start()
        appears(u, 'lists-damaged', newest.name)
        assert filters(u)

        u.cli('lists', 'update', '--force')
        account = u.folder / 'state/lists/sources/gambling/good.json'
        account.write_text(re.sub(r'"fetched_at": ?\d+', f'"fetched_at": {int(time.time()) - 9 * 86400}', account.read_text()))
        appears(u, 'lists-old', 'gambling was last confirmed 9 days ago')
        assert filters(u)


def test_clock_before_the_log_is_told(lab):
    with usherd(lists=LISTS) as u:
        assert u.ask('casino.com').blocked
        u.stop()
        tomorrow = time.time() + 86400
        os.utime(next((u.folder / 'state/log').glob('*.mdb')), (tomorrow, tomorrow))
        u.start()
        appears(u, 'clock', 'it is slow')
        assert filters(u)


def test_full_disk_loses_no_block_and_the_log_goes_on_when_there_is_room(lab):
    with usherd({'workers': 1, 'log': {'ring': '1MiB'}}, LISTS) as u:
        u.stop()
        folder = u.folder / 'state/log'
        if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=8m,mode=0777', 'tmpfs', str(folder)], check=False).returncode != 0:
            pytest.skip('nothing can be mounted here')
        try:
            u.start()
            filler = folder / 'filler'
            with filler.open('wb', buffering=0) as f:
                while True:
                    try:
                        f.write(bytes(4096))
                    except OSError:
                        break
            before = u.stats()['log']['events']
            assert all(u.ask('casino.com').blocked for _ in range(20))
            appears(u, 'disk', 'is full')
            assert eventually(lambda: 'log' in faults(u), 5) and part(u, 'log')[0] == 'failed'
            assert u.ask('www.plain.com').addresses == ['192.0.2.1']
            filler.unlink()
            goes(u, 'disk')
            goes(u, 'log', within_s=10)
            assert u.stats()['log']['events'] == before + 20
            u.log(count=20, within_s=5)
            u.stop()
        finally:
            subprocess.run(['umount', '-l', str(folder)], check=True)


def test_recursor_that_keeps_dying_is_told_and_blocks_go_on(lab):
    with usherd(lists=LISTS) as u:
        assert filters(u)
        for _ in range(3):
            pid = u.recursor_pid()
            signal_process(pid)
            assert filters(u)
            assert eventually(lambda: u.recursor_pid() not in (None, pid), 5)
        appears(u, 'recursor', 'keeps dying')


def test_worker_that_hangs_is_told_and_systemd_hears_no_more(lab):
    """One thread is stopped as a debugger stops it; the others go on."""
    libc = ctypes.CDLL(None, use_errno=True)
    with usherd(lists=LISTS) as u:
        tasks = [int(t) for t in os.listdir(f'/proc/{u.process.pid}/task')]
        names = {t: open(f'/proc/{u.process.pid}/task/{t}/comm').read().strip() for t in tasks}
        [tid, *_] = [t for t, name in names.items() if 'worker' in name]
        assert libc.ptrace(16, tid, 0, 0) == 0                                     # PTRACE_ATTACH
        os.waitpid(tid, 0x40000000)                                                # __WALL
        try:
            appears(u, 'worker', 'has not turned its loop', within_s=12)
        finally:
            libc.ptrace(17, tid, 0, 0)                                             # PTRACE_DETACH
        goes(u, 'worker')
        assert filters(u)


def failing(u, zone, count=25):
    """Asks so many names of the zone; what came back."""
    with u.load([f'n{i}-{u.server[-1]}.{zone}' for i in range(count)], rate=400) as load:
        eventually(lambda: len(load.results) == count, 5)
    return {answer for got in load.results.values() for answer in got}


def test_dead_upstream_and_an_old_trust_anchor_are_told_apart(lab):
    """All fails for ten seconds: the servers, or the keys. Blocks and known names go on; the first good answer ends it."""
    old = usherd({'recursion': {'trust-anchor': '{folder}/root.key'}}, LISTS)
    key = next(path for name, path in lab.keys.items() if name != '.')
    old.write('root.key', re.sub(r'^\S+', '.', Path(f'{key}.key').read_text()))
    with old, usherd(lists=LISTS) as dead:
        assert filters(dead)
        time.sleep(2.2)                                                            # so that the good answer is seen before the bad ones
        lab.flaky.mode = 'servfail'
        assert failing(dead, 'flaky.com') == failing(old, 'plain.com') == {'SERVFAIL'}
        appears(old, 'trust-anchor', 'failed DNSSEC validation', within_s=15)
        appears(dead, 'upstream', 'got no answer', within_s=15)
        assert 'upstream' not in faults(old) and 'trust-anchor' not in faults(dead)
        assert filters(dead) and old.ask('casino.com').blocked
        lab.flaky.reset()
        shutil.copy(lab.trust_anchor, old.folder / 'root.key')
        old.cli('flush', '.')
        assert eventually(lambda: old.ask('again.many.com').addresses, 8, every_s=0.2) and dead.ask('again.flaky.com').addresses
        goes(old, 'trust-anchor')
        goes(dead, 'upstream')
