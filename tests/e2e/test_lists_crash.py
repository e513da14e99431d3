"""Issue 3 point 6: whatever happens to an update or to its files, one whole generation serves, and somebody is told."""

import json
import os
import random
import subprocess
import time
from contextlib import contextmanager

import pytest

from usher import BUILD, ENVIRONMENT, PLAIN_BUILD, Usherd, eventually, usherd

QUICK = PLAIN_BUILD if (PLAIN_BUILD / 'usher').exists() else BUILD     # many short runs
SOURCES = [{'name': 'a', 'url': 'file://{folder}/a.txt', 'format': 'domains', 'category': 'gambling'}]


def made(text, **config):
    u = Usherd(config)
    u.write('a.txt', text)
    u.configure({'lists': {'sources': SOURCES, 'max-shrink': '100%'}})
    return u


def names(stem, count):
    return ''.join(f'{stem}{i}.casino.com\n' for i in range(count))


def lists_of(u):
    return u.folder / 'state/lists'


def status(u):
    """(the generation that can be used, what was said)."""
    result = subprocess.run([str(QUICK / 'usher'), '-c', str(u.file), 'lists', 'status', '--json'], capture_output=True, text=True, env=ENVIRONMENT,
                            check=False, timeout=30)
    assert result.returncode in (0, 1), result.stderr
    return json.loads(result.stdout)['generation'], result.stderr


def test_update_killed_at_200_random_points_leaves_the_old_or_the_new(lab):
    chance = random.Random(3)
    u = made(names('n0-', 5000))
    command = [str(QUICK / 'usher'), '-c', str(u.file), 'lists', 'update', '--force']
    try:
        began = time.monotonic()
        subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT)
        took, published, deadline = time.monotonic() - began, 0, time.monotonic() + 90
        before = status(u)[0]
        for run in range(200):
            count = 5000 + run + 1
            u.write('a.txt', names(f'n{run}-', count))
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
            time.sleep(chance.uniform(0, took))
            process.kill()
            process.wait()
            now, said = status(u)
            assert 'damaged' not in said and 'missing' not in said, said
            assert (now['id'], now['names']) == (before['id'], before['names']) or (now['id'] > before['id'] and now['names'] == count), run
            published += now['id'] != before['id']
            before = now
            if time.monotonic() > deadline:
                break
        assert run >= 60, 'this machine is too slow for the test to say anything'
        assert 0 < published < run, 'the kills did not fall into the update'
        subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT)
        lists = lists_of(u)
        assert list((lists / 'work').iterdir()) == [], 'the next run cleans up'
        assert {p.stem for p in lists.glob('gen-*.mdb')} == {p.stem for p in lists.glob('gen-*.json')}
        assert not list(lists.glob('*.new'))
    finally:
        u._forget()


@contextmanager
def small_disk(u, size):
    """The lists on a disk of their own."""
    folder = lists_of(u)
    folder.mkdir(parents=True, exist_ok=True)
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size},mode=0777', 'tmpfs', str(folder)], check=False).returncode != 0:
        pytest.skip('nothing can be mounted here')
    try:
        yield folder
    finally:
        subprocess.run(['umount', '-l', str(folder)], check=True)


def test_full_disk_changes_nothing_and_is_named(lab):
    u = made(names('n', 100))
    try:
        with small_disk(u, '2m'):
            u.cli('lists', 'update')
            u.write('a.txt', names('much-too-long-for-a-small-disk', 60000))
            result = u.cli('lists', 'update', expect=1)
            assert 'No space left' in result.stderr + result.stdout
            generation, said = status(u)
            assert generation['names'] == 100 and 'damaged' not in said
            u.write('a.txt', names('n', 101))
            u.cli('lists', 'update')
            assert status(u)[0]['names'] == 101
    finally:
        u._forget()


def test_read_only_disk_changes_nothing_and_is_named(lab):
    u = made(names('n', 100))
    try:
        with small_disk(u, '8m') as folder:
            u.cli('lists', 'update')
            subprocess.run(['mount', '-o', 'remount,ro', str(folder)], check=True)
            u.write('a.txt', names('n', 101))
            assert 'Read-only file system' in u.cli('lists', 'update', expect=1).stderr
            assert status(u)[0]['names'] == 100
    finally:
        u._forget()


def test_two_updates_at_once_take_turns(lab):
    u = made(names('n', 2000))
    try:
        command = [str(BUILD / 'usher'), '-c', str(u.file), 'lists', 'update', '--force']
        runs = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) for _ in range(3)]
        assert [(run.wait(60), run.stderr.read()) for run in runs if run.wait(60) != 0] == []
        assert status(u)[0]['id'] == 3
    finally:
        u._forget()


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << at % 8
    path.write_bytes(content)


def test_flipped_bit_anywhere_is_refused(lab):
    u = made(names('old', 400))
    try:
        u.cli('lists', 'update')
        u.write('a.txt', names('new', 3000))
        u.cli('lists', 'update')
        store = (lists_of(u) / 'current').resolve()
        whole = store.read_bytes()
        # Both heads, every page's head, its pointers and its data, and the end.
        places = {0, 8, 16, 24, 40, 4096, 4096 + 100, len(whole) - 1}
        places |= {page + at for page in range(8192, len(whole), 4096 * 5) for at in (3, 11, 17, 600, 3000, 4095)}
        for at in sorted(p for p in places if p < len(whole)):
            flip(store, at)
            generation, said = status(u)
            assert generation['names'] == 400 and 'damaged' in said and store.name in said, at
            store.write_bytes(whole)
        for size in 0, 1, 4095, 4096, len(whole) // 2, len(whole) - 4096, len(whole) - 1:
            store.write_bytes(whole[:size])
            assert status(u)[0]['names'] == 400, size
        store.write_bytes(whole + bytes(4096))
        assert status(u)[0]['names'] == 400
        store.write_bytes(whole)
        manifest = store.with_suffix('.json')
        text = manifest.read_bytes()
        for damage in b'', b'{}', b'[]', text[:len(text) // 2], text.replace(b'"size"', b'"sise"'), text.replace(b'"hash": "', b'"hash": "0'):
            manifest.write_bytes(damage)
            assert status(u)[0]['names'] == 400, damage[:40]
        manifest.write_bytes(text)
        assert status(u)[0]['names'] == 3000
        u.cli('lists', 'update')
    finally:
        u._forget()


def test_damaged_new_generation_never_serves(lab):
    with usherd(lists={'gambling': ['casino.com']}) as u:
        lists = lists_of(u)
        old = (lists / 'current').resolve()
        for suffix in '.mdb', '.json':
            (lists / f'gen-000099{suffix}').write_bytes(old.with_suffix(suffix).read_bytes())
        flip(lists / 'gen-000099.mdb', 5000)
        os.symlink('gen-000099.mdb', lists / 'next')
        os.rename(lists / 'next', lists / 'current')
        assert eventually(lambda: 'gen-000099' in u.said(), 3)
        assert u.generation() == 1 and u.ask('casino.com').ede == 15
        u.write('gambling.txt', 'casino.com\npoker.net\n')
        u.cli('lists', 'update')
        assert eventually(lambda: u.ask('poker.net').ede == 15, 3), 'the next run did not put it right'


@pytest.mark.parametrize('what', ['missing', 'dangling', 'nonsense'])
def test_lost_link_keeps_the_daemon_going_and_the_next_run_makes_it_anew(lab, what):
    with usherd(lists={'gambling': ['casino.com']}) as u:
        current = lists_of(u) / 'current'
        current.unlink()
        if what != 'missing':
            current.symlink_to('gen-000007.mdb' if what == 'dangling' else 'somewhere')
        time.sleep(0.6)
        assert u.ask('casino.com').ede == 15
        u.restart()
        assert u.ask('casino.com').ede == 15
        assert 'serves instead' in u.said() and ('gen-000007' if what == 'dangling' else 'current') in u.said()
        u.cli('lists', 'update')
        assert current.resolve().exists() and current.resolve().suffix == '.mdb'
        assert 'serves instead' not in status(u)[1]


def resident(pid):
    """Octets of the process's own memory: files that are mapped belong to all."""
    text = open(f'/proc/{pid}/status', encoding='ascii').read()
    return int(text.split('RssAnon:')[1].split()[0]) * 1024


@pytest.mark.skipif(QUICK == BUILD, reason='needs the build without sanitizers')
def test_thirty_generations_leave_memory_and_answers_as_they_were(lab):
    texts = {even: names('n', 20000) + ('even.net\n' if even else 'odd.net\n') for even in (True, False)}
    u = made(texts[False])
    u.build = QUICK
    u.cli('lists', 'update')
    with u:
        before = None
        with u.load(['n7.casino.com', 'www.plain.com'], rate=500) as load:
            for run in range(30):
                even = run % 2 == 0
                u.write('a.txt', texts[even])
                u.cli('lists', 'update')
                assert eventually(lambda: u.ask('even.net').blocked == even and u.ask('odd.net').blocked != even, 3), run
                if run == 9:
                    before = resident(u.process.pid)
            after = resident(u.process.pid)
        assert load.lost == 0 and load.got('n7.casino.com') == {'NXDOMAIN'} and load.got('www.plain.com') == {'192.0.2.1'}
        assert after < before + (4 << 20), f'{before} octets after 10 generations, {after} after 30'
        maps = open(f'/proc/{u.process.pid}/maps', encoding='ascii').read()
        assert maps.count('gen-') < 10, 'old generations stay mapped'
