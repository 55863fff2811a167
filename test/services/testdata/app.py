"""The HTTP server behind nginx: some answers are slow, some fail."""
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DELAY = 0.1


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer is one write: two would wait for the client's delayed ACK

    def answer(self, status, body=b"ok\n"):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "session=s3cret")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/slow":
            time.sleep(DELAY)
        if path == "/fail":
            self.answer(500)
        elif path == "/missing":
            self.answer(404)
        elif path == "/big":
            self.answer(200, b"x" * 300000)
        elif path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for n in range(5):
                self.wfile.write(b"400\r\n" + b"y" * 0x400 + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.answer(200)

    do_HEAD = do_GET

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(201)

    def log_message(self, *args):
        pass


ThreadingHTTPServer(("", int(sys.argv[1])), App).serve_forever()
