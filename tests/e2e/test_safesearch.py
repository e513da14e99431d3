"""Issue point 7: search engines answer as their safe selves, whatever type is asked and whatever goes wrong."""

import pytest
import yaml
from zones import GOOGLE, UNSAFE4, UNSAFE6, YANDEX

from usher import GUEST, PUPIL, ROOT, STAFF, profile, usherd

FREE, YOUTUBE_OFF, OWN_RULES = '10.77.1.5', '10.77.2.5', '10.77.3.5'
UNSAFE = {UNSAFE4, UNSAFE6}

YOUTUBE = ['www.youtube.com', 'm.youtube.com', 'youtubei.googleapis.com', 'youtube.googleapis.com', 'www.youtube-nocookie.com']

# name, target, the target's addresses of both families
ENGINES = [
    ('www.google.com', 'forcesafesearch.google.com', ['198.51.100.120'], ['2001:db8:5afe::120']),
    ('www.google.co.uk', 'forcesafesearch.google.com', ['198.51.100.120'], ['2001:db8:5afe::120']),
    *[(name, 'restrict.youtube.com', ['198.51.100.121'], []) for name in YOUTUBE],
    ('www.bing.com', 'strict.bing.com', ['198.51.100.122'], ['2001:db8:5afe::122']),
    ('edgeservices.bing.com', 'strict.bing.com', ['198.51.100.122'], ['2001:db8:5afe::122']),
    ('duckduckgo.com', 'safe.duckduckgo.com', ['198.51.100.123'], []),
    ('www.duckduckgo.com', 'safe.duckduckgo.com', ['198.51.100.123'], []),
    ('start.duckduckgo.com', 'safe.duckduckgo.com', ['198.51.100.123'], []),
    ('www.ecosia.org', 'strict-safe-search.ecosia.org', ['198.51.100.124'], []),
    ('pixabay.com', 'safesearch.pixabay.com', ['192.0.2.70'], []),
    ('api.qwant.com', 'safeapi.qwant.com', ['198.51.100.126'], []),
]


@pytest.fixture(scope='module')
def u(lab):
    config = {'profiles': [
        profile('pupils'), profile('staff'), profile('guest'),
        profile('free', networks=['10.77.1.0/24'], safe_search=False, youtube='off'),
        profile('youtube-off', networks=['10.77.2.0/24'], youtube='off'),
        profile('own-rules', networks=['10.77.3.0/24'], allow_names=['www.google.com', 'google.com']),
    ]}
    with usherd(config, {'gambling': ['casino.com', 'front.net']}) as u:
        yield u


@pytest.mark.parametrize('name, target, v4, v6', ENGINES)
def test_engine_is_rewritten_for_each_type(u, name, target, v4, v6):
    a = u.ask(name)
    assert (a.rcode, a.types[0], a.cnames[0]) == ('NOERROR', 'CNAME', target)
    assert a.addresses == v4 and a.ede == 4 and not a.ad
    a = u.ask(name, 'AAAA')
    assert (a.rcode, a.types[0], a.cnames[0]) == ('NOERROR', 'CNAME', target)
    assert a.addresses == v6 and (v6 or a.soa), 'a target without AAAA is NODATA with an SOA'
    for type in 'HTTPS', 'SVCB':
        a = u.ask(name, type)
        assert (a.rcode, a.cnames[0]) == ('NOERROR', target)
        assert not any(unsafe in str(a.message) for unsafe in UNSAFE)


def test_https_record_of_the_target_is_its_own(u):
    a = u.ask('www.bing.com', 'HTTPS')
    assert 'HTTPS' in a.types and '198.51.100.122' in str(a.message)


def test_every_google_country_is_rewritten(u):
    wrong = [f'www.google.{tld}' for tld in GOOGLE if u.ask(f'www.google.{tld}').addresses != ['198.51.100.120']]
    assert not wrong


def test_yandex_is_rewritten_to_its_address(u):
    names = [f'{www}yandex.{tld}' for tld in YANDEX for www in ('', 'www.')] + ['ya.ru', 'www.ya.ru', 'xn--d1acpjx3f.xn--p1ai']
    wrong = [name for name in names if u.ask(name).addresses != ['213.180.193.56']]
    assert not wrong
    for type in 'AAAA', 'HTTPS':
        a = u.ask('yandex.ru', type)
        assert a.rcode == 'NOERROR' and not any(unsafe in str(a.message) for unsafe in UNSAFE)


def test_no_name_of_the_shipped_table_gives_the_unsafe_address(u):
    table = yaml.safe_load((ROOT / 'conf/safe-search.yaml').read_text())
    names = set(names_in(table))
    assert len(names) > 200
    unsafe = [name for name in sorted(names) if UNSAFE & set(u.ask(name).addresses)]
    assert not unsafe


def names_in(node):
    """The values of every `names` key, wherever it stands."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from value if key == 'names' and isinstance(value, list) else names_in(value)
    elif isinstance(node, list):
        for item in node:
            yield from names_in(item)


@pytest.mark.parametrize('name, address', [('mail.google.com', '192.0.2.60'), ('drive.google.com', '192.0.2.61')])
def test_other_names_of_the_engine_are_untouched(u, name, address):
    a = u.ask(name)
    assert (a.addresses, a.cnames, a.ede) == ([address], [], None)


def test_case_of_the_question_does_not_matter(u):
    assert u.ask('wWw.GooGle.cOm').addresses == ['198.51.100.120']


def test_youtube_follows_the_level_of_the_profile(u):
    assert u.ask('www.youtube.com', client=PUPIL).cnames == ['restrict.youtube.com']
    a = u.ask('www.youtube.com', client=STAFF)
    assert (a.cnames, a.addresses) == (['restrictmoderate.youtube.com'], ['198.51.100.119'])
    assert u.ask('www.youtube.com', client=YOUTUBE_OFF).addresses == [UNSAFE4]
    assert u.ask('www.google.com', client=YOUTUBE_OFF).addresses == ['198.51.100.120']


def test_profile_without_safe_search_gets_the_engine_itself(u):
    for name in 'www.google.com', 'www.youtube.com', 'www.bing.com', 'yandex.ru':
        a = u.ask(name, client=FREE)
        assert (a.addresses, a.cnames) == ([UNSAFE4], [])
    assert UNSAFE4 in str(u.ask('www.google.com', 'HTTPS', FREE).message)


def test_allow_rule_does_not_turn_it_off(u):
    assert u.ask('www.google.com', client=OWN_RULES).addresses == ['198.51.100.120']


def test_client_with_do_and_cd_is_rewritten_and_gets_no_signatures(u):
    a = u.ask('www.google.com', do=True, cd=True)
    assert a.addresses == ['198.51.100.120'] and 'RRSIG' not in a.types and not a.ad


def test_rewrite_over_tcp(u):
    assert u.ask('www.google.com', tcp=True).addresses == ['198.51.100.120']


def test_dead_target_is_servfail_and_never_the_engine(lab):
    lab.flaky.mode = 'servfail'
    with usherd(lists={'gambling': ['casino.com']}) as u:
        for type in 'A', 'AAAA', 'HTTPS':
            a = u.ask('pixabay.com', type, GUEST)
            assert a.rcode == 'SERVFAIL' and not UNSAFE & set(a.addresses) and UNSAFE4 not in str(a.message)
        assert u.ask('www.google.com').addresses == ['198.51.100.120']


def test_profiles_under_load_never_get_each_others_engine(u):
    names = ['www.google.com', 'www.youtube.com', 'www.bing.com']
    with u.load(names, [PUPIL, STAFF, FREE, YOUTUBE_OFF], rate=1000) as load:
        while load.sent < 3000:
            u.ask('www.google.de')
    for name in names:
        assert load.got(name, FREE) == {UNSAFE4}
    assert load.got('www.google.com', PUPIL) == load.got('www.google.com', YOUTUBE_OFF) == {'198.51.100.120'}
    assert load.got('www.youtube.com', PUPIL) == {'198.51.100.121'}
    assert load.got('www.youtube.com', STAFF) == {'198.51.100.119'}
    assert load.got('www.youtube.com', YOUTUBE_OFF) == {UNSAFE4}
    assert load.lost == 0


def test_rewrites_are_counted_by_engine_and_not_logged(u):
    before = u.stats()
    u.ask('www.google.com')
    after = u.stats()
    assert after['answers']['rewritten'] - before['answers']['rewritten'] == 1
    assert sum(after['rewritten'].values()) - sum(before['rewritten'].values()) == 1
    assert after['rewritten']['google'] - before['rewritten'].get('google', 0) == 1
    assert after['log']['events'] == before['log']['events']


def test_rewrites_are_counted_by_engine_and_profile(u):
    def counted():
        return {(profile, engine): n for profile, of in u.stats()['profiles'].items() for engine, n in of['rewritten'].items()}
    before = counted()
    for client, name in (PUPIL, 'www.google.com'), (STAFF, 'www.bing.com'), (STAFF, 'yandex.ru'), (FREE, 'www.google.com'):
        u.ask(name, client=client)
    after = counted()
    assert {key: n - before[key] for key, n in after.items() if n != before[key]} == {
        ('pupils', 'google'): 1, ('staff', 'bing'): 1, ('staff', 'yandex'): 1}
    assert {engine: sum(n for (_, of), n in after.items() if of == engine) for _, engine in after} == u.stats()['rewritten']
    metrics = u.http('stats.sock', '/metrics')[1]
    assert f'\nusher_profile_rewritten_total{{profile="staff",engine="bing"}} {after["staff", "bing"]}\n' in metrics
    people = u.cli('stats').stdout
    assert 'staff rewritten bing' in people and 'guest rewritten' not in people, 'what never happened is not in the table'
