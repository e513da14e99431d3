"""Issue point 5: lists of every form become a generation that goes live by itself; a bad list changes nothing and is named."""

import gzip
import http.server
import io
import tarfile
import threading
import time

import pytest

from usher import PUPIL, ROOT, STAFF, Usherd, eventually, usherd

FORMS = {
    'hosts': '# a hosts file\n127.0.0.1 localhost\n0.0.0.0 www.hosts.net # with a comment\n::1 six.hosts.net\n0.0.0.0 a.hosts.net b.hosts.net\n',
    'domains': '# plain\ndomains.net\n  spaced.domains.org\t\nUPPER.domains.com.\nb\u00fccher.domains.com\n',
    'wildcard': '*.wildcard.net\nwildcard.org\n',
    'adblock': '[Adblock Plus 2.0]\n! Title: a list\n||adblock.net^\n||party.adblock.org^$third-party\n@@||good.adblock.net^\n##.banner\n/ads/*\n',
    'dnsmasq': 'address=/dnsmasq.net/0.0.0.0\nserver=/dnsmasq.org/\nlocal=/local.dnsmasq.com/\n',
    'unbound': 'server:\nlocal-zone: "unbound.net." always_nxdomain\nlocal-zone: "unbound.org" refuse\n',
    'rpz': '$TTL 300\n@ SOA localhost. root.localhost. 1 3600 600 86400 60\n@ NS localhost.\nrpz.net CNAME .\n*.rpz.net CNAME .\nok.rpz.net CNAME rpz-passthru.\n',
}

BLOCKED = ['www.hosts.net', 'a.hosts.net', 'b.hosts.net', 'domains.net', 'below.domains.net', 'spaced.domains.org', 'upper.domains.com',
           'xn--bcher-kva.domains.com', 'below.wildcard.net', 'adblock.net', 'www.adblock.net', 'dnsmasq.net', 'x.dnsmasq.net',
           'unbound.net', 'unbound.org', 'rpz.net', 'www.rpz.net']
NOT_BLOCKED = ['localhost', 'hosts.net', 'spaced-domains.org', 'good.adblock.net', 'ok.rpz.net', 'plain.com', 'banner']


def source(name, category='gambling', form='auto', url=None):
    return {'name': name, 'url': url or f'file://{{folder}}/{name}.txt', 'format': form, 'category': category}


def made(files, sources, config=None):
    """An Usherd, not started, with files and sources."""
    u = Usherd(config)
    for name, content in files.items():
        u.write(name, content)
    u.configure({'lists': {'sources': sources}})
    return u


def verdict(u, name):
    return u.check(name, '--profile', 'pupils')['verdict']


@pytest.mark.parametrize('form', ['named', 'auto'])
def test_every_form_of_list(lab, form):
    files = {f'{name}.txt': text for name, text in FORMS.items()}
    with made(files, [source(name, form=name if form == 'named' else 'auto') for name in FORMS]) as u:
        u.cli('lists', 'update')
        assert eventually(lambda: u.ask('domains.net').ede == 15, 2)
        assert [name for name in BLOCKED if u.ask(name).ede != 15] == []
        assert [name for name in NOT_BLOCKED if verdict(u, name) != 'resolve'] == []


def make_ut1(entries):
    """A tar.gz as UT1 publishes it: folder -> content of its domains file, or a folder it is a link to."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w:gz') as tar:
        for folder, content in entries.items():
            if isinstance(content, str):
                add(tar, f'blacklists/{folder}', tarfile.SYMTYPE, link=content)
                continue
            add(tar, f'blacklists/{folder}', tarfile.DIRTYPE)
            add(tar, f'blacklists/{folder}/domains', content=content)
            add(tar, f'blacklists/{folder}/urls', content=b'plain.com/page\n')
            add(tar, f'blacklists/{folder}/usage', content=b'black\n')
    return out.getvalue()


def add(tar, name, kind=tarfile.REGTYPE, content=b'', link=''):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(content)
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    tar.addfile(info, io.BytesIO(content))


def test_ut1_tree_with_links_and_odd_lines(lab):
    odd = b'casino.com\n# comment\n\nMIXED.poker.net\n198.51.100.7\ncaf\xe9-latin1.net\nno space here\n-.-\n..\nx..y.com\nvery' + b'v' * 300 + b'.com\r\nlast.poker.net\r\n'
    archive = make_ut1({'gambling': odd, 'redirector': b'proxy.vpn.net\n', 'proxy': 'redirector', 'agressif': b'games.org\n',
                        'cooking': b'wikipedia.org\n'})
    mapping = {'gambling': 'gambling', 'proxy': 'bypass', 'agressif': 'hate'}
    sources = [{'name': 'ut1', 'url': 'file://{folder}/ut1.tar.gz', 'format': 'ut1', 'map': mapping}]
    with made({'ut1.tar.gz': archive}, sources) as u:
        said = u.cli('lists', 'update')
        assert 'cooking' in said.stdout + said.stderr, 'a folder that is not in the map is to be listed'
        assert eventually(lambda: u.ask('casino.com').ede == 15, 2)
        for name, category in ('mixed.poker.net', 'gambling'), ('last.poker.net', 'gambling'), ('proxy.vpn.net', 'bypass'), ('games.org', 'hate'):
            assert category in u.ask(name).ede_text.lower(), name
        for name in 'wikipedia.org', 'plain.com', 'poker.net', 'com':
            assert not u.ask(name).blocked


def test_new_generation_is_live_within_a_second_and_loses_nothing(lab):
    with usherd(lists={'gambling': ['casino.com'], 'games': ['games.org']}) as u:
        first = u.generation()
        with u.load(['casino.com', 'games.org', 'poker.net', 'www.plain.com'], [PUPIL, STAFF], rate=800) as load:
            u.write('gambling.txt', 'poker.net\n')
            u.cli('lists', 'update', '--force', expect=(0, 3))
            u.cli('lists', 'accept', 'gambling', '--reason', 'a test', expect=None)
            began = time.monotonic()
            assert eventually(lambda: u.ask('poker.net').ede == 15, 3)
            assert time.monotonic() - began < 1.2
            time.sleep(0.3)
        assert u.generation() > first
        assert not u.ask('casino.com').blocked
        assert load.lost == 0
        assert load.got('games.org') == {'NXDOMAIN'} and load.got('casino.com', STAFF) == {'192.0.2.1'}
        assert load.got('casino.com') <= {'NXDOMAIN', '192.0.2.1'} and load.got('www.plain.com') == {'192.0.2.1'}


def bomb():
    return gzip.compress(b'a' * 50 + b'0' * (1 << 20)) * 3000


def tar_with(name, kind=tarfile.REGTYPE, link=''):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w:gz') as tar:
        add(tar, name, kind, b'' if link else b'wikipedia.org\n', link)
    return out.getvalue()


HOSTILE = {
    'html': b'<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><a href="http://plain.com">x</a></body></html>\n',
    'empty': b'',
    'only-comments': b'# nothing\n\n# here\n',
    'binary': bytes(range(256)) * 400,
    'bomb': bomb,
    'half-a-gzip': gzip.compress(b'wikipedia.org\n' * 10000)[:200],
    'public-suffix': b'com\nco.uk\norg\n',
}


@pytest.mark.parametrize('kind', HOSTILE)
def test_hostile_list_is_named_and_the_last_good_one_stays(lab, kind):
    content = HOSTILE[kind]() if callable(HOSTILE[kind]) else HOSTILE[kind]
    u = made({'good.txt': 'games.org\n', 'suspect.txt': ''.join(f'n{i}.casino.com\n' for i in range(50))},
             [source('good', 'games'), source('suspect')])
    try:
        u.cli('lists', 'update')
        u.write('suspect.txt', content)
        u.write('good.txt', 'games.org\nmore.games.com\n')
        result = u.cli('lists', 'update', expect=(1, 3))
        assert 'suspect' in result.stdout + result.stderr
        assert verdict(u, 'n7.casino.com') == 'block', 'the last good content of the source is gone'
        assert verdict(u, 'more.games.com') == 'block', 'the other source did not go ahead'
        for name in 'wikipedia.org', 'plain.com', 'www.bbc.co.uk':
            assert verdict(u, name) == 'resolve'
    finally:
        u._forget()


@pytest.mark.parametrize('name, kind, link', [
    ('../../outside/domains', tarfile.REGTYPE, ''),
    ('blacklists/../../outside/domains', tarfile.REGTYPE, ''),
    ('/tmp/usher-outside/domains', tarfile.REGTYPE, ''),
    ('blacklists/gambling', tarfile.SYMTYPE, '/etc'),
    ('blacklists/gambling', tarfile.SYMTYPE, '../../etc'),
    ('blacklists/gambling/domains', tarfile.SYMTYPE, '/etc/passwd'),
    ('blacklists/gambling/domains', tarfile.LNKTYPE, '/etc/passwd'),
    ('blacklists/gambling/domains', tarfile.CHRTYPE, ''),
])
def test_tar_that_reaches_outside_is_refused(lab, name, kind, link):
    sources = [{'name': 'ut1', 'url': 'file://{folder}/ut1.tar.gz', 'format': 'ut1', 'map': {'gambling': 'gambling'}}]
    u = made({'ut1.tar.gz': make_ut1({'gambling': b'casino.com\n'})}, sources)
    try:
        u.cli('lists', 'update')
        u.write('ut1.tar.gz', tar_with(name, kind, link))
        result = u.cli('lists', 'update', expect=(1, 3))
        assert 'ut1' in result.stdout + result.stderr
        assert verdict(u, 'casino.com') == 'block' and verdict(u, 'wikipedia.org') == 'resolve'
        assert not (u.folder.parent / 'outside').exists() and not (u.folder / 'outside').exists()
    finally:
        u._forget()


def test_source_that_shrinks_is_held_until_somebody_accepts_it(lab):
    u = made({'big.txt': ''.join(f'n{i}.casino.com\n' for i in range(100))}, [source('big')])
    try:
        u.cli('lists', 'update')
        u.write('big.txt', 'n1.casino.com\n')
        result = u.cli('lists', 'update', expect=3)
        assert 'big' in result.stdout + result.stderr
        assert verdict(u, 'n99.casino.com') == 'block'
        assert u.cli('lists', 'accept', 'big', expect=(1, 2)), 'without a reason'
        u.cli('lists', 'accept', 'big', '--reason', 'the source was split')
        u.cli('lists', 'update')
        assert verdict(u, 'n99.casino.com') == 'resolve' and verdict(u, 'n1.casino.com') == 'block'
    finally:
        u._forget()


def test_missing_source_is_named_and_the_others_are_published(lab):
    u = made({'good.txt': 'casino.com\n'}, [source('good'), source('missing')])
    try:
        result = u.cli('lists', 'update', expect=1)
        assert 'missing' in result.stdout + result.stderr
        assert verdict(u, 'casino.com') == 'block'
    finally:
        u._forget()


def test_nothing_new_publishes_nothing(lab):
    u = made({'good.txt': 'casino.com\n'}, [source('good')])
    try:
        u.cli('lists', 'update')
        before = sorted(p.name for p in (u.folder / 'state/lists').glob('gen-*.mdb'))
        u.cli('lists', 'update')
        assert sorted(p.name for p in (u.folder / 'state/lists').glob('gen-*.mdb')) == before
        u.cli('lists', 'update', '--force')
        assert len(list((u.folder / 'state/lists').glob('gen-*.mdb'))) == len(before) + 1
    finally:
        u._forget()


def test_find_and_status_tell_where_a_name_is_listed(lab):
    u = made({'a.txt': 'casino.com\n', 'b.txt': 'www.casino.com\n'}, [source('a'), source('b', 'games')])
    try:
        u.cli('lists', 'update')
        found = u.json('lists', 'find', 'www.casino.com')
        assert {f['source'] for f in found} == {'a', 'b'}
        assert u.json('lists', 'find', 'plain.com', expect=None) == []
        status = u.cli('lists', 'status', '--json').stdout
        assert '"a"' in status and '"b"' in status
        table = u.cli('lists', 'status').stdout
        assert 'a' in table.split() and 'b' in table.split()
    finally:
        u._forget()


def test_damaged_generation_is_refused_by_name_and_the_one_before_serves(lab):
    with usherd(lists={'gambling': ['casino.com']}) as u:
        u.write('gambling.txt', 'casino.com\npoker.net\n')
        u.cli('lists', 'update')
        assert eventually(lambda: u.ask('poker.net').ede == 15, 2)
        u.stop()
        current = (u.folder / 'state/lists/current').resolve()
        content = bytearray(current.read_bytes())
        content[len(content) // 2] ^= 0x40
        current.unlink()
        current.write_bytes(content)
        u.start()
        assert u.ask('casino.com').ede == 15
        assert current.name in u.said()


@pytest.mark.parametrize('damage', ['truncated', 'emptied', 'removed'])
def test_without_a_readable_generation_closed_profiles_fail_and_open_ones_resolve(lab, damage):
    config = {'profiles': [{'name': 'pupils', 'networks': ['10.20.0.0/16'], 'block': ['gambling']},
                           {'name': 'staff', 'networks': ['10.30.0.0/16'], 'block': ['gambling'], 'on-list-failure': 'open'}]}
    with usherd(config, {'gambling': ['casino.com']}) as u:
        u.stop()
        for generation in (u.folder / 'state/lists').glob('gen-*'):
            content = generation.read_bytes()
            generation.unlink()
            if damage != 'removed':
                generation.write_bytes(content[:len(content) // 2] if damage == 'truncated' else b'')
        u.start()
        a = u.ask('www.plain.com')
        assert (a.rcode, a.ede) == ('SERVFAIL', 14)
        assert u.ask('childline.org.uk').addresses == ['192.0.2.50']
        assert u.ask('use-application-dns.net').rcode == 'NXDOMAIN'
        assert u.ask('www.plain.com', client=STAFF).addresses == ['192.0.2.1']
        u.cli('lists', 'update', '--force')
        assert eventually(lambda: u.ask('casino.com').ede == 15, 3)
        assert u.ask('www.plain.com').addresses == ['192.0.2.1']


def test_no_list_at_all_is_filtered_by_the_starter_list(lab):
    with usherd({'lists': {'starter': True}}) as u:
        assert eventually(lambda: u.ask('tiktok.com').ede == 15, 10)
        for name in 'www.facebook.com', 'bet365.com', 'roblox.com':
            assert u.ask(name).ede == 15, name
        for name in 'wikipedia.org', 'www.bbc.co.uk', 'www.plain.com', 'www.google.com':
            assert u.ask(name).rcode == 'NOERROR', name
        assert u.ask('www.bbc.co.uk', client=STAFF).addresses == ['192.0.2.1']


class Site(http.server.BaseHTTPRequestHandler):
    """A list site: /list with an ETag, /gone, /wrong, and redirects to where none must lead."""
    requests = []
    content = b'casino.com\n'

    def do_GET(self):
        self.requests.append((self.path, self.headers.get('If-None-Match')))
        if self.path == '/list' and self.headers.get('If-None-Match') == '"one"':
            return self.reply(304)
        if self.path == '/list':
            return self.reply(200, {'ETag': '"one"'}, self.content)
        if self.path.startswith('/to?'):
            return self.reply(302, {'Location': self.path[4:]})
        return self.reply(500, {}, b'wikipedia.org\n')

    def reply(self, status, headers=None, body=b''):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def site():
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Site)
    Site.requests.clear()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


def test_list_over_http_is_asked_for_again_with_its_etag(lab, site):
    u = made({}, [source('web', url=f'{site}/list')])
    try:
        u.cli('lists', 'update')
        assert verdict(u, 'casino.com') == 'block'
        u.cli('lists', 'update')
        assert Site.requests == [('/list', None), ('/list', '"one"')]
    finally:
        u._forget()


@pytest.mark.parametrize('path', ['/wrong', '/to?file:///etc/hosts', '/to?{site}/list'])
def test_site_that_errs_or_leads_astray_is_named(lab, site, path):
    u = made({}, [source('web', url=f'{site}/list')])
    try:
        u.cli('lists', 'update')
        u.configure({'lists': {'sources': [source('web', url=site + path.format(site=site))]}})
        result = u.cli('lists', 'update', expect=(1, 3))
        assert 'web' in result.stdout + result.stderr
        assert verdict(u, 'casino.com') == 'block' and verdict(u, 'wikipedia.org') == 'resolve'
    finally:
        u._forget()


REAL = ROOT.parent / 'shared/lists'


@pytest.mark.skipif(not REAL.exists(), reason='the real lists are not beside this folder')
def test_the_real_lists_filter_a_real_gambling_site(lab):
    sources = [
        {'name': 'ut1', 'url': f'file://{REAL}/ut1/blacklists.tar.gz', 'format': 'ut1',
         'map': {'gambling': 'gambling', 'games': 'games', 'social_networks': 'social', 'proxy': 'bypass', 'violence': 'violence',
                 'drogue': 'drugs', 'agressif': 'hate'}},
        {'name': 'drugs', 'url': f'file://{REAL}/other/drugs.hosts.txt', 'format': 'hosts', 'category': 'drugs'},
        {'name': 'scam', 'url': f'file://{REAL}/other/scam.adblock.txt', 'format': 'adblock', 'category': 'phishing'},
        {'name': 'torrent', 'url': f'file://{REAL}/other/torrent.dnsmasq.txt', 'format': 'dnsmasq', 'category': 'piracy'},
        {'name': 'tiktok', 'url': f'file://{REAL}/other/tiktok.domains.txt', 'format': 'domains', 'category': 'social'},
    ]
    with made({}, sources) as u:
        u.cli('lists', 'update', timeout=120)
        assert eventually(lambda: u.ask('888casino.com').ede == 15, 3)
        assert u.ask('888casino.com').rcode == 'NXDOMAIN' and u.ask('www.tiktok.com').blocked
        assert u.ask('888casino.com', client=STAFF).addresses == ['192.0.2.1']
        [record] = u.log('--client', PUPIL, '--name', 'tiktok.com', count=1)
        assert record['category'] == 'social'
        assert u.stats()['blocked']['gambling'] >= 2
        said = u.check('888casino.com', '--client', PUPIL)
        assert (said['verdict'], said['category'], said['source']) == ('block', 'gambling', 'ut1')
