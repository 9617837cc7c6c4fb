"""A pytest plugin: writes the outcome of every test, one line each, to the file named by OUTCOMES."""

import os

_worst = {}
_RANK = {"passed": 0, "skipped": 1, "failed": 2}


def pytest_runtest_logreport(report):
    # A test is what its worst phase is: a failing teardown is a failure too.
    if report.when != "call" and report.outcome == "passed":
        return
    before = _worst.get(report.nodeid, "passed")
    if _RANK[report.outcome] >= _RANK[before]:
        _worst[report.nodeid] = report.outcome


def pytest_sessionfinish(session):
    # Under xdist only the controller has all reports.
    if os.environ.get("PYTEST_XDIST_WORKER"):
        return
    with open(os.environ["OUTCOMES"], "w", encoding="utf-8") as out:
        for nodeid in sorted(_worst):
            out.write("%s\t%s\n" % (_worst[nodeid], nodeid))
