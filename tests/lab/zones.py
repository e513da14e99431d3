"""What the laboratory's internet holds: one entry a zone. lab.py adds SOA, NS and the delegations, signs, and serves.

Addresses say what a record stands for, so that a test reads without a table:
  192.0.2.x, 2001:db8::x          an ordinary site
  203.0.113.66, 2001:db8:bad::66  a search engine as it is without safe search
  198.51.100.x, 2001:db8:5afe::x  a safe-search target
"""

from dataclasses import dataclass

ROOT, TLD, HOST, INTERNAL = '127.0.53.1', '127.0.53.2', '127.0.53.3', '127.0.53.10'
ROOT6 = 'fd00:53::1'
DEAD = '127.0.53.66'      # nothing listens there: the kernel says so at once
SILENT = '127.0.53.67'    # takes queries and never answers
FLAKY = '127.0.53.70'     # switched at run time by a test
SLOW = '127.0.53.71'      # d300.slow.com answers after 300 ms

UNSAFE4, UNSAFE6 = '203.0.113.66', '2001:db8:bad::66'

# https://www.google.com/supported_domains, less the leading ".google."
GOOGLE = '''
com ad ae com.af com.ag al am co.ao com.ar as at com.au az ba com.bd be bf bg com.bh bi bj com.bn com.bo com.br bs bt co.bw
by com.bz ca cd cf cg ch ci co.ck cl cm cn com.co co.cr com.cu cv com.cy cz de dj dk dm com.do dz com.ec ee com.eg es com.et
fi com.fj fm fr ga ge gg com.gh com.gi gl gm gr com.gt gy com.hk hn hr ht hu co.id ie co.il im co.in iq is it je com.jm jo
co.jp co.ke com.kh ki kg co.kr com.kw kz la com.lb li lk co.ls lt lu lv com.ly co.ma md me mg mk ml com.mm mn com.mt mu mv mw
com.mx com.my co.mz com.na com.ng com.ni ne nl no com.np nr nu co.nz com.om com.pa com.pe com.pg com.ph com.pk pl pn com.pr ps
pt com.py com.qa ro ru rw com.sa com.sb sc se com.sg sh si sk com.sl sn so sm sr st com.sv td tg co.th com.tj tl tm tn to
com.tr tt com.tw co.tz com.ua co.ug co.uk com.uy co.uz com.vc co.ve co.vi com.vn vu ws rs co.za co.zm co.zw cat
'''.split()

YANDEX = 'az by co.il com com.am com.ge com.tr ee eu fr kz lt lv md net pl ru tj tm uz'.split()


@dataclass
class Zone:
    text: str = ''
    server: str = HOST
    signed: bool = False
    nsec3: bool = False
    fault: str = ''       # how its signing goes wrong: signature, expired, early, no-keys, unsigned


# A site: everything below the zone has an address, so that whatever is not blocked resolves.
SITE = '''
@ A 192.0.2.1
@ AAAA 2001:db8::1
@ MX 10 mail
* A 192.0.2.1
* AAAA 2001:db8::1
'''

# A search engine before anybody made it safe; its HTTPS record would lead a browser round the rewritten A and AAAA.
ENGINE = f'''
@ A {UNSAFE4}
@ AAAA {UNSAFE6}
@ HTTPS 1 . alpn=h2 ipv4hint={UNSAFE4} ipv6hint={UNSAFE6}
* A {UNSAFE4}
* AAAA {UNSAFE6}
* HTTPS 1 . alpn=h2 ipv4hint={UNSAFE4} ipv6hint={UNSAFE6}
'''

ECH = 'AEX+DQBBpQAgACD2R5n6kGm1WbzcFKFhVAWZM9Gv4TCSeT4GcXV5tWXsQwAEAAEAAQASY2xvdWRmbGFyZS1lY2guY29tAAA='

ZONES = {
    # ---- the top -------------------------------------------------------------------------------------------------------
    '.': Zone(server=ROOT, signed=True),
    'com': Zone(server=TLD, signed=True, nsec3=True),
    'net': Zone(server=TLD, signed=True),
    'org': Zone(server=TLD, signed=True, nsec3=True),
    'example': Zone(server=TLD, signed=True),
    'uk': Zone(server=TLD, signed=True),
    'co.uk': Zone(server=TLD, signed=True),
    'org.uk': Zone(server=TLD),
    'arpa': Zone('''
resolver TXT "a leak: resolver.arpa was asked upstream"
_dns.resolver SVCB 1 dns.vpn.net. alpn=dot
home TXT "a leak"
''', server=TLD, signed=True),
    'in-addr.arpa': Zone(server=TLD),
    '8.8.8.in-addr.arpa': Zone('8 PTR www.plain.com.\n'),

    # ---- ordinary sites ------------------------------------------------------------------------------------------------
    'plain.com': Zone('''
@ A 192.0.2.1
@ MX 10 mail
mail A 192.0.2.25
www A 192.0.2.1
www AAAA 2001:db8::1
v4only A 192.0.2.4
txt TXT "hello"
multi A 192.0.2.11
multi A 192.0.2.12
multi A 192.0.2.13
short 2 A 192.0.2.2
long 86400 A 192.0.2.3
alias CNAME www
alias2 CNAME alias
loop CNAME loop2
loop2 CNAME loop
gone CNAME nosuch
to.ent A 192.0.2.5
MiXeD A 192.0.2.6
srv SRV 1 2 443 www
naptr NAPTR 100 10 "u" "E2U+sip" "!^.*$!sip:info@plain.com!" .
odd\\.label A 192.0.2.7
unknown TYPE65280 \\# 4 01020304
'''),
    'many.com': Zone('* A 192.0.2.20\n'),
    'xn--bcher-kva.com': Zone(SITE),
    'big.com': Zone('medium TXT ' + ' '.join(f'"{i:02d}{"m" * 200}"' for i in range(5)) + '\n' +
                    'big TXT ' + ' '.join(f'"{i:02d}{"b" * 248}"' for i in range(12)) + '\n' +
                    ''.join(f'huge TXT "{i:03d}{"h" * 240}"\n' for i in range(80)) +
                    ''.join(f'addresses A 192.0.2.{i}\n' for i in range(1, 121))),

    # ---- DNSSEC --------------------------------------------------------------------------------------------------------
    'signed.com': Zone(f'''
@ A 192.0.2.30
www A 192.0.2.30
www AAAA 2001:db8::30
alias CNAME www
outside CNAME www.plain.com.
*.wild A 192.0.2.31
ech HTTPS 1 . alpn=h2 ech={ECH}
to.ent A 192.0.2.32
rebind A 10.0.0.30
rebind A 192.0.2.33
''', signed=True),
    'signed3.org': Zone('www A 192.0.2.34\n', signed=True, nsec3=True),
    'bogus.com': Zone('www A 192.0.2.35\nother A 192.0.2.36\n', signed=True, fault='signature'),
    'expired.com': Zone('www A 192.0.2.37\n', signed=True, fault='expired'),
    'early.com': Zone('www A 192.0.2.38\n', signed=True, fault='early'),
    'nokeys.com': Zone('www A 192.0.2.39\n', signed=True, fault='no-keys'),
    'stripped.com': Zone('www A 192.0.2.40\n', signed=True, fault='unsigned'),

    # ---- cloaking: names that lead to listed ones -----------------------------------------------------------------------
    'cloak.com': Zone('''
shop CNAME www.casino.com.
hop1 CNAME hop2
hop2 CNAME hop3
hop3 CNAME www.casino.com.
sealed CNAME www.illegal.net.
games CNAME www.games.org.
clean CNAME www.plain.com.
old DNAME casino.com.
svc HTTPS 0 www.casino.com.
service HTTPS 1 www.casino.com. alpn=h2
svcb SVCB 1 www.casino.com. alpn=h2
self HTTPS 1 . alpn=h2
inside CNAME files.ad.school.example.
help CNAME www.childline.org.uk.
search CNAME www.google.com.
relay CNAME mask.icloud.com.
'''),
    # More of the same: what test_ways_around.py asks for.
    'ways.com': Zone('''
a1 CNAME a2
a2 CNAME a3
a3 CNAME a4
a4 CNAME a5
a5 CNAME a6
a6 CNAME a7
a7 CNAME www.casino.com.
*.wild CNAME www.casino.com.
empty CNAME empty.thin.net.
nothing CNAME nothing.thin.net.
deep DNAME old.cloak.com.
alias HTTPS 0 svc.cloak.com.
next CNAME svc.cloak.com.
port CNAME _8443._https.casino.com.
mandatory HTTPS 1 www.casino.com. mandatory=port port=8443
second HTTPS 1 . alpn=h2
second HTTPS 2 www.casino.com. alpn=h2
mx MX 10 www.casino.com.
_sip._tcp SRV 0 0 443 www.casino.com.
ns NS ns.casino.com.
txt TXT "www.casino.com is 192.0.2.1"
network A 192.0.2.20
network HTTPS 1 . alpn=h2 ipv4hint=192.0.2.20
hint6 HTTPS 1 . alpn=h2 ipv6hint=2001:db8:f00d::1
svcbhint SVCB 1 . alpn=dot ipv4hint=192.0.2.20
nat64 AAAA 64:ff9b::c000:214
sixtofour AAAA 2002:c000:214::1
six AAAA 2001:db8:f00d::1
mapped AAAA ::ffff:192.0.2.20
toten CNAME ten.rebind.com.
dns CNAME dns.google.
bing CNAME www.bing.com.
video HTTPS 1 www.youtube.com. alpn=h2
ddg DNAME duckduckgo.com.
canary CNAME use-application-dns.net.
idn CNAME xn--bcher-kva.com.
ods HTTPS 1 . alpn=h2 ech=AEX+DQBBpQAgACD2R5n6kGm1WbzcFKFhVAWZM9Gv4TCSeT4GcXV5tWXsQwAEAAEAAQASY2xvdWRmbGFyZS1lY2guY29tAAA=
'''),
    'thin.net': Zone('@ A 192.0.2.90\nempty A 192.0.2.90\n'),
    'https.com': Zone(f'''
www A 192.0.2.80
www HTTPS 1 . alpn=h2,h3 ipv4hint=192.0.2.80 ipv6hint=2001:db8::80 ech={ECH}
alias HTTPS 0 www.https.com.
noech HTTPS 1 . alpn=h2
svcb SVCB 1 . alpn=dot ech={ECH}
'''),

    # ---- rebinding: private addresses under public names -----------------------------------------------------------------
    'rebind.com': Zone('''
loop A 127.0.0.1
ten A 10.1.2.3
oneseven A 172.16.5.5
oneninetwo A 192.168.1.1
link A 169.254.1.1
mixed A 10.1.2.3
mixed A 192.0.2.9
six AAAA ::1
ula AAAA fd00::1
linksix AAAA fe80::1
mapped AAAA ::ffff:10.0.0.1
mixedsix AAAA fd00::1
mixedsix AAAA 2001:db8::9
hint HTTPS 1 . alpn=h2 ipv4hint=10.0.0.1,192.0.2.7 ipv6hint=fd00::7,2001:db8::7
onlyhint HTTPS 1 . alpn=h2 ipv4hint=10.0.0.1
chain CNAME ten
public172 A 172.32.0.1
zero A 0.0.0.0
zerosix AAAA ::
shared A 100.64.0.1
'''),
    'dnsbl.org': Zone('2.0.0.127 A 127.0.0.2\nzero A 0.0.0.0\n'),

    # ---- servers with something wrong ------------------------------------------------------------------------------------
    'dead.com': Zone(server=DEAD),
    'silent.com': Zone(server=SILENT),
    'flaky.com': Zone(server=FLAKY),
    'slow.com': Zone(server=SLOW),
    'lame.com': Zone(server=INTERNAL),     # delegated to a server that does not have it

    # ---- the school ------------------------------------------------------------------------------------------------------
    # The public side is signed and knows no ad.school.example: an internal zone must not be judged by it.
    'school.example': Zone('''
@ A 198.51.100.200
www A 198.51.100.200
portal CNAME files.ad.school.example.
''', signed=True),
    'ad.school.example': Zone('''
@ A 10.0.0.10
dc1 A 10.0.0.10
files A 10.0.0.20
files AAAA fd00::20
to.ent A 10.0.0.21
_ldap._tcp SRV 0 100 389 dc1
web CNAME www.plain.com.
cloaked CNAME www.casino.com.
''', server=INTERNAL),
    '10.in-addr.arpa': Zone('20.0.0 PTR files.ad.school.example.\n', server=INTERNAL),

    # ---- names that must always resolve ----------------------------------------------------------------------------------
    'police.uk': Zone(SITE),
    'childline.org.uk': Zone('''
@ A 192.0.2.50
www A 192.0.2.50
cdn CNAME help.casino.com.
sealed CNAME www.illegal.net.
'''),
    'samaritans.org': Zone(SITE),
    'iwf.org.uk': Zone(SITE),

    # ---- canaries: all of them resolve in the world outside --------------------------------------------------------------
    'use-application-dns.net': Zone(SITE),
    'icloud.com': Zone(SITE),

    # ---- safe-search targets ---------------------------------------------------------------------------------------------
    'google.com': Zone(ENGINE + '''
mail A 192.0.2.60
mail AAAA 2001:db8::60
drive A 192.0.2.61
forcesafesearch A 198.51.100.120
forcesafesearch AAAA 2001:db8:5afe::120
'''),
    'youtube.com': Zone(ENGINE + '''
restrict A 198.51.100.121
restrictmoderate A 198.51.100.119
restrictmoderate AAAA 2001:db8:5afe::119
'''),
    'bing.com': Zone(ENGINE + '''
strict A 198.51.100.122
strict AAAA 2001:db8:5afe::122
strict HTTPS 1 . alpn=h2 ipv4hint=198.51.100.122
'''),
    'duckduckgo.com': Zone(ENGINE + 'safe A 198.51.100.123\n'),
    'ecosia.org': Zone(ENGINE + 'strict-safe-search CNAME safe-front\nsafe-front A 198.51.100.124\n'),
    'pixabay.com': Zone(ENGINE),
    'safesearch.pixabay.com': Zone(server=FLAKY),
    'qwant.com': Zone(ENGINE + 'safeapi A 198.51.100.126\n'),
    'brave.com': Zone(ENGINE + ''.join(f'{n} A 198.51.100.127\n' for n in ('safe.search', 'forcesafe.search', 'safesearch'))),
    'startpage.com': Zone(ENGINE + 'safe A 198.51.100.128\n'),
    'yandex.ru': Zone(ENGINE + 'familysearch A 213.180.193.56\n'),
}

for name in ('casino.com', 'poker.net', 'games.org', 'social.net', 'adult.com', 'vpn.net', 'illegal.net', 'drugs.org', 'notcasino.com',
             'wikipedia.org', 'translate.goog', 'cdn.ampproject.org', 'duckdns.org', 'nip.io', 'dns.google', 'unblockedgames.net', 'bbc.co.uk', 'bet365.com', '888casino.com', 'pokerstars.com', 'roblox.com', 'tiktok.com', 'facebook.com',
             'staircase-gossip.net'):
    ZONES[name] = Zone(SITE)
for name in ([f'google.{tld}' for tld in GOOGLE] + [f'yandex.{tld}' for tld in YANDEX] +
             ['ya.ru', 'xn--d1acpjx3f.xn--p1ai', 'duck.com', 'youtube-nocookie.com', 'googleapis.com', 'yahoo.com', 'aol.com']):
    ZONES.setdefault(name, Zone(ENGINE))
