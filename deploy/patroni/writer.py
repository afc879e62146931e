"""Writes to every PostgreSQL node, whether it is the primary or not, and notes what each acknowledged.

    writer.py run <stop-file> <log> <name>=<port>...     until the file is there
    writer.py check <log> <port>                         what was acknowledged is there, and one node at a time took it

A node that takes writes says on which timeline it does; each promotion begins the next one. So the history is that of
one primary at a time if each timeline belongs to one node, and if no write was begun, and taken, on a timeline after a
later one had acknowledged a write.
"""
import collections
import itertools
import json
import os
import sys
import threading
import time

import psycopg2

PAUSE_S = 0.05
NUMBERS = itertools.count()
LOCK = threading.Lock()
INSERT = ("INSERT INTO writes (n, node) VALUES (%s, %s) "
          "RETURNING substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)")


def connect(port):
    connection = psycopg2.connect(host="127.0.0.1", port=port, user="postgres", password="postgres", dbname="postgres",
                                  connect_timeout=2, options="-c statement_timeout=5000")
    connection.autocommit = True
    return connection


def write(name, port, log, stop):
    connection = None
    while not os.path.exists(stop):
        time.sleep(PAUSE_S)
        with LOCK:
            number = next(NUMBERS)
        begun = time.monotonic()
        try:
            connection = connection or connect(port)
            with connection.cursor() as cursor:
                cursor.execute(INSERT, (number, name))
                timeline = int(cursor.fetchone()[0], 16)
        except psycopg2.errors.ReadOnlySqlTransaction:
            continue
        except psycopg2.Error:
            # Whether it was written nobody knows: it was not acknowledged.
            if connection is not None:
                connection.close()
            connection = None
            continue
        with LOCK:
            entry = {"n": number, "node": name, "timeline": timeline, "begun": begun, "done": time.monotonic()}
            log.write(json.dumps(entry) + "\n")
            log.flush()


def run(stop, path, nodes):
    with open(path, "a", encoding="utf-8") as log:
        threads = [threading.Thread(target=write, args=(name, int(port), log, stop))
                   for name, port in (node.split("=") for node in nodes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def check(path, port):
    with open(path, encoding="utf-8") as log:
        acknowledged = [json.loads(line) for line in log]
    problems = []
    nodes = collections.defaultdict(set)
    for entry in acknowledged:
        nodes[entry["timeline"]].add(entry["node"])
    for timeline, names in sorted(nodes.items()):
        if len(names) > 1:
            problems.append(f"timeline {timeline} was written by {sorted(names)}")
    newest, since = 0, 0.0
    for entry in sorted(acknowledged, key=lambda entry: entry["done"]):
        if entry["timeline"] < newest and entry["begun"] > since:
            problems.append(f"{entry} was taken after timeline {newest} had acknowledged a write")
        if entry["timeline"] > newest:
            newest, since = entry["timeline"], entry["done"]
    with connect(int(port)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT n FROM writes")
        there = {row[0] for row in cursor.fetchall()}
    lost = sorted(entry["n"] for entry in acknowledged if entry["n"] not in there)
    if lost:
        problems.append(f"{len(lost)} acknowledged rows are lost, such as {lost[:5]}")
    gaps = sorted(entry["done"] for entry in acknowledged)
    longest = max((after - before for before, after in zip(gaps, gaps[1:])), default=0.0)
    print(f"{len(acknowledged)} rows acknowledged on timelines "
          f"{', '.join(f'{timeline} ({sorted(names)[0]})' for timeline, names in sorted(nodes.items()))}; "
          f"longest pause {longest:.1f} s")
    for problem in problems:
        print(f"PROBLEM: {problem}")
    if problems or not acknowledged:
        sys.exit(1)
    print("nothing acknowledged is lost, and one node at a time took writes")


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(sys.argv[2], sys.argv[3], sys.argv[4:])
    else:
        check(sys.argv[2], sys.argv[3])
