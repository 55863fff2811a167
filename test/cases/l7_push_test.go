package cases

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"testing"
	"time"
)

// pushChildren are a server that speaks when it likes, over a WebSocket or in NATS, and
// a client that listens to it and says something each time.
var pushChildren = map[string]func(args []string) error{"push": bePush, "listen": beListener}

// said is one end's part in a protocol of pushes. Lengths are in octets: of what the
// other end says.
type pushProtocol struct {
	greeting            string
	question, answer    string // of answers, requests many
	requests            int64
	subscribe           string
	push, reply         string
	streaming, overlaps int64
}

var pushProtocols = map[string]pushProtocol{
	"websocket": {
		question: "GET /news HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
		answer:   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", requests: 1, streaming: 1,
		push: "\x81\x04news", reply: "\x8a\x80abcd",
	},
	"nats": {
		greeting: `INFO {"server_id":"NA","version":"2.10","max_payload":1048576}` + "\r\n",
		question: `CONNECT {"verbose":false,"lang":"go"}` + "\r\nPING\r\n", answer: "PONG\r\n", requests: 2, overlaps: 2,
		subscribe: "SUB news 1\r\n", push: "MSG news 1 5\r\nhello\r\n", reply: "PUB seen 2\r\nhi\r\n",
	},
}

// bePush serves one connection on ADDRESS by PROTOCOL: it pushes COUNT times, each time
// after MS.
func bePush(args []string) error {
	p := pushProtocols[args[1]]
	pause, _ := strconv.Atoi(args[2])
	count, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	fmt.Println(port)
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	r := bufio.NewReader(c)
	if err := talk(c, r, p.greeting, p.question); err != nil {
		return err
	}
	if err := talk(c, r, p.answer, p.subscribe); err != nil {
		return err
	}
	for range count {
		time.Sleep(time.Duration(pause) * time.Millisecond)
		if err := talk(c, r, p.push, p.reply); err != nil {
			return err
		}
	}
	return nil
}

// talk says something and waits for what the other end has to say to it.
func talk(c net.Conn, r io.Reader, say, hear string) error {
	if _, err := io.WriteString(c, say); err != nil {
		return err
	}
	heard := make([]byte, len(hear))
	if _, err := io.ReadFull(r, heard); err != nil || string(heard) != hear {
		return fmt.Errorf("%q: %w", heard, err)
	}
	return nil
}

// beListener is the client of bePush at ADDRESS by PROTOCOL, COUNT times. It prints how
// long it waited for the one answer, and at least for a push, in ns.
func beListener(args []string) error {
	p := pushProtocols[args[1]]
	count, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	c, err := net.Dial("tcp", args[0])
	if err != nil {
		return err
	}
	defer c.Close()
	r := bufio.NewReader(c)
	if err := talk(c, r, "", p.greeting); err != nil {
		return err
	}
	start := time.Now()
	if err := talk(c, r, p.question, p.answer); err != nil {
		return err
	}
	answered, shortest := time.Since(start), time.Hour
	last := p.subscribe
	for range count {
		start = time.Now()
		if err := talk(c, r, last, p.push); err != nil {
			return err
		}
		shortest = min(shortest, time.Since(start))
		last = p.reply
	}
	if _, err := io.WriteString(c, last); err != nil {
		return err
	}
	fmt.Println(int64(answered), int64(shortest))
	_, err = io.Copy(io.Discard, r)
	return err
}

// What a server says by itself answers nobody: the time since the client spoke last is
// not a response time.
func TestL7_Push(t *testing.T) {
	_, rows := own(t)
	b := newPair(t, 79)
	const pause, count = 300, 5
	for name, p := range pushProtocols {
		t.Run(name, func(t *testing.T) {
			server := spawn(t, b.far, "push", b.there+":0", name, strconv.Itoa(pause), strconv.Itoa(count))
			port := server.number()
			client := spawn(t, b.near, "listen", net.JoinHostPort(b.there, strconv.Itoa(port)), name, strconv.Itoa(count))
			var answered, shortest int64
			if _, err := fmt.Sscan(client.line(), &answered, &shortest); err != nil {
				t.Fatal(err)
			}
			client.ended()
			if shortest < pause*1e6 {
				t.Fatalf("a push came after %d ns", shortest)
			}
			ended := rows.final(t, 1, both(b.mine, serverPort(port)))
			want(t, ended[0], map[string]any{"response_count": int(p.requests)})
			rows.settle(t)
			var responses, streaming, overlapped int64
			var longest float64
			for _, x := range rows.all(t, "flow_latency", func(x row) bool { return x.tag("server_port") == strconv.Itoa(port) && x.time >= b.made }) {
				responses += max(x.num("response_count"), 0)
				streaming += max(x.num("streaming"), 0)
				overlapped += max(x.num("overlapped"), 0)
				if m, ok := x.fields["response_max_seconds"].(float64); ok {
					longest = max(longest, m)
				}
			}
			if responses != p.requests || streaming != p.streaming || overlapped != p.overlaps {
				t.Errorf("%d responses, %d streaming, %d overlapped, want %d, %d and %d", responses, streaming, overlapped, p.requests, p.streaming, p.overlaps)
			}
			if longest <= 0 || longest*1e9 > float64(answered) {
				t.Errorf("the slowest answer took %v s; the client waited %v s for it, and at least %v s for each push", longest, float64(answered)/1e9, float64(shortest)/1e9)
			}
		})
	}
}
