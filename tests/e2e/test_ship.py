"""A trust keeps the log of its schools: events reach a collector or ClickHouse at least once, and count once."""

import http.server
import json
import re
import signal
import socket
import socketserver
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest

from usher import BUILD, ENVIRONMENT, eventually, make_folder, profile, remove_folder, usherd

NAMES = ['casino.com', 'poker.net']


@pytest.fixture
def u(lab):
    u = usherd({'profiles': [profile('pupils')]}, {'gambling': NAMES})
    with u:
        yield u


def asked(u, count, first=1):
    for i in range(first, first + count):
        u.ask(f'n{i}.casino.com')
    assert eventually(lambda: len(u.json('log', '--limit', '1000')) == first + count - 1, 3)


# ---- syslog ------------------------------------------------------------------------------------------------------------------


class Collector(socketserver.ThreadingTCPServer):
    """Reads messages counted in octets (RFC 6587) until the sender ends; while it is deaf it resets connections."""

    allow_reuse_address = daemon_threads = True

    def __init__(self):
        super().__init__(('127.0.0.1', 0), None)
        self.messages, self.deaf = [], False
        self.to = f'127.0.0.1@{self.server_address[1]}'
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def get_request(self):
        request, address = super().get_request()
        if self.deaf:
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            request.close()
            raise OSError('deaf')
        return request, address

    def finish_request(self, request, _):
        data = b''
        while piece := request.recv(65536):
            data += piece
        while data:
            length, _, data = data.partition(b' ')
            self.messages.append(data[:int(length)].decode())
            data = data[int(length):]


@pytest.fixture
def collector():
    with Collector() as collector:
        yield collector
        collector.shutdown()


def test_event_becomes_a_message_with_structured_data(u, collector):
    u.configure({'ship': {'site': 'north', 'syslog': {'to': collector.to}}})
    u.ask(r'a\"b\]c.poker.net')
    asked_at = eventually(lambda: u.json('log'), 3)
    u.cli('ship', 'syslog', '--once')
    [message] = collector.messages
    match = re.fullmatch(r'<133>1 (\S+) north usher - block \[usher@32473 (.*)\] block (\S+)', message)
    assert match and match[1] == asked_at[0]['time'], message
    values = dict(re.findall(r'(\w+)="((?:[^"\\\]]|\\.)*)"', match[2]))
    assert values['client'] == '10.20.0.5' and values['category'] == 'gambling' and values['severity'] == 'caution' and values['id'].isdigit()
    assert '"' in re.sub(r'\\(.)', r'\1', values['name'])


def test_what_was_taken_is_not_sent_again_and_what_was_not_is(u, collector):
    u.configure({'ship': {'syslog': {'to': collector.to}}})
    asked(u, 3)
    u.cli('ship', 'syslog', '--once')
    assert len(collector.messages) == 3
    collector.deaf = True
    asked(u, 2, first=4)
    assert 'does not take 2 events' in u.cli('ship', 'syslog', '--once', expect=1).stderr
    collector.deaf = False
    u.cli('ship', 'syslog', '--once')
    assert [re.search(r'name="(\w+)\.', message)[1] for message in collector.messages] == ['n1', 'n2', 'n3', 'n4', 'n5']
    u.cli('ship', 'syslog', '--once')
    assert len(collector.messages) == 5


def test_shipping_goes_on_over_a_restart_of_usherd_and_a_collector_that_was_away(u, collector):
    u.configure({'ship': {'syslog': {'to': collector.to}}})
    shipping = subprocess.Popen([BUILD / 'usher', '-c', u.file, 'ship', 'syslog'], env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True)
    try:
        asked(u, 2)
        assert eventually(lambda: len(collector.messages) == 2, 10)
        u.restart()
        collector.deaf = True
        asked(u, 2, first=3)
        assert any('trying again' in line for line in iter(shipping.stderr.readline, ''))
        collector.deaf = False
        assert eventually(lambda: len(collector.messages) == 4, 15)
    finally:
        shipping.send_signal(signal.SIGTERM)
        shipping.communicate()
    names = [re.search(r'name="(\w+)\.', message)[1] for message in collector.messages]
    assert names == ['n1', 'n2', 'n3', 'n4']


def test_where_to_ship_is_not_configured(u):
    assert 'ship.syslog.to' in u.cli('ship', 'syslog', '--once', expect=1).stderr
    assert 'ship.clickhouse.url' in u.cli('ship', 'clickhouse', '--once', expect=1).stderr
    assert 'clickhouse or syslog' in u.cli('ship', 'somewhere', expect=2).stderr


# ---- ClickHouse --------------------------------------------------------------------------------------------------------------

SERVER = '''<?xml version="1.0"?>
<yandex>
  <logger><level>warning</level><log>{folder}/log</log><errorlog>{folder}/errors</errorlog></logger>
  <http_port>{port}</http_port><tcp_port>{tcp}</tcp_port><listen_host>127.0.0.1</listen_host>
  <path>{folder}/data/</path><tmp_path>{folder}/tmp/</tmp_path>
  <users_config>users.xml</users_config><default_profile>default</default_profile><default_database>default</default_database>
  <mark_cache_size>5368709</mark_cache_size>
</yandex>'''
USERS = '''<?xml version="1.0"?>
<yandex>
  <profiles><default/></profiles><quotas><default/></quotas>
  <users><default><password>secret</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></default></users>
</yandex>'''


class ClickHouse:
    """The real server, on loopback, in a folder of its own."""

    def __init__(self):
        self.folder = make_folder('clickhouse')
        self.port, self.tcp = 18123, 19000
        (self.folder / 'config.xml').write_text(SERVER.format(folder=self.folder, port=self.port, tcp=self.tcp))
        (self.folder / 'users.xml').write_text(USERS)
        self.url = f'http://127.0.0.1:{self.port}/'
        self.process = None

    def start(self):
        self.process = subprocess.Popen(['clickhouse-server', f'--config-file={self.folder}/config.xml'], cwd=self.folder,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert eventually(self.answers, 20)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)

    def answers(self):
        try:
            return self.ask('SELECT 1') == [[1]]
        except OSError:
            return False

    def ask(self, statement):
        """Rows of values; [] of what has none."""
        request = urllib.request.Request(self.url, data=statement.encode(), headers={'X-ClickHouse-User': 'default', 'X-ClickHouse-Key': 'secret'})
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return [[json.loads(cell) if cell.isdigit() else cell for cell in line.split('\t')] for line in reply.read().decode().splitlines()]
        except urllib.error.HTTPError as error:
            raise AssertionError(f'{statement}\n{error.read().decode()}') from None


@pytest.fixture(scope='module')
def clickhouse(lab):
    server = ClickHouse()
    server.start()
    yield server
    server.stop()
    remove_folder(server.folder)


def statements(u):
    text = re.sub(r'--.*', '', u.cli('ship', 'clickhouse', '--schema').stdout)
    return [statement.strip() for statement in text.split(';') if statement.strip()]


def test_clickhouse_keeps_each_event_once_whatever_breaks(u, clickhouse):
    password = u.folder / 'password'
    password.write_text('secret\n')
    password.chmod(0o644)
    u.configure({'ship': {'site': 'north', 'clickhouse': {'url': clickhouse.url, 'password-file': str(password)}}})
    asked(u, 3)
    assert 'usher' in u.cli('ship', 'clickhouse', '--once', expect=1).stderr, 'there is no such table yet'
    definition, questions = statements(u)[:2], statements(u)[2:]
    for statement in definition:
        clickhouse.ask(statement)
    u.cli('ship', 'clickhouse', '--once')
    [position] = (u.folder / 'state/ship').glob('clickhouse.json')
    before = position.read_text()
    asked(u, 2, first=4)
    u.cli('ship', 'clickhouse', '--once')
    position.write_text(before)                                         # as if it had been killed before it could write that down
    u.cli('ship', 'clickhouse', '--once')
    assert clickhouse.ask('SELECT count() FROM usher.blocked') == [[7]]
    assert clickhouse.ask('SELECT count(), uniqExact(id) FROM usher.blocked FINAL') == [[5, 5]]
    [row] = clickhouse.ask("SELECT site, client, profile, name, type, category, severity, toUnixTimestamp(time), microsecond FROM usher.blocked FINAL WHERE name = 'n1.casino.com'")
    assert row[:7] == ['north', '10.20.0.5', 'pupils', 'n1.casino.com', 'A', 'gambling', 'caution']
    record = next(r for r in u.json('log') if r['name'] == 'n1.casino.com')
    assert record['time'].endswith(f'.{row[8]:06}Z')

    assert len(questions) == 10
    for question in questions:
        clickhouse.ask(question)
    assert clickhouse.ask(questions[2])[0][:2] == ['gambling', 5]

    assert_what_is_forgotten_can_be_deleted(u, clickhouse)

    clickhouse.stop()
    u.ask('n6.casino.com')
    assert eventually(lambda: u.json('log', '--name', 'n6.casino.com'), 3)
    assert 'does not take 1 events' in u.cli('ship', 'clickhouse', '--once', expect=1).stderr
    clickhouse.start()
    u.cli('ship', 'clickhouse', '--once')
    assert clickhouse.ask("SELECT count() FROM usher.blocked FINAL WHERE name LIKE 'n%.casino.com'") == [[6]]


OLD_TABLE = '''CREATE TABLE usher.old (site String, id UInt64, time DateTime, microsecond UInt32, client String, device String, profile String, name String,
    type String, category String, severity Enum8('advisory' = 1, 'caution' = 2, 'danger' = 3), rule String, source String, matched String, action String,
    generation UInt64) ENGINE = ReplacingMergeTree() PARTITION BY toYYYYMM(time) ORDER BY (site, time, id)'''
KEA = 'address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n'


def test_questions_go_by_the_device_also_in_a_table_of_before(lab, clickhouse):
    """Anna's phone tries three ways around at two addresses: one device; the table is of a version that knew no identities."""
    expire = int(time.time()) + 3000
    with usherd({'leases': [{'file': '{folder}/kea.csv'}]}, {'bypass': NAMES}) as u:
        u.write('kea.csv', KEA + ''.join(f'10.20.0.{n},aa:bb:cc:00:00:01,,3600,{expire},1,0,0,annas-phone,0,\n' for n in (21, 22)))
        u.reload()
        assert eventually(lambda: any(b'annas-phone' in path.read_bytes() for path in (u.folder / 'state/devices').iterdir()), 4)
        for client, name in (('10.20.0.21', 'a.casino.com'), ('10.20.0.22', 'b.casino.com'), ('10.20.0.22', 'c.casino.com'), ('10.20.0.9', 'a.poker.net')):
            u.ask(name, client=client)
        u.log(count=4)
        for statement in (statements(u)[0], OLD_TABLE, "INSERT INTO usher.old (site, id, time, client, name, category, severity) VALUES "
                          "('south', 1, now(), '10.20.0.22', 'd.casino.com', 'bypass', 'caution')"):
            clickhouse.ask(statement)
        (u.folder / 'password').write_text('secret\n')
        u.configure({'ship': {'site': 'south', 'clickhouse': {'url': clickhouse.url, 'table': 'usher.old', 'password-file': str(u.folder / 'password')}}})
        assert 'columns' not in u.cli('ship', 'clickhouse', '--once').stderr
        rows = clickhouse.ask('SELECT client, device, mac, confidence, identity FROM usher.old FINAL ORDER BY name')
        phone = ['annas-phone', 'aa:bb:cc:00:00:01', 'lease', 'aa:bb:cc:00:00:01']
        unknown = [['10.20.0.9', '', '', '', '10.20.0.9'], ['10.20.0.22', '', '', '', '']]
        assert sorted(rows) == sorted([['10.20.0.21', *phone], *[['10.20.0.22', *phone]] * 2, *unknown])
        ways = clickhouse.ask(statements(u)[7].replace('usher.blocked', 'usher.old'))
        [(site, who, called, clients, sure, _, names, lookups)] = ways
        assert (site, who, called, sure, names, lookups) == ('south', 'aa:bb:cc:00:00:01', 'annas-phone', "['lease']", 3, 3)
        assert set(re.findall(r'[0-9.]+', clients)) == {'10.20.0.21', '10.20.0.22'}
        assert clickhouse.ask(statements(u)[4].replace('usher.blocked', 'usher.old')) == [['bypass', 5, 3]], 'what is not known goes by its address'


def test_a_user_that_may_not_add_columns_ships_without_them_and_is_told(u):
    class Refusing(http.server.BaseHTTPRequestHandler):
        taken = []

        def do_POST(self):
            body = self.rfile.read(int(self.headers['Content-Length']))
            refused = 'ALTER' in self.path
            if 'INSERT' in self.path:
                self.taken.append((self.path, body))
            self.send_response(500 if refused else 200)
            self.end_headers()
            self.wfile.write(b'Code: 497. DB::Exception: Not enough privileges.' if refused else b'')

        def log_message(self, *_):
            pass
    asked(u, 2)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        u.configure({'ship': {'clickhouse': {'url': f'http://127.0.0.1:{server.server_port}/'}}})
        said = u.cli('ship', 'clickhouse', '--once').stderr
        server.shutdown()
    assert 'Not enough privileges' in said and 'has no columns mac, confidence and identity' in said and '2 more events' in said
    [(path, body)] = Refusing.taken
    assert 'input_format_skip_unknown_fields=1' in path and json.loads(body.splitlines()[0])['identity'] == '10.20.0.5'


def assert_what_is_forgotten_can_be_deleted(u, clickhouse):
    """By the statement that `usher forget` prints: of an address, networks of both families, a device, a name; and nobody else's."""
    u.reload()
    others = [('10.20.9.7', 'a'), ('10.20.9.8', 'b'), ('fd00:20::6', 'c'), ("10.30.0.5", 'd')]
    for client, label in others:
        u.ask(f'{label}.poker.net', client=client)
    assert eventually(lambda: len(u.json('log', '--name', 'poker.net')) == 4, 3)
    u.cli('ship', 'clickhouse', '--once')

    def names():
        return sorted(name for [name] in clickhouse.ask("SELECT name FROM usher.blocked FINAL WHERE endsWith(name, 'poker.net')"))

    def forget(*words):
        [answer] = u.json('forget', *words, '--reason', 'request 20')
        [place] = answer['shipped']
        assert place['target'] == 'clickhouse' and place['where'] == 'usher.blocked'
        clickhouse.ask(place['delete'])
        return place['delete']

    def only(*labels):
        return eventually(lambda: names() == [f'{label}.poker.net' for label in labels], 5)
    assert "client = '10.20.9.7'" in forget('--client', '10.20.9.7')
    assert only('b', 'c', 'd')
    forget('--client', 'fd00:20::/64')
    assert only('b', 'd')
    forget('--client', '10.20.0.0/16', '--name', 'poker.net', '--since', '1h')
    assert only('d')
    forget('--device', "o'brien\\'s")
    assert only('d') and clickhouse.ask('SELECT count() FROM usher.blocked FINAL WHERE client = \'10.20.0.5\'') == [[5]]
    entries = [json.loads(line) for line in (u.folder / 'state/ledger/ledger.jsonl').read_text().splitlines()]
    entry = next(entry for entry in entries if entry['what'] == 'log.forget')
    assert entry['detail']['shipped'] == [{'target': 'clickhouse', 'where': 'usher.blocked'}]
    u.configure({'ship': {'syslog': {'to': '10.0.0.9@514'}}})
    u.reload()
    said = u.cli('forget', '--client', '10.20.9.7', '--reason', 'request 21').stdout
    assert 'OR mac' not in said, 'of an address there is nothing to leave out'
    said = u.cli('forget', '--device', 'aa:bb:cc:00:00:09', '--reason', 'request 22').stdout
    assert " OR mac = 'aa:bb:cc:00:00:09'" in said and 'without the column mac' in said and 'leave "OR mac = ..." out' in said
    said = u.cli('forget', '--client', '10.20.9.7', '--reason', 'request 21').stdout
    assert 'ALTER TABLE usher.blocked DELETE WHERE' in said and 'syslog 10.0.0.9@514' in said and 'client="10.20.9.7"' in said
    u.configure({'ship': {'syslog': {'to': ''}}})


def test_wrong_password_and_a_table_that_is_no_name_are_told(u, clickhouse):
    u.ask('casino.com')
    assert eventually(lambda: u.json('log'), 3)
    u.configure({'ship': {'clickhouse': {'url': clickhouse.url, 'table': 'x; DROP TABLE usher.blocked'}}})
    assert 'ship.clickhouse.table' in u.cli('ship', 'clickhouse', '--once', expect=1).stderr
    u.configure({'ship': {'clickhouse': {'url': clickhouse.url, 'table': 'usher.blocked'}}})
    assert 'status' in u.cli('ship', 'clickhouse', '--once', expect=1).stderr


def test_a_reply_that_quotes_rows_puts_no_lookup_into_the_journal(u):
    class Quoting(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers['Content-Length']))
            self.send_response(400)
            self.end_headers()
            self.wfile.write(b"Code: 27. DB::Exception: Cannot parse input: expected '\"' before: '" + body[60:200])

        def log_message(self, *_):
            pass
    u.ask('casino.com')
    assert eventually(lambda: u.json('log'), 3)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Quoting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        u.configure({'ship': {'clickhouse': {'url': f'http://127.0.0.1:{server.server_port}/'}}})
        said = u.cli('ship', 'clickhouse', '--once', expect=1).stderr
        server.shutdown()
    assert 'status 400: Code: 27. DB::Exception: Cannot parse input' in said and '10.20' not in said and 'casino' not in said, said
