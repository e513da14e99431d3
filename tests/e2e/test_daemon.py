"""Issue point 3: the daemon's life: addresses, rights, reload, the recursor's death, its own end."""

import os
import pwd
import re
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from usher import (BUILD, ENVIRONMENT, PUPIL, PUPIL6, STAFF, alive, command_line, descendants, eventually, framed, gone, profile,
                   signal_process, usherd, wire)

LISTS = {'gambling': ['casino.com']}


@pytest.fixture(scope='module')
def u(lab):
    with usherd(lists=LISTS) as u:
        yield u


# ---- addresses -----------------------------------------------------------------------------------------------------------------

def test_wildcard_listeners_answer_from_the_address_that_was_asked(lab):
    with usherd({'listen': ['0.0.0.0@5300', '::@5300', '10.0.99.1@53']}, LISTS, server='10.0.99.1') as u:
        for server, client in (('127.0.0.1', '127.20.0.1'), ('127.9.9.9', '127.20.0.1'), ('10.0.99.1', PUPIL), ('10.30.0.77', PUPIL), (u.server6, PUPIL6),
                               ('::1', '::1'), ('fd00:30::5', PUPIL6)):
            for tcp in False, True:
                assert u.ask('casino.com', client=client, server=server, port=5300, tcp=tcp).blocked, (server, tcp)


def test_address_in_use_is_said_in_a_sentence(lab):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(('127.0.0.1', 5399))
        u = usherd({'listen': ['127.0.0.1@5399']})
        refused_to_start(u, '127.0.0.1')


def refused_to_start(u, word):
    """usherd ends with 1, naming word, in one or two lines, and leaves nothing running."""
    try:
        u.start(wait=False)
        children = descendants(u.process.pid)
        assert eventually(lambda: u.process.poll() is not None, 10), 'it runs'
        assert u.process.returncode == 1, u.said()
        assert word in u.said()
        u.check_sanitizers()
        assert gone(children)
        u.process = None
    finally:
        u._forget()


def test_second_usherd_on_the_same_state_says_so_and_ends(u):
    config = u.file.read_text().replace('@53"', '@5304"').replace('/run"', '/run2"')
    other = u.write('second.yaml', config)
    result = subprocess.run([str(BUILD / 'usherd'), '-c', str(other)], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=ENVIRONMENT, timeout=20)
    assert result.returncode == 1
    assert 'state' in result.stderr and 'Sanitizer' not in result.stderr
    assert u.ask('casino.com').blocked and u.stats()['version']


# ---- rights --------------------------------------------------------------------------------------------------------------------

def uids(pid):
    line = next(line for line in Path(f'/proc/{pid}/status').read_text().splitlines() if line.startswith('Uid:'))
    return {int(n) for n in line.split()[1:]}


def capabilities(pid):
    line = next(line for line in Path(f'/proc/{pid}/status').read_text().splitlines() if line.startswith('CapEff:'))
    return int(line.split()[1], 16)


def test_rights_are_dropped_after_binding(lab):
    with usherd({'user': 'nobody', 'recursor-user': 'daemon'}, LISTS) as u:
        assert u.ask('casino.com').blocked and u.ask('www.plain.com').addresses
        nobody, daemon = pwd.getpwnam('nobody').pw_uid, pwd.getpwnam('daemon').pw_uid
        assert uids(u.process.pid) == {nobody}
        assert capabilities(u.process.pid) == 0
        recursor = u.recursor_pid()
        assert uids(recursor) == {daemon} and capabilities(recursor) == 0
        if 'no sandbox' not in u.said():    # which sanitizers do not bear
            assert 'Seccomp:\t2' in Path(f'/proc/{recursor}/status').read_text(), 'no system call filter'
        keepers = [pid for pid in descendants(u.process.pid) if 0 in uids(pid)]
        assert len(keepers) <= 1 and all(capabilities(pid) & ~(1 << 5 | 1 << 6 | 1 << 7) == 0 for pid in keepers)
        u.log(count=1)
        u.write('gambling.txt', 'casino.com\npoker.net\n')
        u.cli('lists', 'update')
        assert eventually(lambda: u.ask('poker.net').blocked, 2)
        signal_process(recursor)
        assert eventually(lambda: u.ask('fresh-rights.many.com').addresses, 3)


def workers_classes(pid):
    """By sched(7): 0 is the usual one, 2 SCHED_RR."""
    return [os.sched_getscheduler(int(task.name)) for task in Path(f'/proc/{pid}/task').iterdir() if (task / 'comm').read_text() == 'worker\n']


def test_worker_goes_first_but_not_in_a_flood(lab):
    """As root, who may grant it; nothing else of usherd's does."""
    if subprocess.run(['chrt', '-r', '1', 'true'], stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip('nobody may go first on this machine')
    with usherd({'user': 'nobody', 'workers': 1}, LISTS) as u:
        def calm():
            time.sleep(0.02)
            return u.ask('casino.com').blocked and workers_classes(u.process.pid) == [os.SCHED_RR]

        assert eventually(calm, 5)
        everybody = [os.sched_getscheduler(pid) for pid in [u.process.pid, *descendants(u.process.pid)]]
        assert os.SCHED_RR not in everybody and capabilities(u.process.pid) == 0
        limits = [Path(f'/proc/{pid}/limits').read_text() for pid in descendants(u.process.pid)]
        assert limits and all(re.search(r'^Max realtime priority +0 +0 *$', limit, re.M) for limit in limits), 'nobody limits their time'
        with u.connect(PUPIL) as connection, ThreadPoolExecutor() as threads:
            def send():
                with suppress(OSError):
                    while True:
                        connection.sendall(pipelined)

            def receive():
                with suppress(OSError):
                    while connection.recv(1 << 20):
                        pass

            pipelined = framed(wire('casino.com')) * 2000
            threads.submit(send), threads.submit(receive)
            flooded = eventually(lambda: workers_classes(u.process.pid) == [os.SCHED_OTHER], 5)
            connection.shutdown(socket.SHUT_RDWR)
            assert flooded, 'it would keep everybody else from the processor'
        assert eventually(calm, 5)


def test_configured_user_that_does_not_exist_is_fatal(lab):
    refused_to_start(usherd({'user': 'no-such-user'}), 'no-such-user')


# ---- reload ---------------------------------------------------------------------------------------------------------------------

def test_reload_under_load_loses_nothing_and_takes_effect(lab):
    with usherd(lists={'gambling': ['casino.com'], 'games': ['games.org']}) as u:
        with u.load(['casino.com', 'games.org', 'www.plain.com'], [PUPIL, STAFF], rate=800) as load:
            for i in range(4):
                u.configure({'profiles': [profile('pupils', block=['gambling'] if i % 2 == 0 else ['gambling', 'games']), profile('staff')]})
                u.reload() if i % 2 else u.process.send_signal(signal.SIGHUP)
                time.sleep(0.5)
            u.configure({'profiles': [profile('pupils', block=['games']), profile('staff')]})
            u.reload()
            assert eventually(lambda: not u.ask('casino.com').blocked, 2)
            time.sleep(0.3)
        assert load.lost == 0
        assert load.got('www.plain.com') == {'192.0.2.1'}
        assert load.got('casino.com') == {'NXDOMAIN', '192.0.2.1'} and load.got('casino.com', STAFF) == {'192.0.2.1'}
        assert load.got('games.org') == {'NXDOMAIN', '192.0.2.1'}
        assert u.ask('games.org').blocked


def test_reload_brings_a_new_profile_network_and_recursion_setting(lab):
    with usherd(lists=LISTS) as u:
        assert u.ask('casino.com', client='10.77.9.1').blocked, 'the default profile'
        u.configure({'profiles': [profile('pupils'), profile('staff', networks=['10.30.0.0/16', '10.77.9.0/24'])],
                     'internal-zones': [{'zone': 'ad.school.example', 'servers': ['127.0.53.10']}]})
        u.reload()
        assert eventually(lambda: u.ask('casino.com', client='10.77.9.1').addresses == ['192.0.2.1'], 2)
        assert eventually(lambda: u.ask('files.ad.school.example').addresses == ['10.0.0.20'], 3)


@pytest.mark.parametrize('how', ['command', 'signal'])
def test_bad_configuration_on_reload_changes_nothing_and_is_named(u, how):
    good = u.file.read_text()
    try:
        u.file.write_text(good.replace('10.20.0.0/16', '10.20.0.0/99'))
        if how == 'command':
            result = u.cli('reload', expect=1)
            assert '10.20.0.0/99' in result.stdout + result.stderr
        else:
            u.process.send_signal(signal.SIGHUP)
            assert eventually(lambda: '10.20.0.0/99' in u.said(), 2)
        assert u.ask('casino.com').blocked and u.ask('casino.com', client=STAFF).addresses
        u.file.unlink()
        u.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert u.ask('casino.com').blocked
    finally:
        u.file.write_text(good)
    u.reload()


# ---- the recursor ----------------------------------------------------------------------------------------------------------------

def test_recursor_killed_under_load(lab):
    with usherd(lists=LISTS) as u:
        u.ask('cached.many.com')
        first = u.recursor_pid()
        with u.load(['casino.com', 'cached.many.com'], rate=800) as load:
            time.sleep(0.3)
            signal_process(first)
            began = time.monotonic()
            assert u.ask('fresh-after-death.many.com', timeout=6).addresses == ['192.0.2.20']
            assert time.monotonic() - began < 1.2
        assert load.lost == 0
        assert load.got('casino.com') == {'NXDOMAIN'} and load.got('cached.many.com') == {'192.0.2.20'}
        second = u.recursor_pid()
        assert second != first
        for i in range(3):
            signal_process(u.recursor_pid())
            assert eventually(lambda: u.ask(f'fresh-{i}-again.many.com', timeout=6).addresses, 3)


def test_question_in_flight_survives_the_recursor(lab, u):
    import concurrent.futures
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(u.ask, 'd1000.survivor.slow.com')
        time.sleep(0.3)
        signal_process(u.recursor_pid())
        assert waiting.result().addresses == ['192.0.2.70']


# ---- the end ---------------------------------------------------------------------------------------------------------------------

def test_sigterm_drains_and_ends_within_two_seconds(lab):
    with usherd(lists=LISTS) as u:
        u.ask('casino.com')
        connections = [u.connect() for _ in range(20)]
        assert u.stop(within_s=10) < 2.0
        for connection in connections:
            connection.close()
        u.start()
        assert len(u.log(count=1)) == 1, 'what was blocked before the end is in the log'


def test_sigterm_under_load_answers_what_it_took(lab):
    with usherd(lists=LISTS) as u:
        with u.load(['casino.com', 'www.plain.com'], rate=500) as load:
            time.sleep(0.5)
            load.on = False
            time.sleep(0.02)
            u.stop()
        assert load.lost == 0


def test_sigterm_in_the_middle_of_its_start_is_a_good_end_too(lab):
    u = usherd(lists=LISTS)
    try:
        u.start(wait=False)
        assert eventually((u.folder / 'run/ring-0').exists, 15, 0.001)
        u.stop()
    finally:
        u._forget()


def test_sigint_ends_it_too(lab):
    with usherd(lists=LISTS) as u:
        u.process.send_signal(signal.SIGINT)
        assert u.process.wait(5) == 0
        u.process = None


def test_kill_leaves_no_orphan_and_a_new_one_starts(lab):
    with usherd(lists=LISTS) as u:
        u.recursor_pid()
        children = u.kill()
        assert children and gone(children, 2), [command_line(pid) for pid in children if alive(pid)]
        u.start()
        assert u.ask('casino.com').blocked and u.ask('www.plain.com').addresses


def test_keeper_killed_ends_or_heals(lab):
    """Without its keeper usherd may end (a service manager starts it again) or go on, but must not hang half dead."""
    with usherd(lists=LISTS) as u:
        u.recursor_pid()
        tree = descendants(u.process.pid)
        keeper = next(pid for pid in tree if 'recursor' not in command_line(pid) and descendants(pid))
        signal_process(keeper)
        if eventually(lambda: u.process.poll() is not None, 3):
            assert gone(tree)
            u.process = None
        else:
            assert u.ask('casino.com').blocked and u.ask('fresh-keeper.many.com', timeout=6).addresses


def test_file_descriptors_do_not_leak(u):
    def count():
        return len(os.listdir(f'/proc/{u.process.pid}/fd'))
    u.ask('casino.com', tcp=True)
    u.stats()
    before = count()
    for _ in range(30):
        u.ask('casino.com', tcp=True)
        u.stats()
    u.reload()
    assert eventually(lambda: count() <= before + 3, 12), (before, count())


def test_systemd_is_told_when_it_is_ready(lab):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        u = usherd(lists=LISTS)
        path = u.folder / 'notify'
        notify.bind(str(path))
        notify.settimeout(10)
        path.chmod(0o777)
        ENVIRONMENT['NOTIFY_SOCKET'] = str(path)
        try:
            with u:
                said = notify.recv(4096).decode()
                while 'READY=1' not in said:
                    said += notify.recv(4096).decode()
        finally:
            del ENVIRONMENT['NOTIFY_SOCKET']
