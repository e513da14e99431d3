"""DHCP hands out two resolvers: the second takes the first one's generations, whole and checked, or goes on with what it has."""

import functools
import http.server
import json
import shutil
import threading

import pytest

from usher import PUPIL, eventually, usherd


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def first(lab):
    u = usherd(lists={'gambling': ['one.casino.example', 'two.casino.example']})
    yield u
    u._forget()


@pytest.fixture
def site(first):
    """The first one's folder of lists, as a web server serves it."""
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=first.folder / 'state/lists'))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_address[1]}/'
    server.shutdown()
    server.server_close()


@pytest.fixture
def second(lab):
    u = usherd()
    yield u
    u._forget()


def publish(u, names):
    u.source('gambling', names)
    u.cli('lists', 'update')


def pull(u, *words, expect=0):
    lines = u.json('lists', 'pull', *words, expect=expect)
    return lines[0] if lines else None


def generation(u):
    told = u.json('lists', 'status')[0]['generation']
    return {key: told[key] for key in ('id', 'names', 'hash', 'size', 'starter', 'pinned')}


def folder(u):
    return u.folder / 'state/lists'


def test_second_serves_what_the_first_published(first, second, site):
    publish(first, ['one.casino.example', 'two.casino.example', 'three.casino.example'])
    second.configure({'lists': {'pull': site}})
    with second:
        assert pull(second)['published']
        assert eventually(lambda: second.ask('three.casino.example').ede == 15, 3)
        assert second.ask('use-application-dns.net', client=PUPIL).rcode == 'NXDOMAIN'
        ours, theirs = generation(second), generation(first)
        assert (ours['id'], ours['hash']) == (theirs['id'], theirs['hash'])
        told = second.stats()['generation']
        assert (told['id'], told['hash']) == (theirs['id'], theirs['hash']), 'drift would not show'
        again = pull(second)
        assert not again['published'] and again['generation'] == theirs['id']
        publish(first, ['four.casino.example', 'five.casino.example', 'six.casino.example'])
        assert second.json('lists', 'update')[0]['published'], 'the nightly job is the same on both'
        assert eventually(lambda: second.ask('four.casino.example').ede == 15, 3)
        assert [g['id'] for g in second.json('lists', 'history')] == [3, 2]
        second.cli('lists', 'rollback')
        assert pull(second)['pinned']
        assert pull(second, '--resume', '--force')['published']


def test_copied_folder_by_its_path(first, second):
    shutil.copytree(folder(first), second.folder / 'copy', symlinks=True)
    assert pull(second, second.folder / 'copy')['published']
    assert second.check('one.casino.example', '--profile', 'pupils')['category'] == 'gambling'


def test_generation_that_is_not_newer_is_held(first, second, site):
    pull(second, site)
    publish(first, ['one.casino.example', 'two.casino.example', 'three.casino.example'])
    pull(second, site)
    first.cli('lists', 'rollback')
    said = second.cli('lists', 'pull', site, expect=3).stderr
    assert 'generation 1 there is not newer than 2, the newest here: --force takes it' in said
    assert generation(second)['id'] == 2
    assert pull(second, site, '--force')['published']
    assert generation(second)['hash'] == generation(first)['hash']


def test_number_never_gets_another_content(first, second, site):
    second.configure({'lists': {'sources': [second.source('gambling', ['own.casino.example'])]}})
    second.cli('lists', 'update')
    before = generation(second)
    for words in ((), ('--force',)):
        assert 'another than ours of that number' in second.cli('lists', 'pull', site, *words, expect=3).stderr
    assert generation(second) == before
    first.cli('lists', 'update', '--force')
    assert pull(second, site)['published']


DAMAGES = {
    'half a store': lambda f: truncate(f / 'gen-000002.mdb', 5000),
    'a longer store': lambda f: append(f / 'gen-000002.mdb', b'x' * 4096),
    'a flipped bit': lambda f: flip(f / 'gen-000002.mdb', 9000),
    'no store': lambda f: (f / 'gen-000002.mdb').unlink(),
    'no manifest': lambda f: (f / 'current.json').unlink(),
    'a manifest that is a page': lambda f: rewrite(f / 'current.json', '<html>not found</html>'),
    'a manifest of nothing': lambda f: rewrite(f / 'current.json', '{}'),
    'another hash': lambda f: change(f / 'current.json', hash='0' * 32),
    'another number of names': lambda f: change(f / 'current.json', names=77),
    'an id that climbs': lambda f: change(f / 'current.json', id='../../x'),
    'a negative id': lambda f: change(f / 'current.json', id=-4),
    'a size out of the world': lambda f: change(f / 'current.json', size=1 << 60),
    'octets as a store': lambda f: forge(f),
}


def truncate(path, size):
    with open(path, 'r+b') as file:
        file.truncate(size)


def append(path, octets):
    with open(path, 'ab') as file:
        file.write(octets)


def flip(path, at):
    octets = bytearray(path.read_bytes())
    octets[at] ^= 1
    path.write_bytes(octets)


def rewrite(path, text):
    path.unlink()
    path.write_text(text)


def change(path, **changes):
    manifest = json.loads(path.read_text())
    rewrite(path, json.dumps({**manifest, **changes}))


def forge(where):
    """A store that is not one, with the size that its manifest says, and a hash of 32 digits."""
    (where / 'gen-000002.mdb').write_bytes(b'\xff' * 8192)
    change(where / 'current.json', size=8192)


@pytest.mark.parametrize('damage', DAMAGES)
def test_damaged_generation_is_refused_and_ours_goes_on(first, second, damage):
    copy = second.folder / 'copy'
    pull(second, folder(first))
    before = generation(second)
    publish(first, ['one.casino.example', 'two.casino.example', 'three.casino.example'])
    shutil.copytree(folder(first), copy, symlinks=True)
    DAMAGES[damage](copy)
    result = second.cli('lists', 'pull', copy, expect=1)
    assert result.stderr.startswith('usher: '), result
    assert generation(second) == before
    assert list((folder(second) / 'work').iterdir()) == []


def test_first_one_away(second):
    second.configure({'lists': {'pull': 'http://127.0.0.1:9/usher'}})
    said = second.cli('lists', 'update', expect=1).stderr
    assert 'http://127.0.0.1:9/usher: current.json:' in said


def test_starter_list_gives_way(first, lab):
    publish(first, ['one.casino.example', 'six.casino.example'])
    second = usherd({'lists': {'starter': True}})
    try:
        with second:
            assert generation(second)['starter']
            assert pull(second, folder(first))['published']
            assert eventually(lambda: second.ask('six.casino.example').ede == 15, 3)
    finally:
        second._forget()


def test_pull_without_an_address_is_a_mistake(second):
    assert 'lists.pull' in second.cli('lists', 'pull', expect=2).stderr
