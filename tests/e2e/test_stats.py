"""Issue point 11: figures for the dashboard, by socket and by command, without a word about a person."""

import json
import re
import socket
import time
import urllib.request

import pytest

from usher import STAFF, usherd

LISTEN = '127.0.0.1@9153'


@pytest.fixture(scope='module')
def u(lab):
    with usherd({'stats-listen': LISTEN}, {'gambling': ['casino.com'], 'illegal': ['illegal.net']}) as u:
        u.ask('secret-name.casino.com', client='10.20.44.55')
        u.ask('www.google.com')
        u.ask('www.plain.com', client=STAFF)
        yield u


def metrics(u):
    """name{labels} -> value of /metrics."""
    _, body, _ = u.http('stats.sock', '/metrics')
    return {line.rsplit(' ', 1)[0]: float(line.rsplit(' ', 1)[1]) for line in body.splitlines() if line and line[0] != '#'}


def test_stats_have_every_key_of_the_interface(u):
    s = u.stats()
    assert {'version', 'uptime_s', 'generation', 'queries', 'answers', 'blocked', 'rewritten', 'profiles', 'cache', 'log', 'latency_us',
            'upstream'} <= set(s)
    assert {'id', 'names', 'age_s'} <= set(s['generation'])
    assert {'udp', 'tcp'} <= set(s['queries'])
    assert {'resolved', 'cached', 'stale', 'blocked', 'rewritten', 'local', 'refused', 'servfail', 'formerr', 'limited'} <= set(s['answers'])
    assert {'entries', 'bytes', 'hits', 'misses'} <= set(s['cache'])
    assert {'events', 'pending', 'lost'} <= set(s['log'])
    assert {'queries', 'timeouts', 'latency_us'} <= set(s['upstream'])
    assert len(s['latency_us']['le']) == len(s['latency_us']['count'])
    assert s['generation']['names'] == 2 and 0 <= s['generation']['age_s'] < 60
    assert set(s['profiles']) == {'pupils', 'staff', 'guest'}


def test_every_kind_of_answer_is_counted_once(u):
    def grown(kind, *asked, **more):
        before = u.stats()['answers']
        u.ask(*asked, **more)
        after = u.stats()['answers']
        return {k: after[k] - before[k] for k in after if after[k] != before[k]} == {kind: 1}
    assert grown('blocked', 'casino.com')
    assert grown('rewritten', 'www.bing.com')
    assert grown('local', 'mask.icloud.com')
    assert grown('refused', 'www.plain.com', client='203.0.113.5')
    assert grown('resolved', 'fresh.many.com')
    assert grown('cached', 'fresh.many.com')
    assert grown('servfail', 'www.bogus.com')


def test_queries_latency_and_categories_are_counted(u):
    before = u.stats()
    u.ask('casino.com')
    u.ask('casino.com', tcp=True)
    after = u.stats()
    assert after['queries']['udp'] - before['queries']['udp'] == 1 and after['queries']['tcp'] - before['queries']['tcp'] == 1
    assert after['blocked']['gambling'] - before['blocked']['gambling'] == 2
    assert sum(after['latency_us']['count']) - sum(before['latency_us']['count']) == 2
    assert after['log']['events'] - before['log']['events'] == 2


def test_nothing_personal_is_told(u):
    for path in '/v1/stats', '/metrics':
        _, body, _ = u.http('stats.sock', path)
        assert 'secret-name' not in body and '10.20.44.55' not in body and 'casino' not in body


def test_metrics_are_openmetrics(u):
    status, body, headers = u.http('stats.sock', '/metrics')
    assert status == 200 and 'openmetrics-text' in headers['Content-Type']
    lines = body.splitlines()
    assert lines[-1] == '# EOF' and lines.count('# EOF') == 1
    families = {}
    for line in lines[:-1]:
        assert re.fullmatch(r'# (TYPE|HELP|UNIT) [a-z_:]+ .+|[a-z_:]+(\{[a-z_]+="(?:[^"\\]|\\.)*"(,[a-z_]+="(?:[^"\\]|\\.)*")*\})? -?[0-9.eE+-]+|.*\+Inf.*', line), line
        if line.startswith('# TYPE'):
            families[line.split()[2]] = line.split()[3]
    for line in lines:
        if line[0] != '#':
            sample = re.match(r'[a-z_:]+', line)[0]
            family = next((f for f in (sample, re.sub('_(total|bucket|count|sum|info|created)$', '', sample)) if f in families), None)
            assert family, f'{line}: no TYPE line'
            assert families[family] != 'counter' or sample.endswith('_total'), line
    names = [line for line in lines if line.startswith('# TYPE')]
    assert len(names) == len(set(names))
    assert all(name.startswith('usher') for name in families)


def test_metrics_agree_with_the_json(u):
    values = [value for key, value in metrics(u).items() if 'blocked' in key and 'gambling' in key]
    assert values == [u.stats()['blocked']['gambling']]


def test_stats_listen_serves_the_same_routes_over_tcp(u):
    for path in '/v1/stats', '/metrics':
        with urllib.request.urlopen(f'http://{LISTEN.replace("@", ":")}{path}', timeout=5) as reply:
            assert reply.status == 200 and reply.read()


def test_other_paths_and_methods_are_refused(u):
    assert u.http('stats.sock', '/v1/log')[0] == 404
    assert u.http('stats.sock', '/v1/reload', 'POST')[0] == 404
    assert u.http('stats.sock', '/v1/stats', 'POST', '{}')[0] == 405
    assert u.http('control.sock', '/nonsense')[0] == 404


def test_any_host_header_is_accepted(u):
    for host in 'localhost', 'usher', 'x' * 200, '127.0.0.1:9':
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(3)
            s.connect(str(u.folder / 'run/stats.sock'))
            s.send(f'GET /v1/stats HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n'.encode())
            assert s.recv(100).startswith(b'HTTP/1.1 200')


@pytest.mark.parametrize('sock', ['stats.sock', 'control.sock', 'log.sock'])
def test_hostile_reader_of_a_socket_delays_nobody(u, sock):
    readers = []
    for junk in b'', b'GET /v1/stats HTTP/1.1\r\nX: ' + b'y' * 100000, b'\0' * 5000, b'GET /v1/stats HTTP/1.1\r\n\r\n' * 50, b'POST /v1/reload HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n':
        for _ in range(10):
            s = socket.socket(socket.AF_UNIX)
            s.setblocking(False)
            try:
                s.connect(str(u.folder / 'run' / sock))
                s.send(junk)
            except OSError:
                pass
            readers.append(s)
    began = time.monotonic()
    for _ in range(50):
        assert u.ask('casino.com').blocked
    assert time.monotonic() - began < 2
    for s in readers:
        s.close()
    assert u.stats()['queries']['udp'] > 0


def test_sockets_are_not_for_everybody(u):
    for sock in 'stats.sock', 'control.sock', 'log.sock':
        assert (u.folder / 'run' / sock).stat().st_mode & 0o007 == 0


def test_commands_show_stats_and_status(u):
    assert u.json('stats')[0]['answers']['blocked'] == u.stats()['answers']['blocked']
    assert 'blocked' in u.cli('stats').stdout
    status = u.json('status')[0]
    text = json.dumps(status)
    assert 'unbound' in text and re.search(r'1\.\d+\.\d+', text), 'versions of the libraries'
    people = u.cli('status').stdout
    assert 'recursor' in people and 'lists' in people


def test_unbound_of_debian_is_warned_about(u):
    assert '1.25.2' in u.cli('status').stdout or '1.25.2' in u.said()


def test_commands_without_usherd_say_so(lab):
    u = usherd(lists={'gambling': ['casino.com']})
    try:
        for command in 'stats', 'status', 'reload':
            result = u.cli(command, expect=1)
            assert 'usherd' in result.stderr + result.stdout and 'Traceback' not in result.stderr
    finally:
        u._forget()
