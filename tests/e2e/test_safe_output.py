"""Issue 6, point 10: whatever a stranger put into a name, it is neutral wherever it is shown: on a terminal, in JSON, in a spreadsheet, in a page,
in a mail, in syslog. One school with names of every hostile kind in its log, its leases, its rules, lists and reasons; every command that shows any."""

import csv
import email
import email.policy
import html.parser
import io
import json
import re
import socket
import struct
import threading
import time

import pytest

from usher import PUPIL, STAFF, eventually, profile, usherd

# One label each.
LABELS = [b'\x1b]0;owned\x07', b'\x1b[31mred\x1b[0m', b'\xc2\x9b31m', '\u202egpj.exe\u2066'.encode(), b'line\nfeed\r\n\r\nX-Header: 1', b"=cmd|'/C calc'!A0", b'+1', b'-2+3',
          b'@SUM(1)', b'\t=1', b'<script>alert(1)</script>', b'"><img src=x onerror=alert(1)>', b'"quoted"', b"it's", b'back\\slash', b'nul\x00nul', b'\xff\xfe\x80\xc3',
          b'a,b;c|d', b'&amp;&#60;', b']]>', b'%s%n%x', b'] b="', b'$(id)`id`', b'x' * 63]
TEXT = '=1+1 \u202e\x1b[31m<script>alert(2)</script>"\'\\ %s \x9b31m\u2066'           # a reason, as one may type or paste it
# A reason that usherd takes: one line, no ASCII control; all that turns, hides or is obeyed, and a letter that stays.
UNSEEN = 'caf\u00e9 ' + ''.join(map(chr, [*range(0x80, 0xa0), 0x61c, *range(0x200b, 0x2010), *range(0x2028, 0x202f), *range(0x2060, 0x206a), 0xfeff, 0xad, 0x180e, *range(0xfff9, 0xfffc), 0xfe0f,
                                       0xe0001, 0xe0020, 0xe007f, 0xe0100])) + ' end'
DEVICE = '=cmd|calc<script>\u202e"\\'

ALERTS = {'mail-to': ['dsl@school.example'], 'sendmail': '{folder}/sendmail', 'wait': '1s', 'rules': [{'name': 'danger'}]}
SENDMAIL = '#!/bin/sh\nn=$(mktemp {folder}/mails/new.XXXXXX) && cat > "$n" && mv "$n" "{folder}/mails/$(date +%s%N)"\n'


class Syslog(threading.Thread):
    """Takes what `ship syslog` sends."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.create_server(('127.0.0.1', 0))
        self.to = f'127.0.0.1@{self.socket.getsockname()[1]}'
        self.octets = b''
        self.start()

    def run(self):
        connection, _ = self.socket.accept()
        while piece := connection.recv(65536):
            self.octets += piece


def ask(u, label, below, client):
    wire = bytes([len(label)]) + label + b''.join(bytes([len(part)]) + part.encode() for part in below.split('.')) + b'\0'
    assert u.ask_raw(struct.pack('!6H', 1, 0x0100, 1, 0, 0, 0) + wire + b'\0\1\0\1', client), label


@pytest.fixture(scope='module')
def school(lab):
    syslog = Syslog()
    with usherd({'profiles': [profile('pupils'), profile('staff', block=['gambling', 'self-harm'])], 'leases': [{'file': '{folder}/leases', 'format': 'dnsmasq'}],
                 'alerts': ALERTS, 'ship': {'site': 'north', 'syslog': {'to': syslog.to}}},
                {'gambling': ['casino.com'], 'self-harm': ['harm.org'], 'adult': ['=1+1.net', '"q"<i>x.net', '\x1b[31mred.net', 'fine.net']}) as u:
        (u.folder / 'mails').mkdir()
        (u.folder / 'mails').chmod(0o777)
        u.write('sendmail', SENDMAIL.replace('{folder}', str(u.folder))).chmod(0o755)
        u.write('leases', f'{int(time.time()) + 3600} aa:bb:cc:00:00:01 {PUPIL} {DEVICE} *\n')
        assert eventually(lambda: list((u.folder / 'state/devices').iterdir()), 5)
        for label in LABELS:
            for client in (PUPIL, STAFF):
                ask(u, label, 'casino.com', client)
                ask(u, label, 'harm.org', client)
        u.log('--limit', 1000, count=4 * len(LABELS), within_s=3)
        u.cli('block', 'plain.org', '--reason', TEXT, expect=None)
        u.cli('allow', r'\027[31m.plain.org', '--reason', 'fine', expect=None)
        u.cli('case', 'hold', '--client', STAFF, '--since', '1h', '--reason', TEXT, expect=None)
        u.cli('block', 'unseen.org', '--reason', UNSEEN)
        u.cli('case', 'hold', '--client', STAFF, '--since', '1h', '--reason', UNSEEN)
        u.cli('forget', '--client', '10.9.9.9', '--reason', UNSEEN)
        u.syslog = syslog
        yield u


NAME = r'\027]0;owned\007.casino.com'
LOG = [['log', '--limit', '1000'], *(['log', '--count-by', by] for by in ('client', 'device', 'category', 'name', 'severity', 'hour'))]
ROWS = [*LOG, ['episodes'], ['signals', '--since', '1d'], ['rules', 'list'], ['ledger'], ['ledger', '--reads'], ['case', 'list'], ['retention', '--verify'], ['alert', 'list'],
        ['lists', 'find', NAME], ['lists', 'show'], ['lists', 'status'], ['selftest', '--last'], ['status']]
TEXTS = [*ROWS, ['check', NAME], ['check', NAME, '--client', PUPIL], ['check', '<script>.casino.com'], ['log', '--name', NAME], ['log', '--device', DEVICE], ['log', '--profile', TEXT],
         ['log', '--client', TEXT], ['log', '--category', TEXT], ['log', '--since', TEXT], ['rules', 'remove', TEXT], ['rules', 'remove', NAME], ['allow', TEXT, '--reason', 'x'],
         ['lists', 'find', TEXT], ['check', TEXT], ['report', TEXT], ['case', 'release', TEXT, '--reason', 'x'], ['forget', '--device', TEXT, '--reason', 'x', '--until', '2001-01-01'],
         ['forget', '--client', TEXT, '--reason', 'x'], [TEXT], ['flush', TEXT], ['help', TEXT], ['case', 'hold', '--client', PUPIL, '--since', TEXT, '--reason', 'x']]
REPORTS = [['report', kind] for kind in ('daily', 'weekly', 'term', 'staff')] + [['report', 'subject-access', '--client', PUPIL]]

HARM = re.compile('[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffe\xad\u180e\ufff9-\ufffb\ufe00-\ufe0f\U000e0000-\U000e0fff]')


def assert_neutral(text, words):
    """Nothing that a terminal obeys or that turns a line's order round."""
    found = HARM.search(text)
    assert not found, (words, text[max(0, found.start() - 60):found.end() + 20])


def printable(words):
    return ' '.join(re.sub('[^ -~]', '?', word) for word in words)


@pytest.mark.parametrize('words', TEXTS + REPORTS, ids=printable)
def test_a_terminal_obeys_nothing(school, words):
    run = school.cli(*words, expect=None)
    assert run.returncode in (0, 1, 2)
    assert_neutral(run.stdout + run.stderr, words)


@pytest.mark.parametrize('words', [*ROWS, ['check', NAME]], ids=printable)
def test_every_line_of_json_is_an_object(school, words):
    run = school.cli(*words, '--json', expect=None)
    for line in run.stdout.splitlines():
        assert isinstance(json.loads(line), dict)
    assert_neutral(run.stdout + run.stderr, words)


@pytest.mark.parametrize('words, key, count', [(['ledger'], 'why', 3), (['case', 'list'], 'reason', 1), (['rules', 'list'], 'reason', 1)])
def test_json_tells_a_reason_exactly_and_a_table_what_can_be_seen_of_it(school, words, key, count):
    assert [row[key] for row in school.json(*words)].count(UNSEEN) == count
    assert school.cli(*words, '--json').stdout.count('caf\u00e9 \\u0080\\u0081') >= count
    assert school.cli(*words).stdout.count('caf\u00e9 ' + '?' * (len(UNSEEN) - len('caf\u00e9  end')) + ' end') == count


@pytest.mark.parametrize('words', [*(row + ['--csv'] for row in ROWS if row[0] != 'lists' or row[1] != 'status'), *(report + ['--format', 'csv'] for report in REPORTS), ['report', 'daily', '--format', 'cpoms']], ids=printable)
def test_a_spreadsheet_calculates_nothing_and_keeps_its_columns(school, words):
    run = school.cli(*words, expect=None)
    assert_neutral(run.stdout + run.stderr, words)
    rows = list(csv.reader(io.StringIO(run.stdout, newline='')))
    for row in rows:
        assert len(row) == len(rows[0]), row
        for cell in row:
            assert not re.match(r'[\s"\']{0}\s*[=+@-]', cell) or re.fullmatch(r'-?[0-9.]+', cell), (words, cell)


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = set(), set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.mark.parametrize('words', REPORTS, ids=printable)
def test_a_page_runs_nothing(school, words):
    text = school.cli(*words, '--format', 'html').stdout
    page = Page(text)
    assert not page.tags & {'script', 'img', 'iframe', 'b', 'link', 'object'} and not {name for name in page.attributes if name.startswith('on')}
    assert_neutral(text, words)


def test_mails_have_the_headers_and_the_text_that_we_wrote(school):
    folder = school.folder / 'mails'
    assert eventually(lambda: list(folder.glob('[0-9]*')), 15)
    for path in folder.glob('[0-9]*'):
        mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        assert not mail.defects and 'X-Header' not in mail and mail['To'] == 'dsl@school.example'
        assert_neutral(mail.get_content().replace('\r\n', '\n') + mail['Subject'], ['mail'])


def test_syslog_messages_are_one_line_each_and_their_values_end_where_they_end(school):
    school.cli('ship', 'syslog', '--once')
    assert eventually(lambda: school.syslog.octets.count(b'usher@32473') >= 4 * len(LABELS), 5)
    data = school.syslog.octets
    while data:
        length, _, data = data.partition(b' ')
        message, data = data[:int(length)].decode(), data[int(length):]
        assert_neutral(message, ['ship'])
        assert '\n' not in message and re.search(r' \[usher@32473( \w+="([^"\\\]]|\\["\\\]])*")+\]', message), message


def test_a_txt_answer_tells_no_control_octets(school):
    for label in LABELS:
        wire = bytes([len(label)]) + label + b'\x06casino\x03com\x03why\x05usher\0'
        reply = school.ask_raw(struct.pack('!6H', 1, 0x0100, 1, 0, 0, 0) + wire + b'\0\x10\0\1', PUPIL)
        if reply:
            assert not re.search(rb'[\0-\x1f\x7f-\xff]{1}', b''.join(strings(reply, 12 + len(wire) + 4))), label


def strings(reply, at):
    """The character strings of the TXT records behind the question."""
    for _ in range(struct.unpack('!H', reply[6:8])[0]):
        at += 2 if reply[at] >= 192 else reply.index(b'\0', at) - at + 1
        kind, _, _, length = struct.unpack('!HHIH', reply[at:at + 10])
        at += 10
        end = at + length
        while kind == 16 and at < end:
            yield reply[at + 1:at + 1 + reply[at]]
            at += 1 + reply[at]
        at = end
