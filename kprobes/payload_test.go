package kprobes

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
	"unsafe"

	"github.com/weir-probe/weir/bpf"
)

var payloadHooks = []string{"payload_egress", "payload_ingress"}

// of returns what was told of the socket with these ports.
func (r *recorder) payload(local, remote uint16) (out []PayloadEvent) {
	cookie := uint64(0) // the ports stand in a stream's first record
	for _, e := range r.loads {
		if e.Key.SrcPort == local && e.Key.DstPort == remote {
			cookie = e.Cookie
		}
		if e.Cookie == cookie {
			out = append(out, e)
		}
	}
	return out
}

// pipe is a connection within this process: client and server end.
func pipe(t testing.TB, network, addr string) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Skipf("listen on %s: %v", addr, err)
	}
	defer l.Close()
	if client, err = net.Dial(network, l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

// pass sends b from one end to the other.
func pass(t testing.TB, from io.Writer, to io.Reader, b []byte) {
	t.Helper()
	done := make(chan error, 1)
	go func() { _, err := from.Write(b); done <- err }()
	if _, err := io.ReadFull(to, make([]byte, len(b))); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestKernelPayload: of each turn the first octets, of the turn before how long it
// was and when, at both ends.
func TestKernelPayload(t *testing.T) {
	f := start(t, Config{Payload: true})
	f.need(payloadHooks...)
	for _, x := range []struct{ network, addr string }{{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}} {
		t.Run(x.network, func(t *testing.T) {
			client, server := pipe(t, x.network, x.addr)
			big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
			pass(t, client, server, []byte("first question"))
			pass(t, server, client, big)
			pass(t, client, server, []byte("second"))
			pass(t, server, client, []byte("answer"))
			cp, sp := ports(client)
			for _, end := range []struct {
				name  string
				local uint16
				out   [4]bool
			}{{"client", cp, [4]bool{true, false, true, false}}, {"server", sp, [4]bool{false, true, false, true}}} {
				var turns, all []PayloadEvent
				f.until("turns of the "+end.name, f.drain, func() bool {
					all, turns = f.payload(end.local, cp+sp-end.local), nil
					for _, e := range all {
						if e.Turn {
							turns = append(turns, e)
						}
					}
					return len(turns) >= 4
				})
				f.drain()
				if len(turns) != 4 {
					t.Fatalf("%s: %d turns", end.name, len(turns))
				}
				for i, want := range []string{"first question", string(big[:len(turns[1].Data)]), "second", "answer"} {
					e := &turns[i]
					if string(e.Data) != want || e.Out != end.out[i] || e.Cookie == 0 || e.Cookie != turns[0].Cookie || e.Time == 0 {
						t.Errorf("%s: turn %d is %.60q, out %v, of %d; want %.60q", end.name, i, e.Data, e.Out, e.Cookie, want)
					}
					if role := map[string]Role{"client": RoleClient, "server": RoleServer}[end.name]; e.Role != role {
						t.Errorf("%s: turn %d has role %d", end.name, i, e.Role)
					}
				}
				for i, want := range []uint64{0, 14, 1 << 20, 6} {
					e := &turns[i]
					if e.PrevOctets != want || i > 0 && (e.PrevFirst == 0 || e.PrevLast < e.PrevFirst || e.Time < e.PrevLast) {
						t.Errorf("%s: turn %d ends one of %d octets, want %d: %+v", end.name, i, e.PrevOctets, want, *e)
					}
					if i >= 2 && e.PrevNextSeq != turns[i-1].Seq+uint32(want) {
						t.Errorf("%s: turn %d: next is %d after %d and %d octets", end.name, i, e.PrevNextSeq, turns[i-1].Seq, want)
					}
				}
				copied := 0
				for _, e := range all {
					if e.Seq-turns[1].Seq < 1<<20 {
						if at := int(e.Seq - turns[1].Seq); !bytes.Equal(e.Data, big[at:at+len(e.Data)]) {
							t.Errorf("%s: wrong octets at %d", end.name, at)
						}
						copied += len(e.Data)
					}
				}
				if copied > maxPayloadOctets || copied < 1024 {
					t.Errorf("%s: %d octets of 1 MiB were copied", end.name, copied)
				}
			}
		})
	}
	if st := f.set.PayloadStats(); st.Lost != 0 || st.NoStorage != 0 || st.Records == 0 || st.Copied == 0 {
		t.Errorf("%+v", st)
	}
}

// TestKernelPayloadWants: what user space does not want is not told, from the next
// turn on.
func TestKernelPayloadWants(t *testing.T) {
	f := start(t, Config{Payload: true, PayloadOctets: 8})
	f.need(payloadHooks...)
	client, server := pipe(t, "tcp4", "127.0.0.1:0")
	cp, sp := ports(client)
	talk := func() {
		pass(t, client, server, []byte("question"))
		pass(t, server, client, []byte("a long answer"))
	}
	talk()
	f.until("payload", f.drain, func() bool { return len(f.payload(cp, sp)) >= 2 && len(f.payload(sp, cp)) >= 2 })
	if e := f.payload(cp, sp)[1]; string(e.Data) != "a long a" || e.Len != 13 {
		t.Errorf("%q of %d octets", e.Data, e.Len)
	}
	for _, step := range []struct {
		want PayloadWant
		n    int // of records per talk at the client's end
		data int
	}{{PayloadTurns, 2, 0}, {PayloadFull, 2, 16}, {PayloadOff, 0, 0}} {
		for _, c := range []uint64{f.payload(cp, sp)[0].Cookie, f.payload(sp, cp)[0].Cookie} {
			if err := f.set.SetPayload(c, step.want); err != nil {
				t.Fatal(err)
			}
		}
		f.drain()
		before := len(f.payload(cp, sp))
		talk()
		talk() // the end of what is wanted of this one is seen by a third connection
		c2, s2 := pipe(t, "tcp4", "127.0.0.1:0")
		pass(t, c2, s2, []byte("mark"))
		p2, q2 := ports(c2)
		f.until("the mark", f.drain, func() bool { return len(f.payload(p2, q2)) == 1 })
		got := f.payload(cp, sp)[before:]
		octets := 0
		for _, e := range got {
			octets += len(e.Data)
		}
		if len(got) != 2*step.n || octets != 2*step.data {
			t.Errorf("want %d: %d records with %d octets of two talks", step.want, len(got), octets)
		}
	}
}

// TestKernelPayloadDatagrams: DNS and the beginning of QUIC, and nothing else.
func TestKernelPayloadDatagrams(t *testing.T) {
	f := start(t, Config{Payload: true})
	f.need(payloadHooks...)
	query := []byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x07example\x00\x00\x01\x00\x01")
	initial := append([]byte{0xc3, 0, 0, 0, 1}, make([]byte, 1195)...)
	refusal := initial[:48]                                       // closes the connection: no padding
	handshake := append([]byte{0xe3, 0, 0, 0, 1}, initial[5:]...) // of keys that nobody has
	other := append([]byte{0xc3, 0, 0, 0, 5}, initial[5:]...)     // version
	told := [][]byte{query, append([]byte{}, initial...), refusal}
	server := listenUDP(t, "udp4", "127.0.0.1:0")
	client, err := net.Dial("udp4", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, b := range [][]byte{[]byte("no DNS at all, only text"), query[:12], handshake, other, told[0], told[1], told[2]} {
		if _, err := client.Write(b); err != nil {
			t.Fatal(err)
		}
		receive(t, server, 1, nil)
	}
	cp, sp := ports(client)
	for _, end := range []uint16{cp, sp} {
		f.until("datagrams", f.drain, func() bool { return len(f.payload(end, cp+sp-end)) >= len(told) })
		got := f.payload(end, cp+sp-end)
		if len(got) != len(told) || !bytes.Equal(got[0].Data, query) || !bytes.Equal(got[1].Data, initial) || !bytes.Equal(got[2].Data, refusal) {
			t.Fatalf("%d datagrams at port %d: %+v", len(got), end, got)
		}
		if e := &got[0]; !e.Turn || e.Out != (end == cp) || e.Cookie == 0 || e.Len != uint32(len(query)) {
			t.Errorf("%+v", *e)
		}
	}
}

// TestKernelPayloadMidStream: a connection older than the probe begins in the
// middle; what a ring too full for it has lost is counted and does no harm.
func TestKernelPayloadMidStream(t *testing.T) {
	requireRoot(t)
	client, server := pipe(t, "tcp4", "127.0.0.1:0")
	pass(t, client, server, []byte("before"))
	f := start(t, Config{Payload: true})
	f.need(payloadHooks...)
	pass(t, server, client, []byte("reply"))
	cp, sp := ports(client)
	f.until("payload", f.drain, func() bool { return len(f.payload(cp, sp)) == 1 && len(f.payload(sp, cp)) == 1 })
	e := f.payload(cp, sp)[0]
	if string(e.Data) != "reply" || !e.Turn || e.Out || e.PrevOctets != 0 {
		t.Errorf("%+v", e)
	}
	// Never drained: the ring fills up, and every record is told or counted.
	before := f.set.PayloadStats()
	b := bytes.Repeat([]byte("x"), 4096)
	for range 3000 {
		pass(t, client, server, b)
		pass(t, server, client, b[:1])
	}
	st := f.set.PayloadStats()
	if st.Lost == before.Lost || st.Records == before.Records {
		t.Fatalf("%+v", st)
	}
	told := st.Records - before.Records
	n := uint64(0)
	for more := true; more; more = len(f.loads) > int(n) {
		n = uint64(len(f.loads))
		f.drain()
	}
	if n = uint64(len(f.payload(cp, sp)) + len(f.payload(sp, cp)) - 2); n > told {
		t.Errorf("%d records of %d", n, told)
	}
	pass(t, client, server, []byte("after"))
	f.until("payload after the loss", f.drain, func() bool {
		p := f.payload(cp, sp)
		return bytes.Equal(p[len(p)-1].Data, []byte("after"))
	})
}

// BenchmarkPayloadDecode: nothing is allocated per record.
func TestPayloadDecode(t *testing.T) {
	var d decoder
	w := wirePayload{wireHeader: wireHeader{Type: recPayload}, DataLen: 5, Proto: 6, Flags: payloadTurn, PrevOctets: 7}
	w.Len = uint32(wirePayloadSize + 5)
	b := append(append([]byte{}, unsafe.Slice((*byte)(unsafe.Pointer(&w)), wirePayloadSize)...), "hello and what the ring rounds up to"...)
	var r recorder
	d.next(b, &r)
	if len(r.loads) != 1 || string(r.loads[0].Data) != "hello" || d.errors != 0 {
		t.Errorf("%+v, %d errors", r.loads, d.errors)
	}
	if r.loads[0].Plain || r.loads[0].Out || !r.loads[0].Turn {
		t.Errorf("flags: %+v", r.loads[0])
	}
	w.Flags = payloadPlain | payloadOut
	d.next(append(append([]byte{}, unsafe.Slice((*byte)(unsafe.Pointer(&w)), wirePayloadSize)...), "hello"...), &r)
	if e := r.loads[1]; !e.Plain || !e.Out || e.Turn {
		t.Errorf("flags: %+v", e)
	}
	s := &silent{}
	if n := testing.AllocsPerRun(100, func() { d.next(b, s) }); n != 0 || s.n == 0 {
		t.Errorf("%v allocations, %d events", n, s.n)
	}
	for i := range b[:w.Len] {
		d.next(b[:i], s)
	}
	if d.errors != uint64(w.Len) {
		t.Errorf("%d of %d cut records are errors", d.errors, w.Len)
	}
}

// silent keeps nothing.
type silent struct {
	recorder
	n int
}

func (s *silent) Payload(*PayloadEvent) { s.n++ }

// TestPayloadStatsOrder: the Go counters are as many as enum l7_stat has.
func TestPayloadStatsOrder(t *testing.T) {
	spec, err := bpf.LoadL7()
	if err != nil {
		t.Fatal(err)
	}
	if n := spec.Maps["l7_stats"].MaxEntries; n != payloadStats {
		t.Errorf("the kernel has %d counters, Go %d", n, payloadStats)
	}
	var st PayloadStats
	for i, p := range st.kernel() {
		*p = uint64(i + 1)
	}
	if fmt.Sprint(st) != fmt.Sprint(PayloadStats{1, 2, 3, 4, 5, 6, 7, 0}) {
		t.Errorf("out of order: %+v", st)
	}
}

// TestKernelPayloadSampled: where there are more exchanges than there is time for, whole
// ones are skipped and counted; told and skipped are all of them, also at the end.
func TestKernelPayloadSampled(t *testing.T) {
	f := start(t, Config{Payload: true, PayloadRate: 1}) // one per window and CPU
	f.need(payloadHooks...)
	client, server := pipe(t, "tcp4", "127.0.0.1:0")
	cp, sp := ports(client)
	exchange := func() {
		pass(t, client, server, []byte("question"))
		pass(t, server, client, []byte("answer"))
	}
	exchange()
	f.until("the first exchange", f.drain, func() bool { return len(f.payload(sp, cp)) == 2 })
	for local, want := range map[uint16]PayloadWant{sp: PayloadSampleIn, cp: PayloadSampleOut} {
		if err := f.set.SetPayload(f.payload(local, cp+sp-local)[0].Cookie, want); err != nil {
			t.Fatal(err)
		}
	}
	const n = 2000
	for range n {
		exchange()
	}
	client.Close()
	if _, err := server.Read(make([]byte, 1)); err != io.EOF {
		t.Fatal(err)
	}
	for _, local := range []uint16{sp, cp} {
		var asked, answered, skipped, pauses, resumes int
		f.until("all exchanges", f.drain, func() bool {
			asked, answered, skipped, pauses, resumes = 0, 0, 0, 0, 0
			for _, e := range f.payload(local, cp+sp-local) {
				switch string(e.Data) {
				case "question":
					asked++
				case "answer":
					answered++
				case "":
					if e.Pauses && (!e.Turn || e.PrevOctets != 6 || e.Len != 0) {
						t.Fatalf("skipping begins with %+v", e)
					}
				default:
					t.Fatalf("%q", e.Data)
				}
				skipped += int(e.Skipped)
				if e.Pauses {
					pauses++
				}
				if e.Resumes {
					resumes++
				}
				if e.Resumes && e.Len > 0 && (string(e.Data) != "question" || e.PrevOctets != 6) {
					t.Fatalf("skipping ends with %+v", e)
				}
			}
			return asked+skipped == n+1
		})
		if answered != asked || skipped < n/2 || pauses == 0 || resumes != pauses {
			t.Errorf("port %d: %d asked, %d answered, %d skipped, %d pauses, %d resumes", local, asked, answered, skipped, pauses, resumes)
		}
	}
	if st := f.set.PayloadStats(); st.Skipped < n || st.Lost != 0 {
		t.Errorf("%+v", st)
	}
}
