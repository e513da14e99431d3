"""Ways around the filter, one a line: how it is asked, what a pupil would have gained, what comes instead, and what the log says of it.

Every way is asked by a profile that blocks nothing first: so we know that there is something to gain, and it is in the cache that all
profiles share when the pupil asks.
"""

import json
import struct
import time
from dataclasses import dataclass, field

import dns.edns
import dns.message
import dns.name
import pytest

from usher import GUEST6, HOMELESS, PUPIL, PUPIL6, STAFF, STRANGER, eventually, profile, usherd
from zones import UNSAFE4, UNSAFE6

OPEN = '10.77.1.5'              # blocks nothing but what is sealed
SITE, SITE6 = '192.0.2.1', '2001:db8::1'
NETWORK = '192.0.2.20'          # of a blocked network
ECS = dns.edns.ECSOption('10.77.1.5', 32)       # "I ask for the open profile's client"
MAC = dns.edns.GenericOption(65001, bytes(6))   # what dnsmasq says of its client with --add-mac
LONG = '.'.join(['a' * 63, 'b' * 63, 'c' * 63, 'd' * 50, 'casino.com'])

LISTS = {
    'gambling': ['casino.com', 'thin.net', 'bücher.com', 'сосо.com'],
    'games': ['games.org'],
    'adult': ['adult.com'],
    'illegal': ['illegal.net'],
    'bypass': ['vpn.net', 'translate.goog', 'dns.google'],
    'dynamic-dns': ['duckdns.org', 'nip.io'],
    'translation': ['cdn.ampproject.org'],
}

CONFIG = {
    'internal-zones': [{'zone': 'ad.school.example', 'servers': ['127.0.53.10']}, {'zone': '10.in-addr.arpa', 'servers': ['127.0.53.10']}],
    'local-records': ['intranet.school.example. 300 IN A 10.0.0.5', 'find.school.example. 300 IN CNAME www.google.com.',
                      'bad.school.example. 300 IN CNAME www.illegal.net.'],
    'protected-names': ['childline.org.uk'],
    'keywords': [{'match': '*unblocked*', 'category': 'bypass'}, {'match': '*poker*', 'category': 'gambling'}],
    'dns': {'blocked-networks': {'malware': [NETWORK + '/32', '2001:db8:f00d::/48']}, 'lookalikes': 'block'},
    'profiles': [
        profile('pupils', block=profile('pupils')['block'] + ['dynamic-dns', 'translation']),
        profile('staff'), profile('guest'),
        profile('open', networks=['10.77.1.0/24'], block=[], safe_search=False, youtube='off', strip_ech=False),
        profile('garden', networks=['10.77.2.0/24'], default='block', allow_names=['wikipedia.org', 'shop.cloak.com', 'sealed.cloak.com']),
        profile('nodata', networks=['10.77.3.0/24'], block=['gambling'], block_answer='nodata'),
        profile('null', networks=['10.77.4.0/24'], block=['gambling'], block_answer='null'),
    ],
}

BLOCKED, CENSORED, HIDDEN = ('NXDOMAIN', 15), ('NXDOMAIN', 16), ('NXDOMAIN', 18)
NOTHING = ('NOERROR', None)     # it resolves, to nothing that helps
FORGED = ('NOERROR', 4)         # another answer than the world's
UNSUPPORTED, NO_NAME = ('REFUSED', 21), ('NXDOMAIN', None)

# What the log says: category, source, rule, matched name (None: the asked one).
CASINO = ('gambling', 'gambling', 'casino.com', None)
CLOAKED = ('gambling', 'gambling', 'casino.com', 'www.casino.com')
IN_NETWORK = ('malware', 'blocked-networks', NETWORK + '/32', None)


@dataclass
class Way:
    title: str
    name: str
    type: str = 'A'
    gain: str = SITE            # found in the open profile's answer and not in the pupil's; '': nothing, for nobody
    answer: tuple = BLOCKED     # rcode and EDE
    log: tuple = None           # None: nothing is logged
    client: str = '10.20.100.{}'        # {}: the line's number
    how: dict = field(default_factory=dict)     # for ask()

    def __str__(self):
        return self.title


def ways_of(log, answer, *rows, **more):
    return [Way(*row[:3], **{'log': log, 'answer': answer, **more, **(row[3] if len(row) > 3 else {})}) for row in rows]


WAYS = [
    # ---- the listed name itself, asked in other words -------------------------------------------------------------------
    *ways_of(
        CASINO, BLOCKED,
        ('listed name', 'casino.com', 'A'),
        ('a host below it', 'www.casino.com', 'A'),
        ('many labels below it', '.'.join('abcdefghijklmnopqrst') + '.casino.com', 'A'),
        ('255 octets', LONG, 'A'),
        ('0x20: mixed case', 'cAsInO.cOm', 'A'),
        ('trailing dot', 'casino.com.', 'A'),
        ('letters as escapes', r'\099asino.\099om', 'A'),
        ('a dot inside the label below', r'a\.b.casino.com', 'A'),
        ('a zero octet inside the label below', r'a\000.casino.com', 'A'),
        ('raw octets above 127 below', r'\255\254.casino.com', 'A'),
        ('a space below', r'\032.casino.com', 'A'),
        ('wildcard label', '*.casino.com', 'A'),
        ('underscores: port and protocol in front', '_8443._https.casino.com', 'HTTPS', {'gain': ''}),
        ('other family', 'casino.com', 'AAAA', {'gain': SITE6}),
        ('mail', 'casino.com', 'MX', {'gain': 'mail.casino.com'}),
        ('HTTPS record', 'casino.com', 'HTTPS', {'gain': ''}),
        ('SVCB record', 'casino.com', 'SVCB', {'gain': ''}),
        ('TXT record', 'casino.com', 'TXT', {'gain': ''}),
        ('NULL record', 'casino.com', 'NULL', {'gain': ''}),
        ('NS record', 'casino.com', 'NS', {'gain': 'ns.casino.com'}),
        ('SOA record', 'casino.com', 'SOA', {'gain': 'admin.casino.com'}),
        ('DNSKEY record', 'casino.com', 'DNSKEY', {'gain': ''}),
        ('DS record, which the parent has', 'casino.com', 'DS', {'gain': ''}),
        ('ANY', 'casino.com', 'ANY', {'gain': ''}),
        ('zone transfer', 'casino.com', 'AXFR', {'gain': '', 'how': {'tcp': True}}),
        ('a type nobody knows', 'casino.com', 'TYPE65280', {'gain': ''}),
        ('a type of the private range', 'casino.com', 'TYPE65534', {'gain': ''}),
        ('meta type', 'casino.com', 'TYPE200', {'gain': ''}),
        ('over TCP', 'casino.com', 'A', {'how': {'tcp': True}}),
        ('without EDNS', 'casino.com', 'A', {'answer': NO_NAME, 'how': {'edns': False}}),
        ('checking disabled', 'casino.com', 'A', {'how': {'cd': True}}),
        ('DNSSEC wanted', 'casino.com', 'A', {'how': {'do': True, 'ad': True}}),
        ('DNSSEC wanted, checking disabled, TCP', 'casino.com', 'A', {'how': {'do': True, 'cd': True, 'tcp': True}}),
        ('largest EDNS size', 'casino.com', 'A', {'how': {'payload': 65535}}),
        ('smallest EDNS size', 'casino.com', 'A', {'how': {'payload': 0}}),
        ('recursion not desired: only what the cache has', 'casino.com', 'A', {'gain': '', 'how': {'rd': False}}),
        ('client subnet of another profile', 'casino.com', 'A', {'how': {'options': [ECS]}}),
        ('MAC address of another device', 'casino.com', 'A', {'how': {'options': [MAC]}}),
        ('padding', 'casino.com', 'A', {'how': {'options': [dns.edns.GenericOption(12, bytes(400))]}}),
        ('profile that answers nodata', 'casino.com', 'A', {'answer': ('NOERROR', 15), 'client': '10.77.3.{}'}),
        ('profile that answers null, HTTPS', 'casino.com', 'HTTPS', {'gain': '', 'answer': ('NOERROR', 15), 'client': '10.77.4.{}'}),
    ),
    Way('IDN as A-label', 'xn--bcher-kva.com', log=('gambling', 'gambling', 'xn--bcher-kva.com', None)),
    Way('IDN in capitals', 'XN--BCHER-KVA.COM', log=('gambling', 'gambling', 'xn--bcher-kva.com', None)),
    Way('IDN below', 'x.xn--BCHER-kva.com', log=('gambling', 'gambling', 'xn--bcher-kva.com', None)),
    Way('IDN as UTF-8 octets', r'b\195\188cher.com', gain='', answer=NO_NAME),
    Way('sealed, for whom nothing is blocked', 'www.illegal.net', gain='', answer=CENSORED, client='10.77.1.{}',
        log=('illegal', 'illegal', 'illegal.net', None)),
    Way('sealed, in a walled garden that allows it', 'sealed.cloak.com', gain='', answer=CENSORED, client='10.77.2.{}',
        log=('illegal', 'illegal', 'illegal.net', 'www.illegal.net')),
    Way('a name that the walled garden does not name', 'www.plain.com', client='10.77.2.{}', log=(None, None, None, None)),
    Way('an alias of an allowed name, outside the walled garden', 'clean.cloak.com', client='10.77.2.{}', log=(None, None, None, None)),

    # ---- the listed name behind another ---------------------------------------------------------------------------------
    *ways_of(
        CLOAKED, BLOCKED,
        ('alias', 'shop.cloak.com', 'A'),
        ('alias, other family', 'shop.cloak.com', 'AAAA', {'gain': SITE6}),
        ('alias, the alias alone', 'shop.cloak.com', 'CNAME', {'gain': 'www.casino.com'}),
        ('alias, for mail', 'shop.cloak.com', 'MX', {'gain': 'www.casino.com'}),
        ('alias without data of that type', 'shop.cloak.com', 'TXT', {'gain': 'www.casino.com'}),
        ('alias, its signatures', 'shop.cloak.com', 'RRSIG', {'gain': ''}),
        ('alias, servers of its zone', 'shop.cloak.com', 'NS', {'gain': 'www.casino.com'}),
        ('alias, NULL', 'shop.cloak.com', 'NULL', {'gain': 'www.casino.com'}),
        ('alias, a type nobody knows', 'shop.cloak.com', 'TYPE65280', {'gain': 'www.casino.com'}),
        ('alias, checking disabled and signed', 'shop.cloak.com', 'A', {'how': {'cd': True, 'do': True}}),
        ('alias, over TCP', 'shop.cloak.com', 'A', {'how': {'tcp': True}}),
        ('alias, mixed case', 'sHoP.CLOAK.com', 'A'),
        ('alias at the third hop', 'hop1.cloak.com', 'A'),
        ('alias at the seventh hop', 'a1.ways.com', 'A'),
        ('wildcard of aliases', 'today17.wild.ways.com', 'A'),
        ('HTTPS alias', 'svc.cloak.com', 'HTTPS', {'gain': 'www.casino.com'}),
        ('HTTPS service elsewhere', 'service.cloak.com', 'HTTPS', {'gain': 'www.casino.com'}),
        ('HTTPS service on another port', 'mandatory.ways.com', 'HTTPS', {'gain': 'www.casino.com'}),
        ('second HTTPS record of a clean one', 'second.ways.com', 'HTTPS', {'gain': 'www.casino.com'}),
        ('SVCB service elsewhere', 'svcb.cloak.com', 'SVCB', {'gain': 'www.casino.com'}),
        ('alias of an HTTPS alias', 'next.ways.com', 'HTTPS', {'gain': 'www.casino.com'}),
    ),
    Way('alias of a tree', 'x.old.cloak.com', log=('gambling', 'gambling', 'casino.com', 'casino.com')),
    Way('alias of an alias of a tree', 'y.deep.ways.com', log=('gambling', 'gambling', 'casino.com', 'casino.com')),
    Way('the DNAME alone', 'old.cloak.com', 'DNAME', gain='casino.com', log=('gambling', 'gambling', 'casino.com', 'casino.com')),
    Way('alias to a name with nothing of that type', 'empty.ways.com', 'AAAA', gain='empty.thin.net',
        log=('gambling', 'gambling', 'thin.net', 'empty.thin.net')),
    Way('alias to a listed name that is not', 'nothing.ways.com', gain='nothing.thin.net',
        log=('gambling', 'gambling', 'thin.net', 'nothing.thin.net')),
    Way('alias to an IDN', 'idn.ways.com', log=('gambling', 'gambling', 'xn--bcher-kva.com', 'xn--bcher-kva.com')),
    Way('alias to an encrypted resolver', 'dns.ways.com', log=('bypass', 'bypass', 'dns.google', 'dns.google')),
    Way('alias to what is sealed, for whom nothing is blocked', 'sealed.cloak.com', gain='', answer=CENSORED, client='10.77.1.{}',
        log=('illegal', 'illegal', 'illegal.net', 'www.illegal.net')),
    Way('local record that leads to what is sealed', 'bad.school.example', gain='', answer=CENSORED,
        log=('illegal', 'illegal', 'illegal.net', 'www.illegal.net')),
    Way('help page that leads to what is sealed: without the client', 'sealed.childline.org.uk', gain='', answer=CENSORED),
    Way('HTTPS alias of an HTTPS alias: one step at a time', 'alias.ways.com', 'HTTPS', gain='', answer=NOTHING),
    Way('mail of a listed name', 'mx.ways.com', 'MX', gain='', answer=NOTHING),
    Way('service of a listed name', '_sip._tcp.ways.com', 'SRV', gain='', answer=NOTHING),
    Way('address of a listed name as text', 'txt.ways.com', 'TXT', gain='', answer=NOTHING),

    # ---- addresses ------------------------------------------------------------------------------------------------------
    *ways_of(
        IN_NETWORK, BLOCKED,
        ('unlisted name at a blocked address', 'network.ways.com', 'A', {'gain': NETWORK}),
        ('blocked address as a hint', 'network.ways.com', 'HTTPS', {'gain': NETWORK}),
        ('blocked address as a hint of SVCB', 'svcbhint.ways.com', 'SVCB', {'gain': NETWORK}),
        ('blocked address through NAT64', 'nat64.ways.com', 'AAAA', {'gain': '64:ff9b::'}),
        ('blocked address through 6to4', 'sixtofour.ways.com', 'AAAA', {'gain': '2002:'}),
        ('blocked address mapped into IPv6', 'mapped.ways.com', 'AAAA', {'gain': ''}),
    ),
    Way('blocked IPv6 address', 'six.ways.com', 'AAAA', gain='2001:db8:f00d::1', log=('malware', 'blocked-networks', '2001:db8:f00d::/48', None)),
    Way('blocked IPv6 address as a hint', 'hint6.ways.com', 'HTTPS', gain='2001:db8:f00d::1',
        log=('malware', 'blocked-networks', '2001:db8:f00d::/48', None)),
    *ways_of(
        None, FORGED,
        ('rebinding: RFC 1918', 'ten.rebind.com', 'A', {'gain': ''}),
        ('rebinding: loopback', 'loop.rebind.com', 'A', {'gain': ''}),
        ('rebinding: link-local', 'link.rebind.com', 'A', {'gain': ''}),
        ('rebinding: IPv6 loopback', 'six.rebind.com', 'AAAA', {'gain': ''}),
        ('rebinding: 0.0.0.0, which is the asking machine', 'zero.rebind.com', 'A', {'gain': ''}),
        ('rebinding: ::', 'zerosix.rebind.com', 'AAAA', {'gain': ''}),
        ('rebinding: ULA', 'ula.rebind.com', 'AAAA', {'gain': ''}),
        ('rebinding: mapped', 'mapped.rebind.com', 'AAAA', {'gain': ''}),
        ('rebinding: behind an alias', 'toten.ways.com', 'A', {'gain': ''}),
        ('rebinding: as a hint', 'onlyhint.rebind.com', 'HTTPS', {'gain': ''}),
        ('encrypted client hello', 'www.https.com', 'HTTPS', {'gain': 'ech='}),
        ('encrypted client hello, of a signed zone', 'ech.signed.com', 'HTTPS', {'gain': 'ech=', 'how': {'do': True}}),
        ('encrypted client hello, checking disabled', 'ods.ways.com', 'HTTPS', {'gain': 'ech=', 'how': {'cd': True}}),
    ),

    # ---- safe search ----------------------------------------------------------------------------------------------------
    *ways_of(
        None, FORGED,
        ('search', 'www.google.com', 'A', {'gain': UNSAFE4}),
        ('search in capitals', 'WWW.GOOGLE.COM', 'A', {'gain': UNSAFE4}),
        ('search, other family', 'www.google.com', 'AAAA', {'gain': UNSAFE6}),
        ('search, hints', 'www.google.com', 'HTTPS', {'gain': UNSAFE4}),
        ('search, SVCB', 'www.google.com', 'SVCB', {'gain': ''}),
        ('search in another country', 'www.google.co.uk', 'A', {'gain': UNSAFE4}),
        ('search, the IPv4 host', 'ipv4.google.com', 'A', {'gain': UNSAFE4}),
        ('search, the IPv6 host', 'ipv6.google.com', 'AAAA', {'gain': UNSAFE6}),
        ('search, signed and unchecked', 'www.bing.com', 'A', {'gain': UNSAFE4, 'how': {'do': True, 'cd': True}}),
        ('search over TCP', 'duckduckgo.com', 'A', {'gain': UNSAFE4, 'how': {'tcp': True}}),
        ('search by the sidebar', 'edgeservices.bing.com', 'A', {'gain': UNSAFE4}),
        ('search with fixed addresses, hints', 'yandex.ru', 'HTTPS', {'gain': UNSAFE4}),
        ('video', 'www.youtube.com', 'AAAA', {'gain': UNSAFE6}),
        ('video, for apps', 'youtubei.googleapis.com', 'A', {'gain': UNSAFE4}),
        ('video, without cookies', 'www.youtube-nocookie.com', 'HTTPS', {'gain': UNSAFE4}),
        ('search by a local alias', 'find.school.example', 'A', {'gain': UNSAFE4}),
        ('search by a guest', 'www.google.com', 'A', {'gain': UNSAFE4, 'client': '10.99.100.{}'}),
    ),
    Way('alias, ANY', 'shop.cloak.com', 'ANY', gain='', answer=NOTHING),
    Way('search, ANY', 'www.google.com', 'ANY', gain='', answer=NOTHING),
    *ways_of(
        ('bypass', 'safe-search', None, 'www.google.com'), BLOCKED,
        ('alias of a search engine', 'search.cloak.com', 'A', {'gain': UNSAFE4}),
        ('alias of a search engine, hints', 'search.cloak.com', 'HTTPS', {'gain': UNSAFE4}),
        ('alias of a search engine, by a guest', 'search.cloak.com', 'A', {'gain': UNSAFE4, 'client': '10.99.100.{}'}),
    ),
    Way('alias of another search engine', 'bing.ways.com', gain=UNSAFE4, log=('bypass', 'safe-search', None, 'www.bing.com')),
    Way('HTTPS service at the video site', 'video.ways.com', 'HTTPS', gain='www.youtube.com', log=('bypass', 'safe-search', None, 'www.youtube.com')),
    Way('alias of a tree with a search engine', 'start.ddg.ways.com', gain=UNSAFE4, log=('bypass', 'safe-search', None, 'duckduckgo.com')),

    # ---- may I go round you? --------------------------------------------------------------------------------------------
    *ways_of(
        None, NO_NAME,
        ('canary of Firefox', 'use-application-dns.net', 'A', {'gain': ''}),
        ('canary of Firefox, any other type', 'use-application-dns.net', 'TYPE65280', {'gain': ''}),
        ('below the canary', 'x.use-application-dns.net', 'AAAA', {'gain': ''}),
        ('private relay', 'mask.icloud.com', 'A', {'gain': ''}),
        ('private relay, hints', 'mask-h2.icloud.com', 'HTTPS', {'gain': ''}),
        ('private relay, unchecked', 'mask.icloud.com', 'AAAA', {'gain': '', 'how': {'cd': True, 'do': True}}),
    ),
    *ways_of(
        None, NOTHING,
        ('designated resolvers', '_dns.resolver.arpa', 'SVCB', {'gain': ''}),
        ('designated resolvers, everything', 'resolver.arpa', 'TXT', {'gain': ''}),
    ),
    Way('designated resolvers of another one', '_dns.dns.google', 'SVCB', gain='', log=('bypass', 'bypass', 'dns.google', None)),
    Way('oblivious resolver, by its HTTPS record', 'odoh.dns.google', 'HTTPS', gain='', log=('bypass', 'bypass', 'dns.google', None)),
    Way('alias of the canary', 'canary.ways.com', gain='', log=('bypass', 'canaries', None, 'use-application-dns.net')),
    Way('alias of private relay', 'relay.cloak.com', gain='', log=('bypass', 'canaries', None, 'mask.icloud.com')),
    Way('VPN', 'gb17.vpn.net', log=('bypass', 'bypass', 'vpn.net', None)),
    Way('page through a translator', 'www-casino-com.translate.goog', log=('bypass', 'bypass', 'translate.goog', None)),
    Way('page through a cache', 'www-casino-com.cdn.ampproject.org', log=('translation', 'translation', 'cdn.ampproject.org', None)),
    Way('host at home, dynamic DNS', 'my-pc.duckdns.org', log=('dynamic-dns', 'dynamic-dns', 'duckdns.org', None)),
    Way('address written as a name', '192-0-2-1.nip.io', log=('dynamic-dns', 'dynamic-dns', 'nip.io', None)),
    Way('keyword', 'unblocked-games.many.com', gain=NETWORK, log=('bypass', 'keyword', '*unblocked*', None)),
    Way('keyword inside a word, in capitals', 'MyUNBLOCKEDsite.many.com', gain=NETWORK, log=('bypass', 'keyword', '*unblocked*', None)),
    Way('keyword, for mail', 'poker.many.com', 'MX', gain='', log=('gambling', 'keyword', '*poker*', None)),
    Way('look-alike of a known name', 'xn--ggle-55da.com', gain='', log=('phishing', 'look-alike', 'google.com', None)),
    Way('look-alike of mixed alphabets', 'xn--pyday-3ve.many.com', gain=NETWORK, log=('phishing', 'look-alike', 'mixed alphabets', None)),

    # ---- who asks -------------------------------------------------------------------------------------------------------
    Way('pupil over IPv6', 'casino.com', log=CASINO, client=PUPIL6),
    Way('pupil with a new privacy address', 'casino.com', 'AAAA', gain=SITE6, log=CASINO, client='fd00:20::6'),
    Way('guest over IPv6', 'casino.com', log=CASINO, client=GUEST6),
    Way('an address in no profile: the default one', 'casino.com', log=CASINO, client=HOMELESS),
    Way('an address that is not served', 'casino.com', answer=('REFUSED', 18), client=STRANGER),
    *ways_of(
        None, HIDDEN,
        ('internal name, by a guest', 'dc1.ad.school.example', 'A', {'gain': '10.0.0.10', 'client': '10.99.100.{}'}),
        ('internal service, by a guest', '_ldap._tcp.ad.school.example', 'SRV', {'gain': 'dc1.ad', 'client': '10.99.100.{}'}),
        ('internal name in capitals, by a guest', 'DC1.AD.school.example', 'A', {'gain': '10.0.0.10', 'client': '10.99.100.{}'}),
        ('local record, by a guest', 'intranet.school.example', 'A', {'gain': '10.0.0.5', 'client': '10.99.100.{}'}),
        ('alias of an internal name, by a guest', 'portal.school.example', 'A', {'gain': 'files.ad', 'client': '10.99.100.{}'}),
        ('outside alias of an internal name, by a guest', 'inside.cloak.com', 'A', {'gain': 'files.ad', 'client': '10.99.100.{}'}),
        ('who has this address, by a guest', '20.0.0.10.in-addr.arpa', 'PTR', {'gain': 'files.ad', 'client': '10.99.100.{}'}),
    ),
    Way('outside alias of an internal name, by a pupil', 'inside.cloak.com', gain='', answer=FORGED),

    # ---- odd questions --------------------------------------------------------------------------------------------------
    Way('class CHAOS', 'casino.com', gain='', answer=UNSUPPORTED, how={'rdclass': 'CH'}),
    Way('class HESIOD', 'casino.com', gain='', answer=UNSUPPORTED, how={'rdclass': 'HS'}),
    Way('class ANY', 'casino.com', gain='', answer=UNSUPPORTED, how={'rdclass': 'ANY'}),
    Way('cache snooping of a clean name', 'www.plain.com', gain='', answer=('REFUSED', 20), how={'rd': False}),
    Way('transfer of a clean zone', 'plain.com', 'AXFR', gain='', answer=UNSUPPORTED, how={'tcp': True}),
]


def says(u, way, client):
    a = u.ask(way.name, way.type, client, **way.how)
    return a, f'{a.message.answer} {a.message.authority} {a.message.additional}'.replace('\n', ' ')


def logged(records):
    return {(r['name'], r['type'], r['category'], r['source'], r['rule'], r['matched'], r['action']) for r in records}


@pytest.fixture(scope='module')
def u(lab):
    with usherd(CONFIG, LISTS) as u:
        yield u


@pytest.fixture(scope='module')
def told(u):
    """What every way brought: the open profile's answer, the pupil's fresh and cached one, and the log afterwards."""
    outcomes = []
    for number, way in enumerate(WAYS):
        client = way.client.format(number)
        outcomes.append((client, says(u, way, OPEN)[1], [says(u, way, client) for _ in range(2)]))
    expected = sum(way.log is not None for way in WAYS)
    eventually(lambda: u.stats()['log']['pending'] == 0, 2)
    records = [json.loads(line) for line in u.cli('log', '--json', '--limit', 5000).stdout.splitlines()]
    assert len(records) >= 2 * expected
    return outcomes, records


@pytest.mark.parametrize('number', range(len(WAYS)), ids=[way.title for way in WAYS])
def test_way_around(told, number):
    way, (outcomes, records) = WAYS[number], told
    client, open_text, answers = outcomes[number]
    assert way.gain in open_text, 'there is nothing to gain, so this shows nothing'
    for answer, text in answers:
        assert (answer.rcode, answer.ede) == way.answer, answer
        assert not way.gain or way.gain not in text
        if way.answer in (BLOCKED, CENSORED, HIDDEN, NO_NAME):
            assert not answer.message.answer and answer.soa
        assert not answer.ad or way.answer == NOTHING
        for unsafe in UNSAFE4, UNSAFE6, '10.1.2.3', '127.0.0.1':
            assert unsafe not in text
    asked = dns.name.from_text(way.name)
    about = [r for r in records if r['client'] == client and dns.name.from_text(r['name']) == asked and r['type'] == way.type]
    if way.log is None:
        assert not about
        return
    category, source, rule, matched = way.log
    name = about[0]['name'] if about else None
    assert logged(about) == {(name, way.type, category, source, rule, matched or name, 'block')}, 'the log says something else'


# ---- packets that no library makes -----------------------------------------------------------------------------------------------

CASINO_WIRE = dns.name.from_text('casino.com').to_wire()
PLAIN_WIRE = dns.name.from_text('www.plain.com').to_wire()
A_IN = struct.pack('!2H', 1, 1)


def packet(body, flags=0x0100, questions=1, answers=0, additional=0):
    return struct.pack('!6H', 4711, flags, questions, answers, 0, additional) + body


@pytest.mark.parametrize('octets, rcode', [
    pytest.param(packet(PLAIN_WIRE + A_IN + CASINO_WIRE + A_IN, questions=2), 'FORMERR', id='a second question behind a clean one'),
    pytest.param(packet(CASINO_WIRE + A_IN + PLAIN_WIRE + A_IN, questions=2), 'FORMERR', id='a clean question behind the listed one'),
    pytest.param(packet(b'\xc0\x10' + A_IN + CASINO_WIRE), 'FORMERR', id='the name behind a pointer'),
    pytest.param(packet(b'\1x\xc0\x13' + A_IN + CASINO_WIRE), 'FORMERR', id='half of the name behind a pointer'),
    pytest.param(packet(CASINO_WIRE + A_IN, flags=0x2900), 'NOTIMP', id='an update'),
    pytest.param(packet(CASINO_WIRE + A_IN, flags=0x2100), 'NOTIMP', id='a notify'),
    pytest.param(packet(CASINO_WIRE + A_IN, flags=0x1100), 'NOTIMP', id='a status'),
    pytest.param(packet(CASINO_WIRE + A_IN + b'\0' + struct.pack('!HHIH', 41, 1232, 0x00010000, 0), additional=1), 'BADVERS', id='EDNS version 1'),
    pytest.param(packet(CASINO_WIRE + A_IN, flags=0x8180), None, id='a response'),
    pytest.param(packet(CASINO_WIRE[:-1] + A_IN), 'FORMERR', id='a name without its end'),
    pytest.param(packet(CASINO_WIRE + A_IN + b'\0' * 40), 'FORMERR', id='octets behind the question'),
    pytest.param(packet(CASINO_WIRE + A_IN, flags=0x01ff), 'NXDOMAIN', id='every flag and a response code in the question'),
])
def test_odd_packet_brings_nothing(u, octets, rcode):
    reply = u.ask_raw(octets, timeout=0.3 if rcode is None else 3)
    if rcode is None:
        assert reply is None
        return
    extended = reply[-6] if len(reply) > 12 and reply[11] else 0     # of an OPT record without options
    assert dns.rcode.to_text(extended << 4 | reply[3] & 15) == rcode
    assert reply[6:8] == bytes(2), 'an answer'


# ---- what was cached before it was blocked, and times ------------------------------------------------------------------------------

def test_blocked_name_never_leaves_the_school(lab, u):
    """Not even its letters: they may be the message."""
    with lab.watched() as watch:
        for number, type in enumerate(['A', 'AAAA', 'HTTPS', 'TXT', 'NULL', 'MX', 'ANY', 'DS', 'TYPE65280']):
            assert u.ask(f'carried-out-{number}.casino.com', type, do=True, cd=True).blocked
            assert u.ask(f'unblocked-{number}.many.com', type).blocked
    assert not [name for name in watch.names('com') if 'carried' in name or 'unblocked' in name]


def test_name_blocked_while_it_is_cached_is_blocked_at_once(u):
    assert u.ask('www.wikipedia.org').addresses == [SITE] == u.ask('clean.cloak.com').addresses
    u.cli('block', 'wikipedia.org', '--profile', 'pupils', '--reason', 'ticket 1')
    u.cli('block', 'www.plain.com', '--profile', 'pupils', '--reason', 'ticket 2')
    for name, matched in ('www.wikipedia.org', 'www.wikipedia.org'), ('clean.cloak.com', 'www.plain.com'):
        a = u.ask(name, client='10.20.101.1')
        assert (a.rcode, a.ede, a.message.answer) == ('NXDOMAIN', 15, []) and u.ask(name, client=STAFF).addresses == [SITE]
        [record] = u.log('--client', '10.20.101.1', '--name', name, count=1)
        assert (record['source'], record['matched']) == ('rules', matched)


def test_name_listed_while_it_is_cached_is_blocked_at_once(lab):
    with usherd(lists={'gambling': ['casino.com']}) as u:
        for name in 'www.bbc.co.uk', 'games.cloak.com':
            assert u.ask(name).addresses == [SITE]
        before = u.generation()
        u.source('gambling', ['casino.com', 'bbc.co.uk', 'games.org'])
        u.cli('lists', 'update')
        assert eventually(lambda: u.generation() > before, 5)
        for name, matched in ('www.bbc.co.uk', 'www.bbc.co.uk'), ('games.cloak.com', 'www.games.org'):
            assert u.ask(name).blocked and not u.ask(name).message.answer
            assert {r['matched'] for r in u.log('--name', name, count=2)} == {matched}


def test_stale_answer_from_before_the_block_is_not_served(lab):
    lab.flaky.ttl = 1
    with usherd({'recursion': {'serve-stale': '1h'}}, {'gambling': ['casino.com']}) as u:
        assert u.ask('page.flaky.com').addresses == ['192.0.2.70']
        lab.flaky.mode = 'silent'
        u.cli('block', 'flaky.com', '--profile', 'pupils', '--reason', 'ticket 3')
        time.sleep(1.2)
        assert u.ask('page.flaky.com').blocked
        assert u.ask('page.flaky.com', client=STAFF).addresses == ['192.0.2.70'], 'staff get it, stale'


def test_nothing_outlives_a_grant(u):
    """Neither here nor in a client: the last TTL ends with the grant, and then the cached answer is blocked."""
    assert u.ask('fresh.casino.com').blocked
    u.cli('allow', 'fresh.casino.com', '--for', '2s', '--profile', 'pupils', '--reason', 'lesson')
    a = u.ask('fresh.casino.com')
    assert a.addresses == [SITE] and a.ttl <= 2
    assert u.ask('x.casino.com').blocked, 'the grant is for that name'
    assert eventually(lambda: u.ask('fresh.casino.com').blocked, 3)


def test_grant_does_not_open_what_is_sealed_or_dangerous(lab):
    with usherd(lists={'hate': ['casino.com'], 'illegal': ['illegal.net']}) as u:
        for name in 'casino.com', 'shop.cloak.com', 'illegal.net':
            u.cli('allow', name, '--for', '1h', '--reason', 'history lesson', expect=None)
            assert u.ask(name).blocked and u.ask(f'www.{name}').blocked == ('cloak' not in name)


def test_blocked_answer_of_one_profile_is_not_the_others(u):
    for name, type in ('shop.cloak.com', 'A'), ('service.cloak.com', 'HTTPS'), ('search.cloak.com', 'A'), ('casino.com', 'MX'):
        for client, blocked in (PUPIL, True), (OPEN, False), (PUPIL6, True), (OPEN, False):
            a = u.ask(name, type, client)
            assert a.blocked == blocked and bool(a.message.answer) != blocked
