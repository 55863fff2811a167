package explain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

// row is a row with its own addresses, NAT and cookies on both ends.
func row(port, cookie int, start, end int64, reason string) string {
	return fmt.Sprintf("flow_log,host=h,proto=tcp,client=a,server=b,end_reason=%s "+
		`client_address="10.0.0.5",client_port=%di,client_cookie=%di,client_method="cookie",client_pid=7i,client_process="curl",`+
		`server_address="2001:db8::9",server_port=443i,server_nat_address="10.9.9.9",server_nat_port=80i,server_cookie=99i,server_container_id="abcdef0123",start=%di %d`,
		reason, port, cookie, start, end)
}

func lines(rows ...string) Lines {
	return func(fn func([]byte) error) error {
		for _, r := range rows {
			if err := fn([]byte(r)); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestTerms(t *testing.T) {
	line := row(40000, 1234567, 100, 200, "end")
	r, err := ParseRow([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	for words, want := range map[string]bool{
		"":                              true,
		"1234567":                       true,
		"0x12d687":                      true,
		"0x12d688":                      false,
		"99":                            true, // a small cookie
		"443":                           true,
		":443":                          true,
		":99":                           false,
		"80":                            true, // before translation
		"444":                           false,
		"10.0.0.5":                      true,
		"10.0.0.6":                      false,
		"10.0.0.5:40000":                true,
		"10.0.0.5:40001":                false,
		"2001:db8::9":                   true,
		"[2001:db8::9]":                 true,
		"[2001:db8::9]:443":             true,
		"[2001:DB8:0::9]:443":           true,
		"::ffff:10.0.0.5":               true,
		"10.0.0.5:40000 10.9.9.9:80":    true,
		"10.9.9.9:80 10.0.0.5:40000":    true,
		"10.9.9.9:80 [2001:db8::9]:443": false, // both are the server
		"40000 443":                     true,
		"40000 40000":                   false,
	} {
		var s Selector
		if err := s.Terms(strings.Fields(words)); err != nil {
			t.Errorf("%q: %v", words, err)
			continue
		}
		if got := s.Match(r); got != want {
			t.Errorf("%q matches: %v", words, got)
		}
		if want && !s.maybe([]byte(line)) {
			t.Errorf("%q is refused unparsed", words)
		}
	}
	for _, bad := range []string{"x", "0x", "0x0", "0", "-1", ":0", ":65536", "1.2.3.4:99999", "fe80::1%eth0", "1 2 3", "10.0.0.300"} {
		if err := new(Selector).Terms(strings.Fields(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestCould(t *testing.T) {
	a, b := flows.Addr{10: 0xff, 11: 0xff, 12: 10, 15: 5}, flows.Addr{0: 0x20, 1: 0x01, 15: 9}
	sides := []correlate.Side{{Addr: a, Port: 40000, Cookie: 5000000}, {Addr: b, Port: 443}}
	for words, want := range map[string]bool{"": true, "10.0.0.5 443": true, "5000000": true, "5000001": false, "10.0.0.5:443": false, "40000 444": false} {
		var s Selector
		if err := s.Terms(strings.Fields(words)); err != nil {
			t.Fatal(err)
		}
		if got := s.Could(sides); got != want {
			t.Errorf("%q: %v", words, got)
		}
	}
}

func TestFind(t *testing.T) {
	all := lines(
		row(1, 10, 100, 200, "active"), row(1, 10, 100, 300, "active"), row(1, 10, 90, 350, "end"), // its start was found to be earlier
		row(1, 10, 90, 400, "active"),                  // the probe was asked a moment before the end was written
		row(1, 10, 500, 600, "end"),                    // the same sockets again
		row(2, 20, 150, 160, "end"), "flow,x=y a=1i 1", // another measurement
		"flow_log,broken", row(3, 30, 700, 700, "end"), row(3, 30, 700, 700, "end"), // delivered twice
	)
	f, err := Find(all, &Selector{}, 10)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range f.Connections {
		got = append(got, fmt.Sprint(c.Last().Time, "/", len(c.Rows)))
	}
	if want := "700/1 600/1 350/3 160/1"; strings.Join(got, " ") != want {
		t.Errorf("found %v, want %s", got, want)
	}
	if f.Malformed != 1 || f.Rows != 8 || f.Oldest != 160 || f.Newest != 700 || f.More {
		t.Errorf("%+v", f)
	}
	f, err = Find(all, &Selector{From: 250, To: 450}, 10)
	if err != nil || len(f.Connections) != 1 || f.Connections[0].Last().Time != 350 {
		t.Errorf("in a window: %+v, %v", f, err)
	}
	if f, err = Find(all, &Selector{}, 2); err != nil || len(f.Connections) != 2 || !f.More {
		t.Errorf("with a limit: %+v, %v", f, err)
	}
	if _, err = Find(all, &Selector{From: 2, To: 1}, 2); err == nil {
		t.Error("a window that ends before it begins is taken")
	}
}

// A search keeps no more than its limit, however much matches.
func TestFindIsBounded(t *testing.T) {
	f, err := Find(func(fn func([]byte) error) error {
		for i := range 20000 {
			if err := fn([]byte(row(i%60000+1, i+100000, int64(i), int64(i)+1, "end"))); err != nil {
				return err
			}
		}
		return nil
	}, &Selector{}, 5)
	if err != nil || len(f.Connections) != 5 || f.Connections[0].Last().Time != 20000 || f.Connections[4].Last().Time != 19996 || !f.More {
		t.Errorf("%+v, %v", f, err)
	}
}

func FuzzTerms(f *testing.F) {
	for _, s := range []string{"443", "0x1f", "[::1]:80 10.0.0.1", ":1", "18446744073709551616", "::ffff:1.2.3.4"} {
		f.Add(s)
	}
	r, err := ParseRow([]byte(row(40000, 1234567, 100, 200, "end")))
	if err != nil {
		f.Fatal(err)
	}
	line := []byte(row(40000, 1234567, 100, 200, "end"))
	f.Fuzz(func(t *testing.T, words string) {
		var s Selector
		if s.Terms(strings.Fields(words)) != nil {
			return
		}
		if s.Match(r) && !s.maybe(line) {
			t.Errorf("%q matches what it refuses unparsed", words)
		}
	})
}

// Whatever a row holds, what is printed moves no cursor and is valid JSON.
func FuzzRow(f *testing.F) {
	f.Add([]byte(row(1, 2, 3, 4, "end")))
	f.Add([]byte("flow_log,proto=udp,client=\xc2\x9b client_process=\"\x1b[2J\",client_owner_event=\"\\\"x\",client_pid=1i 5"))
	f.Add([]byte("flow_log,a=b server_port=-5i,start=9223372036854775807i,duration_seconds=NaN -9223372036854775808"))
	f.Fuzz(func(t *testing.T, line []byte) {
		found, err := Find(lines(string(line), row(1, 2, 3, 4, "end")), &Selector{}, 5)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := List(&b, found.Connections); err != nil {
			t.Fatal(err)
		}
		var all []*Explanation
		for _, c := range found.Connections {
			x := Explain(c, found.Connections)
			all = append(all, x)
			if err := x.Write(&b); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range b.String() {
			if r != '\n' && !unicode.IsGraphic(r) {
				t.Fatalf("%U is printed: %q", r, b.String())
			}
		}
		b.Reset()
		if err := JSON(&b, all); err != nil {
			t.Fatal(err)
		}
		if !json.Valid(b.Bytes()) {
			t.Fatalf("not JSON: %s", b.Bytes())
		}
		for _, r := range b.String() {
			if r != '\n' && !unicode.IsGraphic(r) {
				t.Fatalf("%U is in the JSON: %q", r, b.String())
			}
		}
	})
}

// What a sockmap passed is said beside what packets carried.
func TestRedirected(t *testing.T) {
	r, err := ParseRow([]byte(`flow_log,host=h,proto=tcp,end_reason=end to_server_packets=3i,packets_by="cookie",redirected=1i 1`))
	if err != nil {
		t.Fatal(err)
	}
	if got := packets(r); !strings.HasPrefix(got, "found the socket by its cookie; ") || !strings.Contains(got, "sockmap") {
		t.Errorf("%q", got)
	}
}
