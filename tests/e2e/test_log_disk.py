"""Issue 6, point 1 and its figures: what the disk does to the log. A power loss costs a second at most, a full or read-only disk costs nothing
but what no longer fits into the rings, and that is counted and told."""

import fcntl
import os
import random
import shutil
import struct
import subprocess
import threading
import time
from contextlib import contextmanager

import dns.message
import pytest
from usher import BUILD, PLAIN_BUILD, Usherd, eventually

EXT4_SHUTDOWN, NO_LOG_FLUSH = 0x8004587d, 2     # ioctl_ext4(2): the file system stops as if the power had failed

QUICK = PLAIN_BUILD if (PLAIN_BUILD / 'usherd').exists() else BUILD     # many short lives


def made(**config):
    """usherd that is not started yet, its log on no disk of its own yet."""
    u = Usherd(config, build=QUICK)
    u.configure({'lists': {'sources': [u.source('gambling', ['casino.com'])]}})
    u.cli('lists', 'update')
    return u


@contextmanager
def mounted(folder, *words):
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(['mount', *map(str, words), str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(['umount', '-l', str(folder)], check=True)


class Asking(threading.Thread):
    """Asks new blocked names at a steady rate; answered[name] is when the answer came."""

    def __init__(self, u, rate, stem='n'):
        super().__init__(daemon=True)
        self.rate, self.stem = rate, stem
        self.answered = {}
        self.on = True
        self.socket = u.datagrams()
        self.socket.setblocking(False)

    def run(self):
        began, sent = time.monotonic(), 0
        while self.on:
            due = int((time.monotonic() - began) * self.rate)
            try:
                for sent in range(sent, due):
                    self.socket.send(dns.message.make_query(f'{self.stem}{sent}.casino.com', 'A', id=sent & 0xffff, use_edns=False).to_wire())
                sent = max(sent, due)
                while True:
                    name = dns.message.from_wire(self.socket.recv(2048)).question[0].name.to_text(omit_final_dot=True)
                    self.answered[name] = time.monotonic()
            except OSError:
                time.sleep(0.002)

    def finish(self):
        self.on = False
        self.join()
        self.socket.close()


def lose_power(u, folder):
    """When that was. What is in memory alone is lost: the pages of the rings, too, that the kernel did not write by itself."""
    disk = os.open(folder, os.O_RDONLY)
    u.kill()
    fcntl.ioctl(disk, EXT4_SHUTDOWN, struct.pack('I', NO_LOG_FLUSH))
    os.close(disk)
    return time.monotonic()


def test_power_loss_costs_a_second_at_most_and_damages_nothing(lab):
    """A file system of its own that is stopped without writing anything more, journal and caches, and mounted again."""
    chance = random.Random(6)
    u = made(log={'ring': '1MiB'})
    image = u.folder / 'disk.ext4'
    try:
        subprocess.run(['truncate', '-s', '64M', image], check=True)
        subprocess.run(['mkfs.ext4', '-q', '-E', 'lazy_itable_init=0', image], check=True)
        folder, safe, answered = u.folder / 'state/log', set(), set()
        for life in range(3):
            with mounted(folder, '-o', 'loop', image):
                u.start()
                asking = Asking(u, 1500, f'life{life}-')
                asking.start()
                time.sleep(chance.uniform(1.2, 2))
                lost_at = lose_power(u, folder)
                asking.finish()
            safe |= {name for name, at in asking.answered.items() if at < lost_at - 1}
            answered |= set(asking.answered)
        assert len(safe) > 500, 'this machine is too slow for the test to say anything'
        with mounted(folder, '-o', 'loop', image):
            u.start()
            rows = [row['name'] for row in u.log('--limit', 50000)]
            assert safe - set(rows) == set(), 'answered more than a second before the power failed, and lost'
            assert len(rows) == len(set(rows)), 'in the log twice'
            assert not list(folder.glob('*.damaged*')) and 'damaged' not in u.said(), u.said()
            u.ask('again.casino.com')
            u.log('--name', 'again.casino.com', count=1)
            u.stop()
    finally:
        u._forget()


@contextmanager
def read_only(folder):
    """folder takes nothing; yields what mends it."""
    with mounted(folder, '--bind', folder):
        subprocess.run(['mount', '-o', 'remount,bind,ro', str(folder)], check=True)
        yield lambda: subprocess.run(['mount', '-o', 'remount,bind,rw', str(folder)], check=True)


@contextmanager
def full(folder):
    """As read_only()."""
    beside = folder.with_name('beside')
    subprocess.run(['cp', '-a', str(folder), str(beside)], check=True)
    with mounted(folder, '-t', 'tmpfs', '-o', 'size=16m', 'tmpfs'):
        subprocess.run(['cp', '-a', f'{beside}/.', str(folder)], check=True)
        yield fill(folder).unlink


@pytest.mark.parametrize('fails, words', [(read_only, 'Read-only'), (full, 'No space left')])
def test_disk_that_takes_nothing_at_start_filters_all_the_same_is_told_and_logs_when_it_can_be_written(lab, fails, words):
    u = made(alerts={**ALERTS, 'sendmail': '{folder}/sendmail'})
    try:
        mails = u.folder / 'mails'
        u.write('sendmail', f'#!/bin/sh\ncat >> {mails}\n').chmod(0o755)
        u.start()
        u.stop()
        with fails(u.folder / 'state') as mend:
            u.start()
            waiting = flood(u, 'waiting', 50)
            assert u.ask('www.plain.com').addresses, 'what is allowed is answered'
            assert eventually(lambda: log_part(u)['state'] == 'failed', 5)
            assert words in log_part(u)['text']
            assert eventually(lambda: mails.exists() and 'events cannot be written and wait' in ' '.join(mails.read_text().split()), 10), u.said()
            assert eventually(lambda: {alert['state'] for alert in u.json('alert', 'list')} == {'sent'}, 5), u.json('alert', 'list')
            assert u.said().count('the queue cannot be saved and is in memory') == 1 and 'starting it again' not in u.said(), u.said()
            mend()
            assert eventually(lambda: log_part(u)['state'] == 'ok' and u.stats()['log']['pending'] == 0, 10)
            assert waiting <= {row['name'] for row in u.log('--limit', 50000)}
            assert eventually(lambda: '"sent"' in queue(u), 3), 'what was told is kept again'
            u.stop()
    finally:
        u._forget()


def test_disk_that_is_read_only_at_the_very_first_start_filters_by_the_lists_that_are_there(lab):
    u = made()
    try:
        state = u.folder / 'state'
        assert sorted(path.name for path in state.iterdir()) == ['ledger', 'lists']
        with read_only(state) as mend:
            u.start()
            waiting = flood(u, 'waiting', 50)
            assert u.ask('www.plain.com').addresses, 'what is allowed is answered'
            assert 'Read-only' in u.said() and log_part(u)['state'] == 'failed'
            assert eventually(lambda: u.stats()['log']['pending'] > 0, 5)
            mend()
            assert eventually(lambda: u.stats()['log']['pending'] == 0, 10)
            assert waiting <= {row['name'] for row in u.log('--limit', 50000)}
            u.stop()
    finally:
        u._forget()


def test_read_only_disk_without_lists_is_no_start_and_says_why(lab):
    u = made()
    try:
        state = u.folder / 'state'
        shutil.rmtree(state / 'lists')
        with read_only(state):
            result = subprocess.run([str(BUILD / 'usherd'), '-c', str(u.file)], capture_output=True, text=True)
            assert result.returncode == 1 and 'until there are lists' in result.stderr
    finally:
        u._forget()


def fill(folder):
    """Takes all room; the path of what takes it."""
    filler = folder / 'filler'
    with open(filler, 'wb', buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    return filler


def log_part(u):
    return next(part for part in u.json('status', expect=(0, 1))[0]['parts'] if part['part'] == 'log')


ALERTS = {'mail-to': ['dsl@school.example'], 'sendmail': '/bin/false', 'wait': '1s', 'rules': [{'name': 'it', 'kind': 'operations'}]}


def queue(u):
    """The alerter's, as it is on disk."""
    path = u.folder / 'state/alerts/queue.json'
    return path.read_text() if path.exists() else ''


def told(u):
    """What the alerter was given of the log to tell."""
    return 'events cannot be written and wait' in queue(u)


def flood(u, stem, count):
    asking = Asking(u, 3000, stem)
    asking.start()
    assert eventually(lambda: len(asking.answered) >= count, 20)
    asking.finish()
    return set(asking.answered)


def test_full_disk_costs_what_no_ring_holds_and_is_told_and_passes_by_itself(lab):
    u = made(workers=1, log={'ring': '256KiB'}, alerts=ALERTS)
    try:
        with mounted(u.folder / 'state/log', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs') as folder:
            u.start()
            before = flood(u, 'before', 100)
            assert eventually(lambda: u.stats()['log']['pending'] == 0, 3)
            assert log_part(u)['state'] == 'ok'
            filler = fill(folder)
            waiting = flood(u, 'waiting', 500)
            assert eventually(lambda: log_part(u)['state'] == 'failed', 3)
            assert 'wait in memory' in log_part(u)['text'] and 'No space left' in log_part(u)['text']
            assert u.cli('status', expect=None).returncode != 0
            assert u.ask('www.plain.com').addresses, 'what is allowed is answered'
            assert set(before) <= {row['name'] for row in u.log('--limit', 50000)}, 'and what is written is read'
            assert eventually(lambda: told(u), 10), 'an alert waits'
            stats = u.stats()['log']
            assert stats['lost'] == 0 and stats['pending'] >= len(waiting) - 100
            dropped = flood(u, 'flood', 4000)
            assert u.stats()['log']['lost'] > 0
            filler.unlink()
            assert eventually(lambda: u.stats()['log']['pending'] == 0 and log_part(u)['state'] == 'ok', 10)
            after = flood(u, 'after', 100)
            stats = eventually(lambda: (lambda log: log if log['pending'] == 0 else None)(u.stats()['log']), 3)
            rows = [row['name'] for row in u.log('--limit', 50000) if row['name'].endswith('.casino.com')]
            assert before | waiting | after <= set(rows) and len(rows) == len(set(rows))
            assert len(dropped - set(rows)) <= stats['lost'], 'what was dropped is counted'
            assert stats['events'] == len(rows)
            u.stop()
    finally:
        u._forget()




def go_down(folder):
    """The file system stops, as after an error of its disk."""
    disk = os.open(folder, os.O_RDONLY)
    fcntl.ioctl(disk, EXT4_SHUTDOWN, struct.pack('I', NO_LOG_FLUSH))
    os.close(disk)


def made_on(kind, size, u):
    image = u.folder / 'disk'
    subprocess.run(['truncate', '-s', size, image], check=True)
    subprocess.run([f'mkfs.{kind}', '-q', image], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return mounted(u.folder / 'state/log', '-o', 'loop', image)


def await_waiting(u):
    assert eventually(lambda: log_part(u)['state'] == 'failed', 5)
    assert 'wait in memory' in log_part(u)['text'] and u.ask('www.plain.com').addresses


def test_disk_that_fails_under_usherd_ends_nothing_and_what_waits_outlives_a_kill(lab):
    """XFS lets no mapped page be written any more after an error: SIGBUS to who tries."""
    u = made(log={'ring': '1MiB'}, alerts=ALERTS)
    try:
        with made_on('xfs', '320M', u) as folder:
            u.start()
            before = flood(u, 'before', 100)
            assert eventually(lambda: u.stats()['log']['pending'] == 0, 3)
            os.sync()
            go_down(folder)
            waiting = flood(u, 'waiting', 300)
            await_waiting(u)
            assert eventually(lambda: told(u), 10), 'an alert waits'
            waiting |= flood(u, 'more', 300)
            assert u.process.poll() is None and u.stats()['log']['lost'] == 0
            u.kill()
        with mounted(folder, '-o', 'loop', u.folder / 'disk'):
            u.start()
            assert eventually(lambda: u.stats()['log']['pending'] == 0, 5)
            rows = [row['name'] for row in u.log('--limit', 50000)]
            assert before | waiting <= set(rows) and len(rows) == len(set(rows))
            u.stop()
    finally:
        u._forget()


def test_disk_that_fills_under_usherd_ends_nothing_where_each_write_needs_new_room(lab):
    """btrfs writes a page elsewhere each time, and has no room for a mapped one: SIGBUS to who tries."""
    u = made(log={'ring': '1MiB'})
    try:
        with made_on('btrfs', '112M', u) as folder:
            u.start()
            before = flood(u, 'before', 100)
            assert eventually(lambda: u.stats()['log']['pending'] == 0, 3)
            filler = fill(folder)
            os.sync()
            waiting = flood(u, 'waiting', 300)
            await_waiting(u)
            assert before <= {row['name'] for row in u.log('--limit', 50000)}, 'and what is written is read'
            filler.unlink()
            assert eventually(lambda: u.stats()['log']['pending'] == 0 and log_part(u)['state'] == 'ok', 15)
            rows = [row['name'] for row in u.log('--limit', 50000)]
            assert before | waiting <= set(rows) and len(rows) == len(set(rows))
            u.stop()
    finally:
        u._forget()


def test_rings_that_an_earlier_usherd_left_beside_the_log_are_committed(lab):
    u = made(workers=1)
    try:
        u.start()
        with mounted(u.folder / 'state/log', '--bind', u.folder / 'state/log') as folder:
            subprocess.run(['mount', '-o', 'remount,bind,ro', str(folder)], check=True)
            waiting = flood(u, 'waiting', 50)
            u.kill()
        (u.folder / 'run/ring-0').rename(u.folder / 'state/log/ring-0')
        u.start()
        assert waiting <= {row['name'] for row in u.log('--limit', 50000)}
        assert not list((u.folder / 'state/log').glob('ring-*'))
        u.stop()
    finally:
        u._forget()
