"""Fixtures of the end-to-end stories. Run as root: pytest moves into a network namespace of its own first."""

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / 'lab')]

import lab as laboratory
import usher


def pytest_sessionstart(session):
    if not (usher.BUILD / 'usherd').exists():
        pytest.exit(f'no usherd in {usher.BUILD}: build it, or name the build folder in USHER_BUILD', returncode=2)
    if os.geteuid() != 0:
        pytest.exit('the end-to-end tests need root, for a network namespace of their own', returncode=2)
    laboratory.enter_network()


@pytest.fixture(scope='session', autouse=True)
def lab(tmp_path_factory):
    """The internet of the tests: see tests/lab/zones.py."""
    folder = usher.make_folder('lab')
    running = laboratory.Lab(folder)
    try:
        usher.Usherd.lab = running.start()
        yield running
    finally:
        running.stop()
        usher.remove_folder(folder)


@pytest.fixture(autouse=True)
def healthy_servers(lab):
    """Every test finds the misbehaving servers well behaved."""
    yield
    lab.flaky.reset()
    lab.slow.reset()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what every running usherd said."""
    report = (yield).get_result()
    if report.failed:
        for u in usher.Usherd.running:
            report.sections.append((f'usherd in {u.folder}', u.said()[-8000:]))
