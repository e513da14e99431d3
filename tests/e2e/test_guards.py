"""Issue 3 point 3: what a list site can send that must not go live, who lets it through, and who is told."""

import json
import time

from usher import Usherd, eventually, usherd


def made(files, sources, config=None):
    """An Usherd, not started, with files and sources."""
    u = Usherd(config)
    for name, content in files.items():
        u.write(name, content)
    u.configure({'lists': {'sources': sources}})
    return u


def source(name, category='gambling', **more):
    return {'name': name, 'url': f'file://{{folder}}/{name}.txt', 'format': 'domains', 'category': category, **more}


def names(stem, count):
    return ''.join(f'{stem}{i}.casino.com\n' for i in range(count))


def verdict(u, name):
    return u.check(name, '--profile', 'pupils')['verdict']


def held(u, name):
    [status] = u.json('lists', 'status', expect=(0, 1))
    return next(s['held'] for s in status['sources'] if s['name'] == name)


def test_held_source_keeps_its_last_content_and_everybody_is_told(lab):
    with made({'big.txt': names('n', 120), 'other.txt': 'games.org\n'}, [source('big'), source('other', 'games')]) as u:
        u.cli('lists', 'update')
        assert eventually(lambda: u.ask('n100.casino.com').ede == 15, 6)
        u.write('big.txt', names('n', 10))
        u.write('other.txt', 'games.org\nmore.games.com\n')
        result = u.cli('lists', 'update', expect=3)
        assert 'big: held back: 91 % smaller' in result.stderr and 'big' in u.cli('lists', 'status').stdout
        assert any(p['part'] == 'source' and 'held back' in p['text'] for p in u.json('status')[0]['parts']), 'at once'
        next_step = 'big: if what it brought is right: usher lists accept big --reason'
        assert next_step in result.stderr and next_step in u.cli('lists', 'status').stdout
        assert eventually(lambda: u.ask('more.games.com').ede == 15, 3), 'the other source did not go ahead'
        assert u.ask('n100.casino.com').ede == 15
        trouble = held(u, 'big')
        assert '91 %' in trouble['why'] and abs(trouble['since'] - time.time()) < 60
        assert 'held back since 2' in u.cli('lists', 'status').stdout
        assert eventually(lambda: u.stats()['sources']['held'] == 1, 6)
        assert 'usher_sources_held 1' in u.http('stats.sock', '/metrics')[1]
        assert 'big: accepted, 10 names' in u.cli('lists', 'accept', 'big', '--reason', 'the site was split').stderr
        assert held(u, 'big') is None
        assert eventually(lambda: u.stats()['sources']['held'] == 0, 6)
        assert eventually(lambda: not u.ask('n100.casino.com').blocked, 3)


def test_growth_protected_names_and_canaries_hold(lab):
    config = {'lists': {'must-pass': ['wikipedia.org']}, 'internal-zones': [{'zone': 'ad.school.example', 'servers': ['127.0.0.1']}]}
    sources = [source('grows'), source('zone'), source('target'), source('passes'), source('canary', **{'must-block': ['bad.casino.com'], 'must-pass': ['games.org']})]
    u = made({f"{s['name']}.txt": names(s['name'], 20) for s in sources} | {'canary.txt': 'bad.casino.com\n'}, sources, config)
    try:
        u.cli('lists', 'update')
        u.write('grows.txt', names('grows', 500))
        u.write('zone.txt', names('zone', 20) + 'pc.ad.school.example\n')
        u.write('target.txt', names('target', 20) + 'forcesafesearch.google.com\n')
        u.write('passes.txt', names('passes', 20) + 'wikipedia.org\n')
        u.write('canary.txt', 'bad.casino.com\ngames.org\n')
        u.cli('lists', 'update', expect=3)
        for name, why in {'grows': 'ten times', 'zone': 'pc.ad.school.example', 'target': 'forcesafesearch.google.com', 'passes': 'wikipedia.org',
                          'canary': 'games.org'}.items():
            assert why in held(u, name)['why'], name
        u.write('canary.txt', 'good.casino.com\n')
        u.cli('lists', 'update', expect=3)
        assert 'does not list bad.casino.com' in held(u, 'canary')['why']
        u.cli('lists', 'accept', 'target', '--reason', 'they always list it')
        u.cli('lists', 'update', expect=3)
        assert held(u, 'target') is None
        assert verdict(u, 'target7.casino.com') == 'block'
        assert verdict(u, 'forcesafesearch.google.com') != 'block', 'no list may block a target of safe search'
        assert verdict(u, 'wikipedia.org') == 'resolve' and verdict(u, 'games.org') == 'resolve'
    finally:
        u._forget()


def test_empty_source_cannot_be_accepted(lab):
    u = made({'a.txt': names('n', 5)}, [source('a')])
    try:
        u.cli('lists', 'update')
        u.write('a.txt', '# nothing\n')
        assert 'a: what it brought cannot be accepted; the next update asks for it again' in u.cli('lists', 'update', expect=3).stderr
        assert 'cannot be accepted' in u.cli('lists', 'accept', 'a', '--reason', 'x', expect=1).stderr
        assert verdict(u, 'n3.casino.com') == 'block'
    finally:
        u._forget()


def test_suffixes_are_skipped_or_counted_and_shown(lab):
    u = made({'a.txt': 'com\nco.uk\ngithub.io\nblogspot.com\ncasino.com\n'}, [source('a')])
    try:
        said = u.cli('lists', 'update').stderr
        assert 'many share: 2 entries, the first: github.io' in said
        [status] = u.json('lists', 'status')
        [a] = [s for s in status['sources'] if s['name'] == 'a']
        assert (a['skipped']['public_suffix'], a['shared'], a['taken']) == (2, 2, 3)
        assert '2 entries, the first: github.io' in u.cli('lists', 'status').stdout
        assert verdict(u, 'pupil.github.io') == 'block' and verdict(u, 'plain.com') == 'resolve'
    finally:
        u._forget()


def test_sealed_category_without_a_source_is_warned_of_and_one_that_runs_dry_is_held(lab):
    config = {'categories': [{'name': 'gambling', 'title': 'Gambling', 'severity': 'caution'},
                             {'name': 'illegal', 'title': 'Illegal', 'severity': 'danger', 'sealed': True}],
              'profiles': [{'name': 'pupils', 'networks': ['10.20.0.0/16'], 'block': ['gambling']}]}
    with made({'a.txt': names('n', 5), 'b.txt': 'bad.poker.net\n'}, [source('a')], config) as u:
        warning = 'WARNING: no source feeds the sealed category illegal'
        assert warning in u.cli('lists', 'update').stderr and warning in u.cli('lists', 'status').stderr
        assert u.json('lists', 'update')[-1]['sealed_unfed'].count('illegal') == 1
        assert eventually(lambda: u.stats()['sources']['sealed_unfed'] >= 1, 3)
        unfed = u.stats()['sources']['sealed_unfed']
        u.configure({'lists': {'sources': [source('a'), source('b', 'illegal')]}})
        assert warning not in u.cli('lists', 'update').stderr
        u.reload()
        assert eventually(lambda: u.stats()['sources']['sealed_unfed'] == unfed - 1, 3)
        u.write('b.txt', '')
        u.cli('lists', 'update', expect=3)
        assert eventually(lambda: u.ask('bad.poker.net').ede == 16, 3)


def test_age_of_a_source_is_that_of_its_last_confirmation(lab):
    with usherd({}, {'gambling': ['casino.com'], 'games': ['games.org']}) as u:
        account = u.folder / 'state/lists/sources/games/good.json'
        content = json.loads(account.read_text())
        content['fetched_at'] -= 9 * 86400
        account.write_text(json.dumps(content))
        assert eventually(lambda: u.stats()['sources']['age_s']['games'] >= 9 * 86400, 6)
        assert u.stats()['sources']['age_s']['gambling'] < 120
        parts = json.loads(u.cli('status', '--json').stdout)['parts']
        assert any('games was last confirmed 9 days ago' in p['text'] and p['state'] == 'warning' for p in parts)
        [row] = [r for r in u.json('lists', 'coverage') if 'games' in r['sources']] or [None]
        assert row is None or time.time() - row['fetched_at'] > 8 * 86400
        u.cli('lists', 'update')        # nothing new, so no new generation: but confirmed
        assert eventually(lambda: u.stats()['sources']['age_s']['games'] < 120, 6)
        account.write_text(json.dumps(content | {'fetched_at': int(time.time()) + 86400}))
        assert eventually(lambda: u.stats()['sources']['age_s']['games'] == 0, 6), 'the clock was set back'
