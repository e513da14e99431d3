"""Issue 6, point 6: what cannot wait reaches the right people, once, and stays queued until it does."""

import email
import email.policy
import hashlib
import hmac
import http.server
import json
import socket
import struct
import threading
import time

import dns.message
import pytest

from usher import Usherd, command_line, descendants, eventually

LISTS = {'gambling': ['casino.com'], 'self-harm': ['harm.org'], 'hate': ['hate.org']}
PROFILES = [{'name': name, 'networks': [network], 'block': list(LISTS), 'rate-limit': 0}
            for name, network in (('pupils', '10.20.0.0/16'), ('staff', '10.30.0.0/16'))]
SENDMAIL = '#!/bin/sh\n[ -e {folder}/mail-is-down ] && { echo "no \033[31mroute" >&2; exit 75; }\n' \
           'n=$(mktemp {folder}/mails/new.XXXXXX) && cat > "$n" && mv "$n" "{folder}/mails/$(date +%s%N).$*"\n'


class School(Usherd):
    """An usherd with a sendmail that puts mails into a folder."""

    def __init__(self, periods=None, **alerts):
        super().__init__({'periods': periods or {}, 'profiles': PROFILES, 'alerts': {'mail-to': ['dsl@school.example'], 'sendmail': '{folder}/sendmail', 'wait': '2s',
                                                           'rules': [{'name': 'danger'}], **alerts}}, LISTS)
        (self.folder / 'mails').mkdir()
        (self.folder / 'mails').chmod(0o777)
        self.write('sendmail', SENDMAIL.replace('{folder}', str(self.folder))).chmod(0o755)

    def mails(self, count=None, within_s=8):
        def read():
            return [email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
                    for path in sorted((self.folder / 'mails').glob('[0-9]*'))]
        if count is not None:
            eventually(lambda: len(read()) >= count, within_s)
            assert len(read()) == count, [m.get_content() for m in read()]
        return read()

    def alerts(self):
        return self.json('alert', 'list')


class Hook(http.server.BaseHTTPRequestHandler):
    """Answers with the statuses it was told, then 200."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        self.server.posts.append((status, dict(self.headers), body))
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def hook(lab):
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Hook)
    server.statuses, server.posts = [], []
    server.url = f'http://127.0.0.1:{server.server_port}/alert'
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def storm(u, names, client):
    """Asks them all; the number of answers."""
    with u.datagrams(client) as s:
        s.settimeout(1)
        answers = 0
        for start in range(0, len(names), 64):
            batch = names[start:start + 64]
            for i, name in enumerate(batch):
                wire = dns.message.make_query('n.harm.org', 'A', use_edns=False).to_wire()
                s.send(struct.pack('!H', i) + wire[2:12] + bytes([len(name)]) + name.encode() + wire[14:])
            for _ in batch:
                answers += s.recv(2048)[3] & 15 == 3
        return answers


KEA = 'address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n'


def test_a_devices_first_seconds_are_its_own_though_its_lease_is_read_later(lab):
    """Two lookups before usherd has read the lease, one after it at another address: three of one device, and the mail names it."""
    rules = [{'name': 'many', 'severity': 'caution', 'count': 3, 'window': '10m'}]
    with School(rules=rules) as u:
        u.write('kea.csv', KEA)
        u.configure({'leases': [{'file': '{folder}/kea.csv'}]})
        u.reload()
        expire = int(time.time()) + 3000
        for name in 'a.casino.com', 'b.casino.com':
            u.ask(name, client='10.20.1.1')
        u.log(count=2)
        time.sleep(1.2)                 # the alerter has looked
        u.write('kea.csv', KEA + ''.join(f'10.20.1.{n},a8:bb:cc:00:00:01,,3600,{expire},1,0,0,annas-phone,0,\n' for n in (1, 2)))
        u.ask('c.casino.com', client='10.20.1.2')
        text = u.mails(1, 12)[0].get_content()
        assert 'annas-phone' in text and 'a.casino.com' in text and 'c.casino.com' in text
        u.ask('d.casino.com', client='10.20.9.9')
        u.log(count=4)
        u.mails(1)


def test_danger_is_mailed_once_with_what_the_dsl_needs_and_a_storm_is_one_mail(lab):
    with School() as u:
        u.ask('casino.com', client='10.20.1.1')
        u.ask('www.harm.org', client='10.20.1.1')
        u.ask('www.harm.org', 'AAAA', client='10.20.1.1')
        [mail] = u.mails(1)
        assert (mail['To'], mail['Subject']) == ('dsl@school.example', 'usher: danger: 2 blocked lookups of one device')
        assert mail['Auto-Submitted'] == 'auto-generated' and mail['Message-ID'] and mail['From'].startswith('usher@')
        text = mail.get_content()
        assert all(word in text for word in ('pupils', '10.20.1.1', 'www.harm.org, 2 times', 'self-harm', 'danger')) and 'casino' not in text
        assert storm(u, [f'n{i}' for i in range(10000)], '10.20.1.2') == 10000
        text = u.mails(2, 20)[1].get_content()
        assert '10000 blocked lookups of one device' in text and len(text) < 4000
        assert 'harm' not in u.said() and '10.20.1' not in u.said(), 'personal data in the journal'
        def queue():
            return (u.folder / 'state/alerts/queue.json').read_text()
        assert eventually(lambda: 'harm' not in queue() and '10.20.1' not in queue(), 3), 'names stay after they were sent'
        assert [(m['state'], m['channel'], m['rules'], m['alerts']) for m in u.alerts()] == [('sent', 'mail', ['danger'], 1)] * 2
        time.sleep(1)
        u.mails(2)


def test_webhook_is_signed_and_tried_again(lab, hook):
    hook.statuses = [500]
    with School(**{'mail-to': [], 'webhook': hook.url, 'webhook-secret': '{folder}/secret'}) as u:
        u.write('secret', 'not told\n')
        u.ask('harm.org', client='10.20.1.1')
        assert eventually(lambda: hook.posts, 8)
        failing = eventually(lambda: [m for m in u.alerts() if m['attempts'] == 1], 3)
        assert failing[0]['state'] == 'waiting' and failing[0]['why'] == 'the webhook answered 500' and failing[0]['next']
        assert eventually(lambda: u.stats()['alerts'] == {'waiting': 1, 'failing': 1}, 3)
        part = next(p for p in u.json('status', expect=1)[0]['parts'] if p['part'] == 'alerts')
        assert part['state'] == 'failed' and 'the webhook answered 500' in part['text']
        # half a minute until the next attempt; the queue says when, and a start looks at it
        u.stop()
        path = u.folder / 'state/alerts/queue.json'
        queue = json.loads(path.read_text())
        queue['messages'][0]['next'] = int(time.time())
        path.write_text(json.dumps(queue))
        u.start()
        assert eventually(lambda: len(hook.posts) == 2, 8)
        (_, first, body), (status, second, again) = hook.posts
        assert status == 200 and first['X-Usher-Id'] == second['X-Usher-Id'] == json.loads(body)['id'] == json.loads(again)['id']
        assert second['X-Usher-Signature'] == 'sha256=' + hmac.new(b'not told', again, hashlib.sha256).hexdigest()
        [alert] = json.loads(again)['alerts']
        assert (alert['client'], alert['category'], alert['evidence'][0]['name']) == ('10.20.1.1', 'self-harm', 'harm.org')
        assert eventually(lambda: u.stats()['alerts'] == {'waiting': 0, 'failing': 0}, 3)


def test_a_queued_alert_survives_kill_and_is_sent_once(lab):
    with School() as u:
        (u.folder / 'mail-is-down').touch()
        u.ask('harm.org', client='10.20.1.1')
        assert eventually(lambda: [m for m in u.alerts() if m['attempts']], 8)
        assert 'exit code 75: no ?[31mroute' in u.alerts()[0]['why']
        u.ask('hate.org', client='10.20.1.3')       # one that still gathers when it happens
        assert eventually(lambda: [m for m in u.alerts() if m['state'] == 'gathering'], 3)
        u.kill()
        (u.folder / 'mail-is-down').unlink()
        path = u.folder / 'state/alerts/queue.json'
        queue = json.loads(path.read_text())
        for message in queue['messages']:
            message['next'] = 0
        path.write_text(json.dumps(queue))
        u.start()
        texts = sorted(m.get_content() for m in u.mails(2))
        assert sum('harm.org' in t for t in texts) == 1 and sum('hate.org' in t for t in texts) == 1
        u.restart()
        time.sleep(1.5)
        assert len(u.mails()) == 2, 'sent again after a restart'


class MailServer(threading.Thread):
    """Takes one mail by SMTP; its dialogue and the mail are kept."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.create_server(('127.0.0.1', 0))
        self.url = f'smtp://127.0.0.1:{self.socket.getsockname()[1]}'
        self.said, self.mail = [], b''

    def run(self):
        connection, _ = self.socket.accept()
        with connection, connection.makefile('rwb') as stream:
            def reply(text):
                stream.write(text + b'\r\n')
                stream.flush()
            reply(b'220 mail.school.example')
            for line in stream:
                self.said.append(line.strip())
                if line.startswith(b'DATA'):
                    reply(b'354 go on')
                    while not self.mail.endswith(b'\r\n.\r\n'):
                        self.mail += stream.readline()
                if line.startswith(b'EHLO'):
                    reply(b'250-mail.school.example\r\n250 AUTH PLAIN LOGIN')
                else:
                    reply(b'221 bye' if line.startswith(b'QUIT') else b'250 ok')


def test_a_mail_server_takes_mail_instead_of_sendmail(lab):
    server = MailServer()
    server.start()
    with School(smtp=server.url, **{'mail-from': 'filter@school.example'}) as u:
        u.ask('harm.org', client='10.20.1.1')
        assert eventually(lambda: [m for m in u.alerts() if m['state'] == 'sent'], 8), u.alerts()
        assert b'MAIL FROM:<filter@school.example>' in server.said and b'RCPT TO:<dsl@school.example>' in server.said
        assert b'From: filter@school.example\r\n' in server.mail and b'harm.org' in server.mail and b'\n\n' not in server.mail.replace(b'\r\n', b'\r')
        assert u.mails() == []


def test_the_mail_servers_password_goes_over_tls_or_not_at_all(lab):
    server = MailServer()
    server.start()
    with School(smtp=server.url.replace('//', '//dsl:secret@')) as u:
        [line] = u.json('alert', 'test', expect=1)
        assert not line['sent'] and 'SSL' in line['why'], line
        assert not any(b'AUTH' in said for said in server.said), server.said


def test_sendmail_is_given_none_of_our_sockets(lab):
    with School() as u:
        u.write('sendmail', f'#!/bin/sh\ncat >/dev/null\nls -l /proc/$$/fd >{u.folder}/mails/fds\n').chmod(0o755)
        assert u.json('alert', 'test')[0]['sent']
        assert 'socket:' not in (u.folder / 'mails/fds').read_text()


def test_staff_go_to_the_head_alone_and_quiet_hours_wait(lab):
    rules = [{'name': 'danger'}, {'name': 'staff', 'profiles': ['staff'], 'mail-to': ['head@school.example']},
             {'name': 'bets', 'severity': 'caution', 'categories': ['gambling'], 'quiet-hours': ['always'], 'mail-to': ['tutor@school.example']}]
    with School(periods={'always': {'days': 'daily', 'from': '00:00', 'to': '24:00'}}, rules=rules) as u:
        u.ask('harm.org', client='10.30.1.1')
        u.ask('hate.org', client='10.20.1.1')
        u.ask('casino.com', client='10.20.1.2')
        mails = {m['To']: m.get_content() for m in u.mails(2)}
        assert '10.30.1.1' in mails['head@school.example'] and '10.30.1.1' not in mails['dsl@school.example']
        assert eventually(lambda: [m['rules'] for m in u.alerts() if m['state'] == 'gathering'] == [['bets']], 3)
        u.config['alerts']['rules'][2]['quiet-hours'] = []
        u.configure()
        u.reload()
        assert {m['To'] for m in u.mails(3)} == {'dsl@school.example', 'head@school.example', 'tutor@school.example'}


def test_mail_holds_no_more_than_detail_says(lab):
    with School(detail='link') as u:
        u.ask('harm.org', client='10.20.1.1')
        text = u.mails(1)[0].as_string()
        assert 'pupils' in text and "usher signals --since '2" in text and not any(word in text for word in ('10.20.1.1', 'harm')), text
        u.configure({'alerts': {'detail': 'counts'}})
        u.reload()
        u.ask('hate.org', client='10.20.1.2')
        text = u.mails(2)[1].as_string()
        assert 'danger' in text and '1 blocked lookup' in text and not any(word in text for word in ('10.20.1.2', 'hate', 'pupils')), text


def test_alert_test_tries_every_channel_and_says_what_happened(lab, hook):
    hook.statuses = [403]
    rules = [{'name': 'danger'}, {'name': 'staff', 'profiles': ['staff'], 'mail-to': ['head@school.example'], 'webhook': hook.url}]
    with School(rules=rules) as u:
        lines = u.json('alert', 'test', expect=1)
        assert [(line['channel'], line['to'], line['sent'], line['why']) for line in lines] == [
            ('mail', 'dsl@school.example', True, None), ('mail', 'head@school.example', True, None),
            ('webhook', hook.url, False, 'the webhook answered 403')]
        assert {m['To'] for m in u.mails(2)} == {'dsl@school.example', 'head@school.example'}
        assert u.cli('alert', 'test').stdout.count('yes') == 3 and u.alerts() == []
        assert 'expected test or list' in u.cli('alert', 'send', expect=2).stderr


def test_trouble_of_usherd_itself_goes_to_it(lab):
    rules = [{'name': 'danger'}, {'name': 'it', 'kind': 'operations', 'mail-to': ['it@school.example']}]
    with School(rules=rules) as u:
        [mail] = u.mails(1)
        assert mail['To'] == 'it@school.example' and 'no source feeds the sealed category illegal' in mail.get_content()
        u.restart()
        assert eventually(lambda: u.alerts()[0]['state'] == 'sent', 3)
        time.sleep(1)
        assert len(u.mails()) == 1, 'told again after a restart'


def test_nobody_to_tell_is_said(lab):
    with School(**{'mail-to': []}) as u:
        assert 'nobody would be told' in u.cli('alert', 'test', expect=1).stderr
        assert [command for command in map(command_line, descendants(u.process.pid)) if 'alerter' in command], 'it runs all the same'


def test_a_recipient_that_is_none_is_refused(lab):
    wrong = [('mail-to', ['a@b\nBcc: c@d']), ('mail-to', ['-oQ/tmp@b']), ('mail-to', ['a@b, c@d']), ('mail-from', 'Usher <a@b>'),
             ('webhook', 'ftp://x/y'), ('webhook', 'https://a b'), ('sendmail', 'sendmail'), ('smtp', 'http://mail')]
    with School() as u:
        right = dict(u.config['alerts'])
        for key, value in wrong:
            u.config['alerts'] = right | {key: value}
            u.configure()
            assert f'alerts.{key}' in u.cli('reload', expect=1).stderr, (key, value)
