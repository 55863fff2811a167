package cases

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-probe/weir/test/probe"
)

// l7Children are a web server whose answers take as long as the path says, and a
// client that times them.
var l7Children = map[string]func(args []string) error{"web": beWeb, "browse": browse, "resolver": beResolver, "resolve": resolve}

// beWeb serves on an address: /wait/MS answers after MS milliseconds, /fail/MS with
// status 500; with ?SIZE that many octets.
func beWeb(args []string) error {
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	fmt.Println(port)
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		what, ms, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		n, _ := strconv.Atoi(ms)
		time.Sleep(time.Duration(n) * time.Millisecond)
		if what == "fail" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		size, _ := strconv.Atoi(r.URL.RawQuery)
		w.Write(make([]byte, max(size, 1)))
	}))
}

// browse asks ADDRESS keep|close MS COUNT SIZE: each fifth request fails. It prints how
// many there were, how many connections, and the sum and the smallest of the
// response times in ns: request written to first octet of the answer.
func browse(args []string) error {
	ms, _ := strconv.Atoi(args[2])
	count, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: args[1] == "close"}}
	var sum, smallest time.Duration
	var connections int
	for i := range count {
		what := "wait"
		if i%5 == 4 {
			what = "fail"
		}
		var wrote time.Time
		var took time.Duration
		ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
			GotConn: func(c httptrace.GotConnInfo) {
				if !c.Reused {
					connections++
				}
			},
			WroteRequest:         func(httptrace.WroteRequestInfo) { wrote = time.Now() },
			GotFirstResponseByte: func() { took = time.Since(wrote) },
		})
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/%s/%d?%s", args[0], what, ms, args[4]), nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(r)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			return err
		}
		answer.Body.Close()
		if sum += took; smallest == 0 || took < smallest {
			smallest = took
		}
	}
	client.CloseIdleConnections()
	fmt.Println(count, connections, int64(sum), int64(smallest))
	return nil
}

// clientSays is what a client says of its requests.
type clientSays struct {
	count, connections int64
	sum, smallest      float64 // seconds
}

func (p *process) asked() (a clientSays) {
	p.t.Helper()
	line := p.line()
	if _, err := fmt.Sscan(line, &a.count, &a.connections, &a.sum, &a.smallest); err != nil {
		p.t.Fatalf("client says %q: %v", line, err)
	}
	a.sum, a.smallest = a.sum/1e9, a.smallest/1e9
	return a
}

// A real web server and its client: every request is counted once, the failed ones
// as such, and the response times are what the client measured.
func TestL7_HTTP(t *testing.T) {
	_, rows := own(t) // in which the port is not past the 64 that a server has by name
	b := newPair(t, 77)
	type run struct {
		mode   string
		ms     int
		count  int
		size   int
		port   int
		client *process
		said   clientSays
	}
	var runs []*run
	for _, mode := range []string{"keep", "close"} {
		for _, ms := range []int{2, 10, 50} {
			r := &run{mode: mode, ms: ms, count: 40}
			if ms == 10 {
				r.size = 100_000 // of which the kernel copies the beginning
			}
			web := spawn(t, b.far, "web", b.there+":0")
			r.port = web.number()
			runs = append(runs, r)
		}
	}
	for _, r := range runs { // one after the other: they would disturb each other's times
		r.client = spawn(t, b.near, "browse", net.JoinHostPort(b.there, strconv.Itoa(r.port)), r.mode, strconv.Itoa(r.ms), strconv.Itoa(r.count), strconv.Itoa(r.size))
		r.said = r.client.asked()
		r.client.ended()
	}
	for _, r := range runs {
		t.Run(fmt.Sprintf("%s %dms", r.mode, r.ms), func(t *testing.T) {
			mine := func(x row) bool {
				return x.tag("server_port") == strconv.Itoa(r.port) && x.time >= b.made
			}
			got := l7Sums(t, rows, mine, r.said.count)
			if got.requests != r.said.count || got.errors != r.said.count/5 || got.requestErrors != got.errors {
				t.Errorf("%d requests, %d failed (%d in flow_error), want %d and %d", got.requests, got.errors, got.requestErrors, r.said.count, r.said.count/5)
			}
			if got.statuses["200"] != r.said.count-r.said.count/5 || got.statuses["500"] != r.said.count/5 {
				t.Errorf("by status: %v", got.statuses)
			}
			if got.timed != r.said.count {
				t.Errorf("%d answers timed, want %d", got.timed, r.said.count)
			}
			least := float64(r.ms) / 1000
			for what, d := range map[string]times{"flow_latency": got.byLatency, "l7": got.byMessages} {
				if d.sum < least*float64(r.said.count) || d.sum > r.said.sum {
					t.Errorf("%s: %v s in all, the server slept %v s and the client waited %v s", what, d.sum, least*float64(r.said.count), r.said.sum)
				}
				if off := r.said.smallest - d.smallest; off < 0 || off > max(0.05*r.said.smallest, 200e-6) {
					t.Errorf("%s: the fastest took %v s, for the client %v s", what, d.smallest, r.said.smallest)
				}
			}
			ended := rows.final(t, int(r.said.connections), both(b.mine, serverPort(r.port)))
			var requests, responses int64
			for _, x := range ended {
				requests += x.num("requests")
				responses += x.num("response_count")
				want(t, x, map[string]any{"l7": "http"})
			}
			if requests != r.said.count || responses != r.said.count {
				t.Errorf("flow_log has %d requests and %d responses, want %d", requests, responses, r.said.count)
			}
		})
	}
}

type times struct{ sum, smallest float64 }

func (d *times) add(x row) {
	sum, _ := x.fields["response_sum_seconds"].(float64)
	d.sum += sum
	if least, ok := x.fields["response_min_seconds"].(float64); ok && (d.smallest == 0 || least < d.smallest) {
		d.smallest = least
	}
}

type l7Sum struct {
	requests, errors, requestErrors, timed int64
	statuses                               map[string]int64
	byLatency, byMessages                  times
}

// l7Sums waits for the rows of that many requests, gives more of them two intervals
// to show up, and adds them up.
func l7Sums(t *testing.T, rows *rows, mine func(row) bool, count int64) l7Sum {
	t.Helper()
	probe.Until(t, patience, fmt.Sprintf("%d requests in l7", count), func() error {
		var n int64
		for _, x := range rows.all(t, "l7", mine) {
			n += x.num("requests")
		}
		if n < count {
			return errors.New(strconv.FormatInt(n, 10) + " so far")
		}
		return nil
	})
	rows.settle(t)
	s := l7Sum{statuses: map[string]int64{}}
	for _, x := range rows.all(t, "l7", mine) {
		if x.tag("l7") != "http" || x.tag("reporter") != "both" {
			t.Errorf("row %v", x)
		}
		s.requests += x.num("requests")
		s.errors += x.num("errors")
		s.statuses[x.tag("status")] += x.num("requests")
		s.byMessages.add(x)
	}
	for _, x := range rows.all(t, "flow_error", mine) {
		s.requestErrors += max(x.num("request_errors"), 0)
	}
	for _, x := range rows.all(t, "flow_latency", mine) {
		s.timed += max(x.num("response_count"), 0)
		s.byLatency.add(x)
	}
	return s
}
