"""A school's week, generated: what 1,500 devices ask for that a school blocks. The same seed and time give the same week.

A page load asks for its trackers as A, AAAA and HTTPS, and for some of them again; a pupil who is told no tries once more, and
the app's other names with it; phones ask for their makers' names all night. A school day is the same on any weekday, and
yesterday always is one, so that no test depends on when it runs. Only what is blocked is told: nothing else leaves a trace.
"""

import random
import subprocess
from dataclasses import dataclass
from datetime import datetime, timezone

CLIENTS = 1500
SECOND, HOUR, DAY = 10**6, 3600 * 10**6, 86400 * 10**6
KEEP_S = 90 * 86400                 # of all profiles: one file a day, so that what is written keeps its order
A, AAAA, HTTPS = 1, 28, 65
SEVERITIES = ('advisory', 'caution', 'danger')

# What blocks, by category: severity and listed names.
ADS = ['doubleclick.net', 'google-analytics.com', 'googletagmanager.com', 'googlesyndication.com', 'scorecardresearch.com',
       *(f'tracker{i}.net' for i in range(35))]
CAUTION = {'gambling': ['casino.com', 'poker.net', 'slots.org', 'bets.co.uk'], 'adult': ['adult.com', 'tube.net', 'cams.org'],
           'drugs': ['vapes.co.uk', 'weed.org'], 'dating': ['dates.com', 'meet.net'], 'phishing': ['login-parcel.com', 'bank-check.net']}
ADVISORY = {'social': ['tiktok.com', 'snapchat.com', 'instagram.com', 'facebook.com', 'x.com'],
            'games': ['roblox.com', 'poki.com', 'blocky.net', 'football.org', 'clans.com'], 'streaming': ['netflix.com', 'twitch.tv']}
HOSTS = ['www', 'api', 'cdn', 'static', 'v16', 'img', 'log', 'edge']     # of a page or app; www is what was typed
CHATTER = ['graph.facebook.com', 'graph.instagram.com', 'app-analytics.snapchat.com', 'mon.tiktokv.com', 'app-measurement.com']

# The planted stories.
BURNER, BURN_DAYS_AGO = '10.20.1.77', (30, 27, 22, 20, 15, 13, 8, 6)
BURNER_BEFORE, BURNER_MAC = '10.20.9.77', 'a8:bb:cc:00:00:77'       # the laptop's first two weeks were at another address, which is a tablet's now
BURNER_MOVED_DAYS_AGO, TABLET_MAC = 17, 'a8:bb:cc:00:00:99'
BURN_NAME = 'thin-and-proud.org'
CHASER, CHASE = '10.20.2.33', ('unblocked-games.org', 'games-mirror.org', 'www.hide-me-proxy.com', 'best-vpn.net')
SWARM_NAME, SWARM_CLIENTS = 'rate-your-classmates.com', 24
NEW_NAME, NEW_CLIENTS = 'staircase-gossip.net', 14           # on no list: it resolves, and a class finds it
USUAL_NAMES, NAMES_DAYS = ('www.plain.com',), 7              # what everybody asks for, and how long that is known
DANGER = {'goodbye-letters.org': 'self-harm', 'starve-club.net': 'self-harm', 'cutting-board.org': 'self-harm',
          'join-the-cause.org': 'extremism', 'white-dawn.net': 'extremism', 'hate-memes.com': 'hate', 'gore-videos.com': 'violence',
          'street-fights.net': 'violence', 'alpha-over-her.com': 'vawg', 'knives-by-post.co.uk': 'weapons'}


def categories():
    """Category -> listed names: what usherd's lists must hold."""
    lists = {'ads': ADS, **CAUTION, **{category: list(names) for category, names in ADVISORY.items()}}
    lists['social'] += ['tiktokv.com']
    lists['ads'] = [*ADS, 'app-measurement.com']
    lists['games'] += CHASE[:2]
    lists['bypass'] = ['hide-me-proxy.com', 'best-vpn.net', 'free-vpn.org']
    lists['chat'] = [SWARM_NAME]
    for name, category in [(BURN_NAME, 'self-harm'), *DANGER.items()]:
        lists.setdefault(category, []).append(name)
    return lists


def severity(category):
    if category in DANGER.values():
        return 'danger'
    return 'advisory' if category == 'ads' or category in ADVISORY else 'caution'


@dataclass(frozen=True)
class Client:
    address: str
    profile: str
    phone: bool         # asks at night
    vpn: bool           # has an app that asks for its server, whatever its owner does


def clients():
    """Pupils, staff and guests; whom the stories are about are among the pupils."""
    found = []
    for i in range(CLIENTS):
        network, profile = ('10.20', 'pupils') if i < 1200 else ('10.30', 'staff') if i < 1350 else ('10.99', 'guest')
        found.append(Client(f'{network}.{1 + i // 200}.{1 + i % 200}', profile, i % 15 == 3, i % 300 == 17))
    return found


class Week:
    """now_us: the end of it. Lookups are (time in microseconds, client, name, type)."""

    def __init__(self, now_us, seed=1):
        self.now_us = now_us
        self.random = random.Random(seed)
        self.clients = clients()
        self.listed = {name: category for category, names in categories().items() for name in names}

    # ---- traffic ---------------------------------------------------------------------------------------------------------

    def _asks(self, at, client, name):
        """As devices ask: both address types, browsers HTTPS too, and a third of it again."""
        for again in range(2 if self.random.random() < 0.3 else 1):
            for type in (A, AAAA, HTTPS)[:3 if client.profile != 'guest' else 2]:
                yield at + again * 2 * SECOND + self.random.randrange(SECOND), client, name, type

    def _page(self, at, client):
        for name in self.random.sample(ADS, self.random.randint(3, 7)):
            yield from self._asks(at, client, f'{self.random.choice(("ad", "pixel", "js"))}.{name}')

    def _tries(self, at, client, names):
        """Somebody wants in: the page, what belongs to it, and once more after a minute."""
        site = self.random.choice(names)
        for again in range(self.random.randint(1, 3)):
            for host in ['www', *self.random.sample(HOSTS[1:], self.random.randint(2, 6))]:
                yield from self._asks(at + again * 70 * SECOND, client, f'{host}.{site}')

    def _night(self, midnight, client):
        """From midnight to seven, every 20 to 40 minutes: telemetry, and one app that wants its server."""
        at = midnight + self.random.randrange(HOUR // 2)
        while at < midnight + 7 * HOUR:
            for name in self.random.sample(CHATTER, 2):
                yield at, client, name, A
                yield at, client, name, AAAA
            for again in range(3):
                yield at + again * 30 * SECOND, client, 'edge.clans.com', A
            at += self.random.randint(20, 40) * 60 * SECOND

    def _vpn(self, midnight, client):
        for minute in range(7 * 60, 22 * 60, 8):
            yield midnight + minute * 60 * SECOND, client, 'node.free-vpn.org', A

    def _school_day(self, midnight, client):
        """Hours nine to half past three; what is tried is tried in breaks."""
        for _ in range(self.random.randint(0, 2)):
            yield from self._page(midnight + 9 * HOUR + self.random.randrange(6 * HOUR), client)
        curious = {'pupils': 0.12, 'guest': 0.06}.get(client.profile, 0.02)
        noon = midnight + 12 * HOUR
        if self.random.random() < curious:
            yield from self._tries(noon + self.random.randrange(HOUR), client, self.random.choice(list(ADVISORY.values())))
        if self.random.random() < curious / 10:
            yield from self._tries(noon + self.random.randrange(HOUR), client, self.random.choice(list(CAUTION.values())))

    def _day(self, midnight, school):
        for client in self.clients:
            if school:
                yield from self._school_day(midnight, client)
            if client.phone:
                yield from self._night(midnight, client)
            if client.vpn:
                yield from self._vpn(midnight, client)

    def usual(self):
        """Sites that no story is about: this school's devices ask for them now and then."""
        planted = {BURN_NAME, SWARM_NAME, *DANGER, *(name.removeprefix('www.') for name in CHASE)}
        return [name for name in self.listed if name not in planted]

    def past(self):
        """The seven days before the present one, in order of time: three school days, a weekend, two school days. Before them, weeks of a burner."""
        today = self.now_us // DAY * DAY
        burner = next(c for c in self.clients if c.address == BURNER)
        before = Client(BURNER_BEFORE, burner.profile, False, False)
        lookups = [(self.now_us - days * DAY, before if days > BURNER_MOVED_DAYS_AGO else burner, BURN_NAME, A) for days in BURN_DAYS_AGO]
        lookups += [(self.now_us - self.random.randrange(9 * DAY, 30 * DAY), self.random.choice(self.clients), name, A) for name in self.usual()]
        for ago in range(7, 0, -1):
            lookups += self._day(today - ago * DAY, school=ago not in (3, 4))
        return sorted(lookups, key=lambda lookup: lookup[0])

    def leases(self):
        """Kea's file: who had the burner's addresses in the hours around each of these lookups, and today."""
        rows = ['address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context']
        for days in (*BURN_DAYS_AGO, 0):
            start = (self.now_us - days * DAY - 2 * HOUR) // SECOND
            moved = days <= BURNER_MOVED_DAYS_AGO
            for address, mac, name in [(BURNER if moved else BURNER_BEFORE, BURNER_MAC, 'laptop-77'), *([(BURNER_BEFORE, TABLET_MAC, 'tablet-99')] if moved else [])]:
                rows.append(f'{address},{mac},,{4 * 3600},{start + 4 * 3600},1,0,0,{name},0,')
        return '\n'.join(rows) + '\n'

    def morning(self):
        """What is asked today, in an order that keeps each client's own: traffic of all clients, and the stories. No times: it happens now."""
        by_client = []
        for client in self.clients:
            mine = [*self._page(0, client)]
            if self.random.random() < 0.1 and client.profile == 'pupils' and not client.vpn:
                mine += self._tries(5 * SECOND, client, self.random.choice(list(ADVISORY.values())))
            mine += [(1, client, name, A) for name in self._story(client)]
            by_client.append([lookup[1:] for lookup in mine])
        while by_client:
            for mine in by_client:
                yield from mine[:4]
                del mine[:4]
            by_client = [mine for mine in by_client if mine]

    def _story(self, client):
        danger = dict(zip(self.danger_clients(), DANGER))
        swarm = self.clients[700:700 + SWARM_CLIENTS]
        return [*([BURN_NAME] if client.address == BURNER else []), *(CHASE if client.address == CHASER else []),
                *([danger[client.address]] if client.address in danger else []), *([SWARM_NAME] if client in swarm else [])]

    def danger_clients(self):
        return [self.clients[40 + 100 * i].address for i in range(len(DANGER))]

    def newcomer(self):
        """Whose addresses ask for the site that is on no list, in one lesson."""
        return [client.address for client in self.clients[300:300 + NEW_CLIENTS]]

    def names(self):
        """What was asked on the days before: each day's text for usherd's names/."""
        lines = ''.join(f'{CLIENTS} {name}\n' for name in USUAL_NAMES)
        today = self.now_us // DAY * DAY // SECOND
        return {datetime.fromtimestamp(today - ago * 86400, timezone.utc).strftime('%Y-%m-%d'): lines for ago in range(1, NAMES_DAYS + 1)}

    # ---- the log of the past ---------------------------------------------------------------------------------------------

    def write(self, program, folder):
        """Writes the past into the block log in folder, whose usherd is not running. Returns how many lookups it was."""
        lines = []
        for at, client, name, type in self.past():
            labels = name.split('.')
            rule = next('.'.join(labels[i:]) for i in range(len(labels)) if '.'.join(labels[i:]) in self.listed)
            category = self.listed[rule]
            lines.append(f'{at} {client.address} {client.profile} {category} {SEVERITIES.index(severity(category))} {KEEP_S} {name} '
                         f'{rule.count(".") + 1} {type}\n')
        run = subprocess.run([program, folder], input=''.join(lines), capture_output=True, text=True)
        assert run.returncode == 0 and int(run.stdout) == len(lines), run.stderr
        return len(lines)
