"""The clients of test/services. Each asks a server for what the test is about, and
writes one JSON line per request: protocol, operation and status as Weir is to name
them, whether it is an error, and how long the answer took (ns).

    client.py PROTOCOL HOST PORT [SERVER]

SERVER is the name of the server's process, which the client can see: it is stopped for
a moment where the protocol has nothing that is slow on purpose.
"""
import json
import os
import signal
import socket
import sys
import threading
import time

DELAY = 0.1  # seconds, of what the servers do slowly


def log(l7, operation, status, failed, began, **more):
    took = time.monotonic_ns() - began
    print(json.dumps(dict(l7=l7, operation=operation, status=str(status), failed=failed, ns=took, **more)), flush=True)


def stalled(f):
    """Calls f while the server stands still for DELAY, as it would for a slow disk."""
    pids = [int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid() and comm(p) == sys.argv[4]]
    if not pids:
        raise SystemExit(f"there is no process {sys.argv[4]}")
    for p in pids:
        os.kill(p, signal.SIGSTOP)

    def go_on():
        for p in pids:
            os.kill(p, signal.SIGCONT)

    threading.Timer(DELAY, go_on).start()
    f()


def comm(pid):
    try:
        with open(f"/proc/{pid}/comm") as f:
            return f.read().strip()
    except OSError:
        return ""


def wait_for(host, port, patience=45):
    end = time.monotonic() + patience
    while True:
        try:
            socket.create_connection((host, port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def http(host, port=80):
    import http.client
    c = http.client.HTTPConnection(host, port)
    c.connect()

    def ask(method, path, operation, body=None, **headers):
        began = time.monotonic_ns()
        c.request(method, path, body, headers)
        r = c.getresponse()
        first = time.monotonic_ns() - began
        r.read()
        print(json.dumps(dict(l7="http", operation=operation, status=str(r.status), failed=r.status >= 500, ns=first)), flush=True)

    for i in range(20):
        ask("GET", f"/users/{1000 + i}?token=s3cret{i}", "GET /users/{id}", Authorization="Bearer s3cret", Cookie="session=s3cret")
    for i in range(5):
        ask("GET", "/slow", "GET /slow")
        ask("POST", "/orders", "POST /orders", body=b"x" * 20000)
        ask("HEAD", "/static", "HEAD /static")
        ask("GET", "/big", "GET /big")
        ask("GET", "/chunked", "GET /chunked")
    for i in range(7):
        ask("GET", "/missing", "GET /missing")
        ask("GET", "/fail", "GET /fail")
    c.close()
    for i in range(10):  # a connection each
        c = http.client.HTTPConnection(host, port)
        ask("GET", "/static", "GET /static", Connection="close")
        c.close()


def postgresql(host, port=5432):
    import psycopg2
    db = psycopg2.connect(host=host, port=port, user="postgres", dbname="postgres")
    db.autocommit = True
    cur = db.cursor()

    def ask(sql, operation, args=None):
        began = time.monotonic_ns()
        try:
            cur.execute(sql, args)
            log("postgresql", operation, "OK", False, began)
        except psycopg2.Error as e:
            log("postgresql", operation, e.pgcode, e.pgcode in FAILED_SQLSTATES, began)

    ask("CREATE TABLE orders (id int primary key, note text)", "CREATE TABLE orders")
    for i in range(20):
        ask("INSERT INTO orders VALUES (%s, %s)", "INSERT orders", (i, f"secret note {i}"))
    for i in range(30):
        ask("SELECT note FROM orders WHERE id = %s", "SELECT orders", (i,))
    for i in range(5):
        ask(f"SELECT pg_sleep({DELAY})", "SELECT")
        ask("SELECT * FROM no_such_table", "SELECT no_such_table")
        ask("SELECT repeat('x', 100000) FROM orders", "SELECT orders")
    db.close()


FAILED_SQLSTATES = {"42P01"}


def mysql(host, port=3306):
    import pymysql
    db = pymysql.connect(host=host, port=port, user="root", database="test", autocommit=True)
    cur = db.cursor()

    def ask(sql, operation, args=None):
        began = time.monotonic_ns()
        try:
            cur.execute(sql, args)
            log("mysql", operation, "OK", False, began)
        except pymysql.Error as e:
            log("mysql", operation, e.args[0], True, began)

    ask("CREATE TABLE orders (id int primary key, note text)", "CREATE TABLE orders")
    for i in range(20):
        ask("INSERT INTO orders VALUES (%s, %s)", "INSERT orders", (i, f"secret note {i}"))
    for i in range(30):
        ask("SELECT note FROM orders WHERE id = %s", "SELECT orders", (i,))
    for i in range(5):
        ask(f"SELECT SLEEP({DELAY})", "SELECT")
        ask("SELECT * FROM no_such_table", "SELECT no_such_table")
    db.close()


def redis(host, port=6379):
    import redis as client
    r = client.Redis(host=host, port=port)

    def ask(operation, f, *args):
        began = time.monotonic_ns()
        try:
            log("redis", operation, "nil" if f(*args) is None else "OK", False, began)
        except client.ResponseError as e:
            log("redis", operation, str(e).split(" ")[0] if str(e)[:1].isupper() and str(e).split(" ")[0].isupper() else "ERR", True, began)

    for i in range(30):
        ask("SET", r.set, f"user:{i}", "secret")
        ask("GET", r.get, f"user:{i}")
    for i in range(5):
        ask("DEBUG SLEEP", r.execute_command, "DEBUG", "SLEEP", str(DELAY))
    for i in range(6):
        ask("INCRBY", r.incr, "user:1")
    began = time.monotonic_ns()
    p = r.pipeline(transaction=False)
    for i in range(50):
        p.get(f"user:{i}")
    p.execute()
    for i in range(50):
        log("redis", "GET", "OK" if i < 30 else "nil", False, began, piped=True)
    r.close()


def memcached(host, port=11211):
    c = socket.create_connection((host, port))
    f = c.makefile("rwb")

    def ask(command, operation, status, end, body=b"", failed=False):
        began = time.monotonic_ns()
        f.write(command + b"\r\n" + body)
        f.flush()
        line = f.readline()
        while not line.startswith(end):
            line = f.readline()
        log("memcached", operation, status, failed, began)

    for i in range(20):
        ask(b"set user:%d 0 0 6" % i, "set", "STORED", b"STORED", b"secret\r\n")
        ask(b"get user:%d" % i, "get", "HIT", b"END")
        ask(b"get nobody:%d" % i, "get", "MISS", b"END")
    for i in range(5):
        ask(b"delete nobody", "delete", "NOT_FOUND", b"NOT_FOUND")
        stalled(lambda: ask(b"touch user:1 60", "touch", "TOUCHED", b"TOUCHED"))
        ask(b"incr user:1 1", "incr", "CLIENT_ERROR", b"CLIENT_ERROR", failed=True)
    c.close()


def nats(host, port=4222):
    """A responder that takes its time, and who asks it."""
    def connect():
        s = socket.create_connection((host, port))
        f = s.makefile("rwb")
        f.readline()  # INFO
        f.write(b'CONNECT {"verbose":false,"pedantic":false}\r\n')
        f.flush()
        return f

    served = threading.Event()

    def serve():
        f = connect()
        f.write(b"SUB orders.get 1\r\nPING\r\n")
        f.flush()
        f.readline()
        served.set()
        while line := f.readline():
            if not line.startswith(b"MSG"):
                continue
            parts = line.split()
            f.readline()
            time.sleep(DELAY)
            f.write(b"PUB " + parts[3] + b" 2\r\nok\r\n")
            f.flush()

    threading.Thread(target=serve, daemon=True).start()
    served.wait(30)
    f = connect()
    f.write(b"SUB _INBOX.abc123.* 9\r\n")
    for i in range(10):
        began = time.monotonic_ns()
        f.write(b"PUB orders.get _INBOX.abc123.%d 6\r\nsecret\r\n" % i)
        f.flush()
        f.readline(), f.readline()
        log("nats", "PUB orders.get", "OK", False, began)
    began = time.monotonic_ns()
    for i in range(10):
        f.write(b"PUB events.made 6\r\nsecret\r\n")
        log("nats", "PUB events.made", "", False, began, piped=True)  # nobody answers those
    f.write(b"NONSENSE\r\n")
    f.flush()
    while not f.readline().startswith(b"-ERR"):
        pass
    log("nats", "-ERR", "Unknown Protocol Operation", True, began, piped=True)


def amqp(host, port=5672):
    import pika
    con = pika.BlockingConnection(pika.ConnectionParameters(host, port))
    ch = con.channel()
    ch.confirm_delivery()

    def ask(operation, f, *args, **kw):
        began = time.monotonic_ns()
        try:
            f(*args, **kw)
            log("amqp", operation, "OK", False, began)
        except pika.exceptions.ChannelClosedByBroker as e:
            log("amqp", operation, f"{e.reply_code} {e.reply_text.split()[0]}", True, began)

    ask("queue.declare", ch.queue_declare, "orders")
    for i in range(20):
        ask("basic.publish", ch.basic_publish, "", "orders", b"secret")
    for i in range(20):
        ask("basic.get", ch.basic_get, "orders", auto_ack=True)
    for i in range(5):
        stalled(lambda: ask("queue.purge", ch.queue_purge, "orders"))
    ask("queue.declare", con.channel().queue_declare, "no_such_queue", passive=True)
    con.close()


def dns(host, port=53):
    import dns.message
    import dns.query
    import dns.rcode
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((host, port))
    s.settimeout(5)

    def ask(name, kind, n=0):
        q = dns.message.make_query(name, kind)
        q.id = n % 50  # ids come again on one socket
        began = time.monotonic_ns()
        s.send(q.to_wire())
        r = dns.message.from_wire(s.recv(4096))
        status = dns.rcode.to_text(r.rcode())
        log("dns", kind, status, status in ("SERVFAIL", "REFUSED", "FORMERR", "NOTIMP"), began)

    for i in range(300):
        ask("db.shop.test.", "A", i)
    for i in range(20):
        ask(f"no{i}.shop.test.", "A", i)
        ask("db.shop.test.", "AAAA", i)
    for i in range(5):
        ask("refused.example.", "A", i)
        stalled(lambda: ask("db.shop.test.", "TXT", i))
    for i in range(10):
        q = dns.message.make_query("db.shop.test.", "A")
        began = time.monotonic_ns()
        dns.query.tcp(q, host, port=port, timeout=5)
        log("dns", "A", "NOERROR", False, began)


if __name__ == "__main__":
    protocol, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if protocol != "dns":
        wait_for(host, port)
        time.sleep(2.5)  # the connections that waited are told by then, with their own rows
    globals()[protocol](host, port)
