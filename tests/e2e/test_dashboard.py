"""Issue point 11: the monitoring screen. conf/grafana-dashboard.json asks only for what /metrics has, and its questions are answered by a real
Prometheus that runs on conf/prometheus.yml."""

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request

import pytest

from usher import ENVIRONMENT, PUPIL, ROOT, STAFF, eventually, usherd

PORT = 9154
PROMETHEUS = '127.0.0.1:9095'
BOARD = json.loads((ROOT / 'conf/grafana-dashboard.json').read_text())
PANELS = [panel for panel in BOARD['panels'] if panel['type'] != 'row']
# What the screen must show, each by a metric that a panel asks for.
SHOWN = ['usher_queries_udp_total', 'usher_queries_tcp_total', 'usher_blocked_total', 'usher_profile_queries_total', 'usher_profile_blocked_total',
         'usher_rewritten_total', 'usher_cache_hits_total', 'usher_cache_misses_total', 'usher_answer_seconds_bucket', 'usher_lists_age_seconds',
         'usher_lists_names', 'usher_log_pending', 'usher_log_lost_total', 'usher_recursor_restarts_total', 'usher_upstream_timeouts_total',
         'usher_fault']


@pytest.fixture(scope='module')
def u(lab):
    with usherd({'stats-listen': f'127.0.0.1@{PORT}'}, {'gambling': ['casino.com'], 'illegal': ['illegal.net']}) as u:
        yield u


def questions():
    """(panel's title, PromQL) of every question, with Grafana's variables filled in."""
    for panel in PANELS:
        for target in panel['targets']:
            yield panel['title'], target['expr'].replace('$__rate_interval', '4s').replace('$instance', '.*')


def families(text):
    """sample name -> its labels, over all samples of /metrics; names with a TYPE line and no sample yet have none."""
    found = {}
    for line in text.splitlines():
        sample = re.match(r'([a-z_]+)(\{[^}]*\})? ', line)
        if sample and line[0] != '#':
            found.setdefault(sample[1], set()).update(re.findall(r'([a-z_]+)="', sample[2] or ''))
    return found


def test_every_metric_and_label_of_the_dashboard_exists(u):
    exposed = families(u.http('stats.sock', '/metrics')[1])
    variables = [item['definition'] for item in BOARD['templating']['list']]
    for expr in [expr for _, expr in questions()] + variables:
        names = re.findall(r'\busher_[a-z_]+', expr)
        assert names, expr
        assert [name for name in names if name not in exposed] == [], expr
        labels = re.findall(r'\bby \(([a-z]+)\)', expr)
        assert all(label in {'instance'}.union(*(exposed[name] for name in names)) for label in labels), expr


def test_every_figure_of_the_screen_is_shown():
    asked = ' '.join(expr for _, expr in questions())
    assert [name for name in SHOWN if not re.search(rf'\b{name}\b', asked)] == []


def test_dashboard_can_be_imported():
    assert BOARD['__inputs'][0]['name'] == 'DS_PROMETHEUS' and BOARD['schemaVersion'] >= 36 and BOARD['uid']
    ids = [panel['id'] for panel in BOARD['panels']]
    assert len(ids) == len(set(ids)) and len({panel['title'] for panel in PANELS}) > 15
    places = set()
    for panel in BOARD['panels']:
        at = panel['gridPos']
        assert 0 <= at['x'] and at['x'] + at['w'] <= 24
        cells = {(x, y) for x in range(at['x'], at['x'] + at['w']) for y in range(at['y'], at['y'] + at['h'])}
        assert not cells & places, f'{panel["title"]} covers another panel'
        places |= cells
    assert all(panel['datasource']['uid'] == '${DS_PROMETHEUS}' and panel['fieldConfig']['defaults']['unit'] for panel in PANELS)


@pytest.mark.skipif(not shutil.which('promtool'), reason='prometheus is not installed')
def test_prometheus_accepts_the_scrape_configuration():
    result = subprocess.run(['promtool', 'check', 'config', str(ROOT / 'conf/prometheus.yml')], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def ask_prometheus(path, **parameters):
    with urllib.request.urlopen(f'http://{PROMETHEUS}{path}?{urllib.parse.urlencode(parameters)}', timeout=5) as reply:
        return json.load(reply)['data']


@pytest.fixture(scope='module')
def prometheus(u, tmp_path_factory):
    """A real one on the shipped configuration, scraping every second, while lookups of all kinds come in."""
    folder = tmp_path_factory.mktemp('prometheus')
    text = (ROOT / 'conf/prometheus.yml').read_text().replace('127.0.0.1:9153', f'127.0.0.1:{PORT}')
    (folder / 'prometheus.yml').write_text(re.sub(r'scrape_interval:.*', 'scrape_interval: 1s', text))
    server = subprocess.Popen(['prometheus', f'--config.file={folder}/prometheus.yml', f'--storage.tsdb.path={folder}/data',
                               f'--web.listen-address={PROMETHEUS}'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)

    def scraped():
        try:
            return [r for r in ask_prometheus('/api/v1/query', query='up == 1')['result']]
        except OSError:
            return None

    try:
        assert eventually(scraped, 20, every_s=0.2), 'Prometheus could not scrape usherd'
        until = time.monotonic() + 4.5
        while time.monotonic() < until:
            for client, name in (PUPIL, 'casino.com'), (PUPIL, 'www.google.com'), (STAFF, 'www.plain.com'), (STAFF, f'n{time.monotonic_ns()}.many.com'):
                u.ask(name, client=client)
            time.sleep(0.1)
        yield ask_prometheus
    finally:
        server.terminate()
        server.wait(10)


@pytest.mark.skipif(not shutil.which('prometheus'), reason='prometheus is not installed')
def test_every_panel_has_data(prometheus):
    empty = [title for title, expr in questions() if not prometheus('/api/v1/query', query=expr)['result']]
    assert empty == []


@pytest.mark.skipif(not shutil.which('prometheus'), reason='prometheus is not installed')
def test_panels_tell_what_happened(prometheus):
    def value(expr):
        return {tuple(r['metric'].values()): float(r['value'][1]) for r in prometheus('/api/v1/query', query=expr)['result']}
    assert value('usher_blocked_total{category="gambling"} > 0')
    assert value('usher_rewritten_total{engine="google"} > 0')
    assert value('usher_profile_queries_total{profile="staff"} > 0')
    targets = prometheus('/api/v1/targets')['activeTargets']
    assert [t['lastError'] for t in targets] == [''] and targets[0]['labels']['job'] == 'usher'
