"""What a school uses (names/), and what an update of the lists would change for it."""

import re
from datetime import datetime, timezone

from usher import GUEST, PUPIL, STAFF, usherd

PUPILS = [f'10.20.0.{n}' for n in (5, 6, 7)]


def today():
    return datetime.now(timezone.utc).strftime('%Y-%m-%d')


def stored(u):
    """Today's file of names/: name -> count."""
    path = u.folder / 'state/names' / today()
    lines = path.read_text().splitlines() if path.exists() else []
    return {name: int(count) for count, name in (line.split(' ') for line in lines)}


def test_names_that_three_clients_asked_are_counted_without_clients(lab):
    with usherd(lists={'gambling': ['casino.com']}) as u:
        for client in PUPIL, STAFF, GUEST:
            for _ in range(2):
                assert u.ask('www.plain.com', client=client).rcode == 'NOERROR'
            u.ask('www.plain.com', 'AAAA', client=client)
            u.ask('casino.com', client=client)
            u.ask('no-such-name.plain.com', client=client)
        for client in PUPIL, STAFF:
            u.ask('www.bbc.co.uk', client=client)
        u.stop()
        files = list((u.folder / 'state/names').iterdir())
        assert [f.name for f in files] == [today()]
        text = files[0].read_text()
        assert text == '9 www.plain.com\n'
        assert files[0].stat().st_mode & 0o777 == 0o600


def test_switched_off_nothing_is_counted_and_the_old_goes(lab):
    with usherd(lists={'gambling': ['casino.com']}) as u:
        for client in PUPIL, STAFF, GUEST:
            u.ask('www.plain.com', client=client)
        u.stop()
        assert stored(u) == {'www.plain.com': 3}
        u.configure({'names': {'enabled': False}})
        u.start()
        for client in PUPIL, STAFF, GUEST:
            u.ask('www.plain.com', client=client)
        u.stop()
        assert list((u.folder / 'state/names').iterdir()) == []
