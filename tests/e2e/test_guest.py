"""The guest Wi-Fi from end to end, with the configuration that is shipped for it: filtered, safe, counted and kept apart."""

import pytest
import yaml

from usher import GUEST, GUEST6, PUPIL, ROOT, usherd


@pytest.fixture(scope='module')
def u(lab):
    """The shipped guest-wifi.yaml's guest profile, on the laboratory's networks."""
    shipped = yaml.safe_load((ROOT / 'conf/guest-wifi.yaml').read_text())
    guest = next(p for p in shipped['profiles'] if p['name'] == 'guest')
    guest['networks'] = ['10.99.0.0/16', 'fd00:99::/64']
    config = {
        'internal-zones': [{'zone': 'ad.school.example', 'servers': ['127.0.53.10']}],
        'local-records': ['intranet.school.example. 300 IN A 10.0.0.5'],
        'profiles': [{'name': 'pupils', 'networks': ['10.20.0.0/16'], 'block': ['gambling', 'games', 'social', 'bypass']}, guest],
    }
    lists = {'gambling': ['casino.com'], 'social': ['social.net'], 'bypass': ['vpn.net'], 'illegal': ['illegal.net'], 'adult': ['adult.com']}
    with usherd(config, lists) as u:
        yield u


def test_the_guest_story(lab, u):
    before = u.stats()

    # A visitor joins the Wi-Fi: the web works, mail works, chat works.
    assert u.ask('www.wikipedia.org', client=GUEST).addresses == ['192.0.2.1']
    assert u.ask('www.wikipedia.org', 'AAAA', GUEST6).addresses == ['2001:db8::1']
    assert u.ask('mail.google.com', client=GUEST).addresses == ['192.0.2.60']
    assert u.ask('social.net', client=GUEST).addresses == ['192.0.2.1'], 'guests may use social networks'

    # Searches are safe, and what a school blocks is blocked, with the reason.
    assert u.ask('www.google.com', client=GUEST).addresses == ['198.51.100.120']
    assert u.ask('www.youtube.com', client=GUEST).cnames == ['restrict.youtube.com']
    for name, category in ('casino.com', 'gambling'), ('adult.com', 'adult'), ('vpn.net', 'bypass'):
        a = u.ask(name, client=GUEST)
        assert (a.rcode, a.ede) == ('NXDOMAIN', 15) and category in a.ede_text.lower()
    assert u.ask('illegal.net', client=GUEST).ede == 16
    assert u.ask('childline.org.uk', client=GUEST).addresses == ['192.0.2.50']

    # Ways round the filter are closed.
    assert u.ask('use-application-dns.net', client=GUEST).rcode == 'NXDOMAIN'
    assert not u.ask('mask.icloud.com', client=GUEST).addresses

    # The school's own names do not exist out here, and asking for them leaks nothing.
    with lab.watched() as watch:
        for name in 'files.ad.school.example', 'dc1.ad.school.example', 'intranet.school.example', 'ad.school.example':
            a = u.ask(name, client=GUEST)
            assert (a.rcode, a.ede, a.message.answer) == ('NXDOMAIN', 18, [])
    assert not watch.names('ad.school.example')
    assert u.ask('files.ad.school.example', client=PUPIL).addresses == ['10.0.0.20']
    assert '10.0.0.20' not in u.ask('portal.school.example', client=GUEST).addresses

    # The log has it under the guest profile, in a retention class of its own.
    records = u.log('--profile', 'guest', count=4)
    assert {r['category'] for r in records} == {'gambling', 'adult', 'bypass', 'illegal'}
    assert {r['profile'] for r in records} == {'guest'}
    assert u.log('--profile', 'pupils') == []

    # The counters are the guests' own.
    after = u.stats()
    assert after['profiles']['guest']['blocked'] - before['profiles']['guest']['blocked'] == 4
    assert after['profiles']['pupils']['blocked'] == before['profiles']['pupils']['blocked']


def test_retention_classes_lie_in_environments_of_their_own(u):
    u.ask('casino.com', client=PUPIL)
    u.ask('casino.com', client=GUEST)
    u.log('--profile', 'pupils', count=1)
    folder = u.folder / 'state/log'
    environments = {path for path in folder.rglob('*') if path.is_file() and (path.name.endswith('.mdb'))}
    environments = {path.parent if path.name in ('data.mdb', 'lock.mdb') else path for path in environments}
    assert len(environments) >= 2, environments


def test_guest_profile_keeps_records_no_longer_than_thirty_days(u):
    guest = next(p for p in u.config['profiles'] if p['name'] == 'guest')
    assert guest['internal'] is False and guest['keep'] == '30d'
