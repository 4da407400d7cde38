"""The explorer's page, `hmr app`: for this machine alone, and so many kernels and no more."""

import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from hmrlib.viewing import browser

pytest.importorskip("voila", reason="serves the page")

LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.fixture(scope="module")
def app():
    """The address of the app, with room for one page."""
    with browser.app(pages=1) as url:
        yield url


def get(url, path="", **headers):
    """The status of an answer, and its text."""
    request = urllib.request.Request(url + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=browser.TIMEOUT) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def processes(url):
    """The server, and the kernels that it runs."""
    port = int(url.rstrip("/").rpartition(":")[2])
    children = psutil.Process().children(recursive=True)
    server = next(p for p in children if any(c.laddr.port == port for c in listening(p)))
    return server, [p for p in server.children() if "ipykernel_launcher" in " ".join(p.cmdline())]


def listening(process):
    return [c for c in process.net_connections() if c.status == psutil.CONN_LISTEN]


@pytest.mark.parametrize("path", ["", "api/kernels/0b5a9e0e-57d3-4fca-8f6d-6b6d9fb9c1f6/channels"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8866", "192.168.1.5", "[fe80::1]"])
def test_another_name_than_this_machines_is_refused(app, host, path):
    status, text = get(app, path, Host=host)
    assert status == 403 and "widget" not in text
    assert processes(app)[1] == []


def test_ten_visits_leave_one_kernel_and_ports_of_this_machine_alone(app):
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: get(app), range(10)))
    assert sorted(status for status, _ in answers) == [200] + 9 * [503]
    for status, text in answers:
        assert ("1 page is open, and no more may be" in text) == (status == 503)
    server, kernels = processes(app)
    assert len(kernels) == 1
    ports = [c.laddr for p in (server, *server.children(recursive=True)) for c in listening(p)]
    assert len(ports) > 1 and {address.ip for address in ports} <= LOOPBACK


def test_a_page_that_nobody_has_open_ends_its_kernel():
    with browser.app(pages=1, left=20) as url:
        assert get(url)[0] == 200
        psutil.wait_procs(processes(url)[1], timeout=browser.TIMEOUT)
        assert processes(url)[1] == []
        assert processes(url)[0].is_running()
