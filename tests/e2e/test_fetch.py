"""Lists from a real web server (nginx) that answers well and badly: what `usher lists update` says, how it ends, and that the last good
generation goes on whatever happens. The server has an address that is not loopback, as a redirect to loopback is refused."""

import base64
import bz2
import gzip
import http.client
import http.server
import io
import lzma
import os
import pty
import select
import socket
import socketserver
import subprocess
import tarfile
import threading
import time
import zipfile

import pytest

import lab as laboratory
from usher import ENVIRONMENT, Usherd, eventually, make_folder, remove_folder

SITE = '10.0.88.1'
NAMES = [f'n{i}.casino.com' for i in range(20000)]
LIST = '\n'.join(NAMES) + '\n'
PAGE = '<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><p>Please sign in</p></body></html>\n'

NGINX = '''
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 64; }}
http {{
    access_log {folder}/access.log combined;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
    default_type text/plain;
    root {folder}/www;
    server {{
        listen {site}:80;
        listen 127.0.0.1:80;
        location = /list.txt {{ {now} }}
        location = /away {{ return 302 http://{site}/list.txt; }}
    }}
    {tls}
}}
'''
TLS = '''
    server {{
        listen {site}:{port} ssl;
        ssl_certificate {folder}/{name}.crt;
        ssl_certificate_key {folder}/{name}.key;
        location = /plain {{ return 302 http://{site}/list.txt; }}
    }}
'''


class Site:
    """nginx with /list.txt, which answers as it is told; certificates: {port: name} of files made before."""

    def __init__(self, certificates=None):
        self.folder = make_folder('site')
        (self.folder / 'www').mkdir(mode=0o755)
        self.write('list.txt', LIST)
        self.certificates = certificates or {}
        self.process = None

    def write(self, name, content):
        path = self.folder / 'www' / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(0o644)

    def serve(self, now=''):
        """Answers with these directives for /list.txt from now on; none: the file."""
        self.stop()
        tls = ''.join(TLS.format(site=SITE, port=port, folder=self.folder, name=name) for port, name in self.certificates.items())
        config = self.folder / 'nginx.conf'
        config.write_text(NGINX.format(folder=self.folder, site=SITE, now=now, tls=tls))
        with open(self.folder / 'said', 'ab') as said:
            self.process = subprocess.Popen(['nginx', '-c', str(config), '-p', str(self.folder), '-e', 'stderr'], stdin=subprocess.DEVNULL,
                                            stdout=said, stderr=said, preexec_fn=laboratory.die_with_parent)
        assert eventually(self.accepts, 5), (self.folder / 'said').read_text()

    def accepts(self):
        with socket.socket() as s:
            return s.connect_ex((SITE, 80)) == 0

    def requests(self):
        """(status, octets of the body) of each so far."""
        lines = (self.folder / 'access.log').read_text().splitlines()
        return [tuple(map(int, line.split('"')[2].split())) for line in lines]

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(5)
        self.process = None


@pytest.fixture
def site():
    site = Site()
    site.serve()
    yield site
    site.stop()
    remove_folder(site.folder)


def source(name='web', url=f'http://{SITE}/list.txt', **more):
    return {'name': name, 'url': url, 'format': 'domains', 'category': 'gambling', **more}


class School(Usherd):
    """usher with sources, and no usherd."""

    def __init__(self, *sources, **lists):
        super().__init__({'lists': {'sources': list(sources) or [source()], **lists}})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._forget()

    def update(self, *words, expect=0):
        """What `lists update` says."""
        result = self.cli('lists', 'update', *words, expect=expect)
        return result.stdout + result.stderr

    def blocks(self, name):
        return self.check(name, '--profile', 'pupils')['verdict'] == 'block'

    def status(self, name='web'):
        [status] = self.json('lists', 'status')
        return next(s for s in status['sources'] if s['name'] == name)

    def current(self):
        return os.readlink(self.folder / 'state/lists/current')


# ---- one server, every answer --------------------------------------------------------------------------------------------

FAULTS = {
    '404': ('return 404;', 1, 'failed: the server says HTTP 404'),
    '500': ('return 500;', 1, 'failed: the server says HTTP 500'),
    'html': (f"return 200 '{PAGE}';", 3, 'held back: '),
    'nothing': ("return 200 '';", 3, 'held back: '),
    'no-answer': ('return 444;', 1, 'failed: Empty reply from server'),
    'drip': ('limit_rate 300;', 1, 'failed: not done within 2 s after '),
    'loop': (f'return 302 http://{SITE}/list.txt;', 1, 'failed: redirected more than 5 times'),
    'to-loopback': ('return 302 http://127.0.0.1/list.txt;', 1, 'failed: redirected to this machine: refused'),
    'to-localhost': ('return 301 http://localhost/list.txt;', 1, 'failed: redirected to this machine: refused'),
    'to-file': ('return 302 file:///etc/hosts;', 1, 'failed: redirected to file:///etc/hosts: refused'),
    'to-escapes': ('return 302 "file:///\x1b]0;owned\x07";', 1, 'failed: redirected to file:///'),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_bad_answer_is_named_and_the_last_good_generation_goes_on(lab, site, fault):
    directives, code, sentence = FAULTS[fault]
    with School(timeout='2s') as u:
        u.update()
        before = u.current()
        site.serve(directives)
        said = u.update('--force' if fault == 'drip' else '--source', *([] if fault == 'drip' else ['web']), expect=code)
        assert f'web: {sentence}' in said
        assert 'its last good content stays in use' in said
        assert '\x1b' not in said
        assert u.blocks('n7.casino.com') and not u.blocks('www.plain.com')
        assert u.current() == before or fault == 'drip'
        status = u.status()
        trouble = status['held' if code == 3 else 'failed']
        assert sentence.split(': ', 1)[1] in trouble['why'] and abs(trouble['since'] - time.time()) < 60
        assert status['taken'] == len(NAMES)
        assert ('held back' if code == 3 else 'failed') in u.cli('lists', 'status').stdout
        site.serve()
        u.update()
        assert u.status()['failed'] is None and u.status()['held'] is None


def test_nothing_new_costs_nothing(lab, site):
    with School() as u:
        u.update()
        before, fetched_at = u.current(), u.status()['fetched_at']
        time.sleep(1.1)
        assert 'web: nothing new' in u.update()
        assert site.requests() == [(200, len(LIST)), (304, 0)]
        assert u.current() == before and u.status()['fetched_at'] > fetched_at
        site.write('list.txt', LIST + 'new.casino.com\n')
        u.update()
        assert u.blocks('new.casino.com')


def test_redirect_is_followed(lab, site):
    with School(source(url=f'http://{SITE}/away')) as u:
        u.update()
        assert u.blocks('n7.casino.com')


def test_source_itself_may_be_on_loopback(lab, site):
    with School(source(url='http://127.0.0.1/list.txt')) as u:
        u.update()
        assert u.blocks('n7.casino.com')


def test_too_large_source_is_left(lab, site):
    with School(**{'max-size': '64KiB'}) as u:
        said = u.update(expect=1)
        assert 'web: failed: larger than 64 KiB' in said and 'it has no earlier content' in said


# ---- archives ------------------------------------------------------------------------------------------------------------

ZEROS = b'0' * (48 << 20)
LINES = b'www.plain.com\n' * 100


def tarred(content=LINES, count=1, mode='w:gz', **members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for i in range(count):
            info = tarfile.TarInfo(f'folder/domains{i}')
            info.size = len(content)
            for key, value in members.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return out.getvalue()


def zipped(content=LINES, name='domains', mode=0o100644):
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr, info.create_system, info.compress_type = mode << 16, 3, zipfile.ZIP_DEFLATED
        archive.writestr(info, content)
    return out.getvalue()


GOOD_ARCHIVES = {
    'gz': lambda: gzip.compress(LINES), 'xz': lambda: lzma.compress(LINES), 'bz2': lambda: bz2.compress(LINES), 'tar': lambda: tarred(mode='w:'),
    'tar.gz': tarred, 'tar.xz': lambda: tarred(mode='w:xz'), 'zip': zipped,
}
BAD_ARCHIVES = {
    'gz-bomb': (lambda: gzip.compress(ZEROS), 'refused: unpacks to more than 50 times its size'),
    'xz-bomb': (lambda: lzma.compress(ZEROS), 'refused: unpacks to more than 50 times its size'),
    'bz2-bomb': (lambda: bz2.compress(ZEROS), 'refused: unpacks to more than 50 times its size'),
    'zip-bomb': (lambda: zipped(ZEROS), 'refused: unpacks to more than 50 times its size'),
    'tar-bomb': (lambda: tarred(ZEROS), 'refused: unpacks to more than 50 times its size'),
    'many-small-ones': (lambda: tarred(b'', 10001), 'refused: more than 10,000 entries'),
    'twice': (lambda: gzip.compress(gzip.compress(LINES)), 'refused: compressed more than once'),
    'zip-climbs': (lambda: zipped(name='../../domains'), 'refused: an entry outside the archive'),
    'zip-absolute': (lambda: zipped(name='/etc/domains'), 'refused: an entry outside the archive'),
    'zip-link': (lambda: zipped(b'/etc/passwd', mode=0o120777), 'refused: a link to outside the archive'),
    'tar-climbs': (lambda: tarred(name='a/../../domains'), 'refused: an entry outside the archive'),
    'tar-link': (lambda: tarred(b'', type=tarfile.SYMTYPE, linkname='../../etc/passwd'), 'refused: a link to outside the archive'),
    'tar-hard-link': (lambda: tarred(b'', type=tarfile.LNKTYPE, linkname='/etc/passwd'), 'refused: a link to outside the archive'),
    'cut': (lambda: tarred(os.urandom(100000))[:50000], 'cannot be read: truncated gzip input'),
}


@pytest.mark.parametrize('kind', GOOD_ARCHIVES)
def test_archive_is_read_by_what_it_is(lab, site, kind):
    site.write('list.txt', GOOD_ARCHIVES[kind]())
    with School() as u:
        u.update()
        assert u.blocks('www.plain.com')


@pytest.mark.parametrize('kind', BAD_ARCHIVES)
def test_hostile_archive_is_held_back_as_a_whole(lab, site, kind):
    make, sentence = BAD_ARCHIVES[kind]
    with School() as u:
        u.update()
        site.write('list.txt', make())
        said = u.update(expect=3)
        assert f'web: held back: {sentence}' in said
        assert u.blocks('n7.casino.com') and not u.blocks('www.plain.com')


# ---- broken transfers ----------------------------------------------------------------------------------------------------

class Cutter(socketserver.ThreadingTCPServer):
    """Stands before the site and cuts each answer after so many octets."""
    allow_reuse_address = daemon_threads = True

    def __init__(self, octets):
        super().__init__((SITE, 0), None)
        self.octets = octets
        self.url = f'http://{SITE}:{self.server_address[1]}/list.txt'
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def finish_request(self, request, address):
        with socket.create_connection((SITE, 80)) as upstream:
            upstream.sendall(request.recv(65536).replace(b'\r\n\r\n', b'\r\nConnection: close\r\n\r\n'))
            left = self.octets
            while left > 0 and (data := upstream.recv(min(left, 65536))):
                request.sendall(data)
                left -= len(data)

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


def test_broken_transfer_goes_on_where_it_broke(lab, site):
    with Cutter(len(LIST) // 2) as cutter, School(source(url=cutter.url)) as u:
        u.update()
        assert u.blocks(NAMES[0]) and u.blocks(NAMES[-1])
        statuses = [status for status, _ in site.requests()]
        assert statuses[0] == 200 and set(statuses[1:]) == {206} and len(statuses) == 3


def test_the_next_run_goes_on_where_this_one_gave_up(lab, site):
    with Cutter(len(LIST) // 10) as cutter, School(source(url=cutter.url)) as u:
        assert 'the next fetch goes on from there' in u.update(expect=1)
        assert len(site.requests()) == 4
        cutter.octets = 10 * len(LIST)
        u.update()
        assert u.blocks(NAMES[0]) and u.blocks(NAMES[-1])
        assert len(site.requests()) == 5 and site.requests()[-1][0] == 206
        assert not list((u.folder / 'state/lists/sources/web').glob('incoming*'))


def test_list_that_changed_meanwhile_is_fetched_anew(lab, site):
    with Cutter(len(LIST) // 10) as cutter, School(source(url=cutter.url)) as u:
        u.update(expect=1)
        site.write('list.txt', LIST.replace('casino.com', 'poker.net'))
        cutter.octets = 10 * len(LIST)
        u.update()
        assert site.requests()[-1][0] == 200
        assert u.blocks('n7.poker.net') and not u.blocks('n7.casino.com')


def test_server_that_knows_no_ranges_starts_over(lab, site):
    site.serve('max_ranges 0;')
    with Cutter(len(LIST) // 2) as cutter, School(source(url=cutter.url)) as u:
        u.update(expect=1)
        assert {status for status, _ in site.requests()} == {200}
        cutter.octets = 10 * len(LIST)
        u.update()
        assert u.blocks(NAMES[0]) and u.status()['taken'] == len(NAMES)


# ---- side by side --------------------------------------------------------------------------------------------------------

def test_slow_sources_wait_side_by_side_and_hold_nobody_up(lab, site):
    site.serve('limit_rate 300;')
    site.write('quick.txt', 'poker.net\n')
    slow = [source(f'slow{i}') for i in range(3)]
    with School(*slow, source('quick', f'http://{SITE}/quick.txt'), timeout='3s') as u:
        began = time.monotonic()
        said = u.update(expect=1)
        assert 3 <= time.monotonic() - began < 8
        assert u.blocks('poker.net')
        for name in 'slow0', 'slow1', 'slow2':
            assert f'{name}: failed: not done within 3 s' in said
        assert 'quick: 1 names' in said


def test_more_sources_than_places_all_come(lab, site):
    for i in range(11):
        site.write(f'{i}.txt', f'number{i}.casino.com\n')
    with School(*(source(f's{i}', f'http://{SITE}/{i}.txt') for i in range(11))) as u:
        u.update()
        assert all(u.blocks(f'number{i}.casino.com') for i in range(11))
        lines = u.update().splitlines()
        assert [line for line in lines if ': nothing new' in line] == [f'usher: s{i}: nothing new, 1 names' for i in range(11)]


def test_terminal_gets_a_bar_and_a_journal_none(lab, site):
    with School() as u:
        result = u.cli('lists', 'update')
        assert '\r' not in result.stdout + result.stderr
        ours, theirs = pty.openpty()
        process = subprocess.Popen([str(u.build / 'usher'), '-c', str(u.file), 'lists', 'update', '--force'], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=theirs, env=ENVIRONMENT)
        os.close(theirs)
        said = b''
        while select.select([ours], [], [], 30)[0]:
            try:
                said += os.read(ours, 65536)
            except OSError:             # its end is closed
                break
        os.close(ours)
        assert process.wait(10) == 0
        assert b'1 of 1 fetched' in said and b'[####' in said


# ---- signatures ----------------------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def keys():
    folder = make_folder('keys')
    for name in 'ours', 'theirs':
        subprocess.run(['minisign', '-G', '-W', '-p', f'{folder}/{name}.pub', '-s', f'{folder}/{name}.key'], check=True, stdin=subprocess.DEVNULL,
                       capture_output=True)
    yield folder
    remove_folder(folder)


def public(keys, name='ours'):
    return (keys / f'{name}.pub').read_text().splitlines()[1]


def sign(keys, site, name='ours', *options, to='list.txt.minisig'):
    subprocess.run(['minisign', '-S', *options, '-s', f'{keys}/{name}.key', '-t', 'made for a test', '-m', f'{site.folder}/www/list.txt', '-x',
                    f'{site.folder}/www/{to}'], check=True, stdin=subprocess.DEVNULL, capture_output=True)
    (site.folder / 'www' / to).chmod(0o644)


@pytest.mark.parametrize('options', [[], ['-l']], ids=['hashed', 'legacy'])
def test_signed_list_is_taken(lab, site, keys, options):
    sign(keys, site, 'ours', *options)
    with School(source(key=public(keys))) as u:
        u.update()
        assert u.blocks('n7.casino.com')
        assert u.status()['signed'] == 'made for a test'
        u.update()
        assert [status for status, _ in site.requests()] == [200, 200, 304], 'an unchanged list needs no signature'


def test_signature_has_its_own_url_if_given(lab, site, keys):
    sign(keys, site, to='elsewhere.sig')
    with School(source(key=public(keys), signature=f'http://{SITE}/elsewhere.sig')) as u:
        u.update()
        assert u.blocks('n7.casino.com')


@pytest.mark.parametrize('wrong, sentence', [
    ('missing', 'failed: its signature was not fetched: the server says HTTP 404'),
    ('other-key', 'failed: it is signed with another key than the one configured'),
    ('changed', 'failed: its signature is wrong: the content is not what was signed'),
    ('comment', 'failed: its signature is wrong: the trusted comment is not what was signed'),
    ('html', 'failed: its signature is not a file of minisign'),
])
def test_wrong_signature_fails_and_the_last_good_content_stays(lab, site, keys, wrong, sentence):
    sign(keys, site)
    with School(source(key=public(keys))) as u:
        u.update()
        site.write('list.txt', LIST + 'www.plain.com\n')
        signature = site.folder / 'www/list.txt.minisig'
        sign(keys, site, 'theirs' if wrong == 'other-key' else 'ours')
        if wrong == 'missing':
            signature.unlink()
        if wrong == 'changed':
            site.write('list.txt', LIST + 'www.plain.com\nchildline.org.uk\n')
        if wrong == 'comment':
            site.write('list.txt.minisig', signature.read_text().replace('made for', 'meant for'))
        if wrong == 'html':
            site.write('list.txt.minisig', PAGE)
        said = u.update(expect=1)
        assert f'web: {sentence}' in said and 'its last good content stays in use' in said
        assert u.blocks('n7.casino.com') and not u.blocks('www.plain.com')
        assert sentence.split(': ', 1)[1] in u.status()['failed']['why']


def test_key_that_is_configured_later_is_asked_for_at_once(lab, site, keys):
    with School() as u:
        u.update()
        u.configure({'lists': {'sources': [source(key=public(keys))]}})
        assert 'its signature was not fetched' in u.update(expect=1), 'unchanged content was taken without its signature'
        sign(keys, site)
        u.update()
        assert u.status()['signed'] == 'made for a test'


def test_sha256_that_is_pinned_is_the_only_content(lab, site):
    with School(source(sha256='0' * 64)) as u:
        assert 'not the one configured' in u.update(expect=1)


# ---- https ---------------------------------------------------------------------------------------------------------------

def openssl(*words):
    subprocess.run(['openssl', *map(str, words)], check=True, stdin=subprocess.DEVNULL, capture_output=True)


def make_certificate(folder, name, address, ca=None):
    """A certificate for an address, signed by that authority or by itself."""
    (folder / 'extensions').write_text(f'subjectAltName=IP:{address}\n')
    openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', folder / f'{name}.key', '-out', folder / 'request',
            '-subj', f'/CN={name}')
    signer = ['-CA', folder / f'{ca}.crt', '-CAkey', folder / f'{ca}.key', '-CAcreateserial'] if ca else ['-signkey', folder / f'{name}.key']
    openssl('x509', '-req', '-in', folder / 'request', '-days', '2', '-extfile', folder / 'extensions', '-out', folder / f'{name}.crt', *signer)


@pytest.fixture
def secure_site():
    site = Site({443: 'good', 444: 'strange', 445: 'elsewhere'})
    openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=An authority', '-keyout',
            site.folder / 'authority.key', '-out', site.folder / 'authority.crt')
    make_certificate(site.folder, 'good', SITE, 'authority')
    make_certificate(site.folder, 'strange', SITE)
    make_certificate(site.folder, 'elsewhere', '10.0.88.99', 'authority')
    (site.folder / 'authority.crt').chmod(0o644)
    site.serve()
    yield site
    site.stop()
    remove_folder(site.folder)


def test_https_with_an_authority_of_the_schools_own(lab, secure_site):
    with School(source(url=f'https://{SITE}/list.txt')) as u:
        assert "web: failed: the server's certificate is not trusted: " in u.update(expect=1)
        u.configure({'lists': {'ca-file': str(secure_site.folder / 'authority.crt')}})
        u.update()
        assert u.blocks('n7.casino.com')


@pytest.mark.parametrize('url, sentence', [
    (f'https://{SITE}:444/list.txt', "the server's certificate is not trusted: "),
    (f'https://{SITE}:445/list.txt', "the server's certificate is not trusted: "),
    (f'https://{SITE}/plain', 'redirected from https to http: refused'),
], ids=['strange', 'elsewhere', 'downgrade'])
def test_https_that_is_not_what_it_should_be(lab, secure_site, url, sentence):
    with School(source(url=url), **{'ca-file': str(secure_site.folder / 'authority.crt')}) as u:
        assert f'web: failed: {sentence}' in u.update(expect=1)


# ---- proxy ---------------------------------------------------------------------------------------------------------------

class Proxy(http.server.BaseHTTPRequestHandler):
    """Lets through who knows the password; remembers what it was asked for."""
    asked = []
    password = 'boss:geheim'

    def admitted(self):
        given = self.headers.get('Proxy-Authorization', '')
        if given == 'Basic ' + base64.b64encode(self.password.encode()).decode():
            self.asked.append(f'{self.command} {self.path}')
            return True
        self.send_response(407)
        self.send_header('Proxy-Authenticate', 'Basic realm="school"')
        self.send_header('Content-Length', '0')
        self.end_headers()
        return False

    def do_GET(self):
        if not self.admitted():
            return
        connection = http.client.HTTPConnection(SITE, timeout=5)
        connection.request('GET', '/' + self.path.split('/', 3)[3], headers={k: v for k, v in self.headers.items() if 'Proxy' not in k})
        reply = connection.getresponse()
        body = reply.read()
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self):
        if not self.admitted():
            return
        host, port = self.path.rsplit(':', 1)
        with socket.create_connection((host, int(port))) as there:
            self.send_response(200)
            self.end_headers()
            ways = {self.connection: there, there: self.connection}
            while True:
                for end in select.select(list(ways), [], [], 10)[0]:
                    data = end.recv(65536)
                    if not data:
                        self.close_connection = True
                        return
                    ways[end].sendall(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def proxy():
    server = http.server.ThreadingHTTPServer((SITE, 0), Proxy)
    Proxy.asked.clear()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'{SITE}:{server.server_port}'
    server.shutdown()
    server.server_close()


def test_proxy_is_asked_for_everything_but_this_machine(lab, secure_site, proxy):
    secure_site.write('list2.txt', 'poker.net\n')
    sources = [source(), source('secure', f'https://{SITE}/list2.txt'), source('here', 'http://127.0.0.1/list2.txt')]
    lists = {'proxy': f'http://boss:geheim@{proxy}', 'ca-file': str(secure_site.folder / 'authority.crt')}
    with School(*sources, **lists) as u:
        u.update()
        assert sorted(Proxy.asked) == [f'CONNECT {SITE}:443', f'GET http://{SITE}/list.txt']
        assert 'web: nothing new' in u.update()


@pytest.mark.parametrize('url', [f'http://{SITE}/list.txt', f'https://{SITE}/list.txt'])
def test_password_of_a_proxy_is_never_told(lab, site, proxy, url):
    with School(source(url=url), proxy=f'http://boss:falsch@{proxy}') as u:
        said = u.update(expect=1)
        assert '407' in said
        u.configure({'lists': {'proxy': 'http://boss:falsch@10.0.88.1:9'}})
        said += u.update(expect=1) + u.update('--json', expect=1)
        u.configure({'lists': {'proxy': 'http://boss:falsch@10.0.88.1:99999'}})
        said += u.update(expect=1) + u.cli('lists', 'status', expect=1).stdout + u.cli('lists', 'status', '--json', expect=1).stdout
        assert 'falsch' not in said
        assert not any(b'falsch' in path.read_bytes() for path in (u.folder / 'state').rglob('*') if path.is_file())


def test_proxy_of_the_environment_is_not_heeded(lab, site, monkeypatch):
    for name in 'http_proxy', 'https_proxy', 'all_proxy':
        monkeypatch.setitem(ENVIRONMENT, name, 'http://10.0.88.1:9')
    with School() as u:
        u.update()
        assert u.blocks('n7.casino.com')
