"""Generations of lists: history, diff, rollback and what is kept."""

import pytest

from usher import GUEST, PUPIL, STAFF, eventually, usherd


@pytest.fixture
def u(lab):
    """An usherd with three generations: casino.com in all, one name more in each."""
    with usherd({'lists': {'keep-generations': 3, 'max-shrink': '100%'}}, lists={'gambling': ['casino.com'], 'games': ['games.org']}) as u:
        publish(u, ['casino.com', 'poker.net'])
        publish(u, ['casino.com', 'poker.net', 'plain.com'])
        yield u


def publish(u, names):
    u.write('gambling.txt', '\n'.join(names) + '\n')
    assert u.json('lists', 'update')[-1]['published']


def kept(u):
    return [line['id'] for line in u.json('lists', 'history')]


def current(u):
    return [(line['id'], line['pinned']) for line in u.json('lists', 'history') if line['current']]


def test_history_keeps_as_many_as_configured(u):
    assert kept(u) == [3, 2, 1] and current(u) == [(3, False)]
    publish(u, ['casino.com', 'wikipedia.org'])
    assert kept(u) == [4, 3, 2]
    stores = sorted(f.name for f in (u.folder / 'state/lists').glob('gen-*'))
    assert stores == [f'gen-00000{i}.{kind}' for i in (2, 3, 4) for kind in ('json', 'mdb')]
    assert 'is not kept' in u.cli('lists', 'diff', 1, 4, expect=1).stderr
    assert 'is not kept' in u.cli('lists', 'rollback', 1, expect=1).stderr
    assert current(u) == [(4, False)]


def test_diff_counts_and_names_both_ways(u):
    assert u.json('lists', 'diff', 1, 3) == [{'category': 'gambling', 'added': 2, 'removed': 0}]
    assert u.json('lists', 'diff', 3, 1) == [{'category': 'gambling', 'added': 0, 'removed': 2}]
    assert u.json('lists', 'diff', 2, 3, '--names') == [{'name': 'plain.com', 'category': 'gambling', 'change': 'added'}]
    assert u.cli('lists', 'diff', 3, 2, '--names').stdout == '- gambling plain.com\n'
    assert u.json('lists', 'diff', 3, 3) == []
    for words in (['diff', 3], ['diff', 'x', 'y'], ['diff', 1, 2, '--names', '--used'], ['rollback', 'x'], ['rollback', 1, 2]):
        assert u.cli('lists', *words, expect=2).stdout == ''


def test_rollback_serves_at_once_and_stays_until_resumed(u):
    assert eventually(lambda: u.ask('plain.com').blocked, 2)
    assert u.json('lists', 'rollback') == [{'generation': 2, 'before': 3, 'pinned': True}]
    assert eventually(lambda: not u.ask('plain.com').blocked, 2)
    assert u.ask('poker.net').blocked
    u.write('gambling.txt', 'casino.com\nwikipedia.org\n')
    result = u.cli('lists', 'update')
    assert 'pinned' in result.stdout and current(u) == [(2, True)]
    u.restart()
    assert not u.ask('plain.com').blocked and u.ask('poker.net').blocked
    assert u.json('lists', 'update', '--resume')[-1]['published']
    assert current(u) == [(4, False)] and kept(u) == [4, 3, 2]
    assert eventually(lambda: u.ask('wikipedia.org').blocked, 2)
    assert [entry for entry in ('lists.rollback', 'lists.resume') if entry not in (u.folder / 'state/ledger/ledger.jsonl').read_text()] == []


def test_rollback_again_goes_further_back_and_forth(u):
    u.cli('lists', 'rollback')
    u.cli('lists', 'rollback')
    assert current(u) == [(1, True)]
    assert 'no generation before' in u.cli('lists', 'rollback', expect=1).stderr
    u.cli('lists', 'rollback', 'gen-000003')
    assert current(u) == [(3, True)]
    said = u.cli('lists', 'rollback', 3).stdout
    assert 'generation 3 is current, and stays' in said


def test_rollback_passes_over_a_damaged_generation(u):
    store = u.folder / 'state/lists/gen-000002.mdb'
    data = bytearray(store.read_bytes())
    data[5000] ^= 1
    store.write_bytes(data)
    assert 'gen-000002' in u.cli('lists', 'rollback', 2, expect=1).stderr
    assert current(u) == [(3, False)]
    u.cli('lists', 'rollback')
    assert current(u) == [(1, True)]


def test_diff_used_tells_what_an_update_changed_for_this_school(u):
    for client in PUPIL, STAFF, GUEST:
        u.ask('www.plain.com', client=client)
        u.ask('www.bbc.co.uk', client=client)
    u.cli('lists', 'rollback', 1)
    assert eventually(lambda: not u.ask('www.plain.com').blocked, 2)
    for client in PUPIL, STAFF, GUEST:
        u.ask('www.plain.com', client=client)
    u.stop()
    lines = u.json('lists', 'diff', 1, 3, '--used')
    assert [(line['change'], line['name'], line['profiles']) for line in lines] == [('blocked', 'www.plain.com', ['pupils', 'guest'])]
    lines = u.json('lists', 'diff', 3, 1, '--used')
    assert [(line['change'], line['name']) for line in lines] == [('unblocked', 'www.plain.com')]
    assert 'none is newly blocked or unblocked' in u.cli('lists', 'diff', 3, 3, '--used').stdout
