package selftest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

const (
	nsClient, nsServer = 11, 12
	cid, sid           = "c0", "50"
)

var testMix = []situation{{name: "plain"}, {name: "refused"}, {name: "passed-on"}, {name: "dnat"}}

// happened is a small run: ten connections that use one client port one after
// the other, one that is refused, one passed on and one translated; and the rows
// that are right.
func happened() (truths []Truth, rows []Row) {
	add := func(situation string, c, s Truth, nat netip.AddrPort) {
		id := uint64(len(truths) + 1)
		c.ID, c.Situation, c.Role, c.Proto, c.NetNS, c.Container = id, situation, Client, "tcp", nsClient, cid
		row := Row{Proto: "tcp", Reporter: "both", Cause: "normal", Start: c.Start + 1000, Final: true}
		row.Octets = [2]int64{Client: c.Received, Server: c.Sent}
		row.Ends[Client] = RowEnd{Addr: c.Local, PID: c.User.PID, Start: c.User.Start + tick/2, NetNS: nsClient, Container: cid, Method: "cookie"}
		truths = append(truths, c)
		if c.Refused {
			row.Cause, row.Ends[Server] = "refused", RowEnd{Addr: c.Remote}
		} else {
			s.ID, s.Role, s.Proto, s.NetNS, s.Container, s.Remote, s.Start = id, Server, "tcp", nsServer, sid, c.Local, c.Start+500
			s.Sent, s.Received = c.Received, c.Sent
			row.Ends[Server] = RowEnd{Addr: s.Local, NAT: nat, PID: s.User.PID, Start: s.User.Start, Creator: s.Creator.PID, NetNS: nsServer, Container: sid, Method: "cookie"}
			truths = append(truths, s)
		}
		rows = append(rows, row)
	}
	client, server := Process{PID: 100, Start: 5e9}, Process{PID: 200, Start: 6e9}
	for i := range 10 {
		t := int64(1e12) + int64(i)*1e8
		add("plain", Truth{User: client, Local: at("10.0.0.1", 40000), Remote: at("10.0.0.2", 80), Start: t, Sent: 100 + int64(i), Received: 1000},
			Truth{User: server, Local: at("10.0.0.2", 80)}, netip.AddrPort{})
	}
	add("refused", Truth{User: client, Local: at("10.0.0.1", 40001), Remote: at("10.0.0.2", 81), Start: 1e12, Refused: true}, Truth{}, netip.AddrPort{})
	add("passed-on", Truth{User: client, Local: at("10.0.0.1", 40002), Remote: at("10.0.0.2", 82), Start: 1e12, Sent: 7, Received: 8},
		Truth{User: Process{PID: 201, Start: 7e9}, Creator: server, Local: at("10.0.0.2", 82)}, netip.AddrPort{})
	add("dnat", Truth{User: client, Local: at("10.0.0.1", 40003), Remote: at("10.0.0.9", 8080), Start: 1e12, Sent: 7, Received: 8},
		Truth{User: server, Local: at("10.0.0.2", 80)}, at("10.0.0.9", 8080))
	return truths, rows
}

func inTest(r *Row) bool {
	return slices.ContainsFunc(r.Ends[:], func(e RowEnd) bool { return e.NetNS == nsClient || e.NetNS == nsServer })
}

func TestCheckOfWhatIsRight(t *testing.T) {
	truths, rows := happened()
	// Of others, of a kind that nobody made, and not told to the end yet.
	stranger, ping, beat := rows[0], rows[0], rows[0]
	stranger.Ends[Client].NetNS, stranger.Ends[Server].NetNS = 1, 1
	ping.Proto = "icmp"
	beat.Final = false
	slices.Reverse(rows)
	l := check(testMix, truths, append(rows, stranger, ping, beat), inTest)
	want := Count{Made: 13, Seen: 13, Ends: 25, Attributed: 25, Octets: 1045 + 10000 + 30}
	if got := l.Total(); got != want || l.Extra != 0 || !l.OK() || len(l.Broken) != 0 {
		t.Errorf("%+v, want %+v; extra %d, broken %v, %+v", got, want, l.Extra, l.Broken, l.Outcomes)
	}
	for _, o := range l.Outcomes {
		if o.State != OK {
			t.Errorf("%s: %s %s %v", o.Situation, o.State, o.Why, o.Examples)
		}
	}
}

// Whatever is made wrong in a row is found, as what it is, and nothing else is.
func TestCheckFindsEveryFault(t *testing.T) {
	type want struct {
		count Count // the difference from what is right
		extra int
		says  string
	}
	edit := func(at int, f func(*Row)) func([]Row) []Row {
		return func(rows []Row) []Row { f(&rows[at]); return rows }
	}
	wrongEnd := Count{Attributed: -1, Wrong: 1}
	for name, c := range map[string]struct {
		mutate func([]Row) []Row
		want   want
	}{
		"a client of another process":        {edit(3, func(r *Row) { r.Ends[Client].PID++ }), want{wrongEnd, 0, "client is process 100, not 101"}},
		"a server of another process":        {edit(3, func(r *Row) { r.Ends[Server].PID = 100 }), want{wrongEnd, 0, "server is process 200, not 100"}},
		"the PID of an earlier process":      {edit(3, func(r *Row) { r.Ends[Client].Start -= 4 * tick }), want{wrongEnd, 0, "started"}},
		"no owner":                           {edit(3, func(r *Row) { r.Ends[Client] = RowEnd{Addr: r.Ends[Client].Addr, NetNS: nsClient} }), want{Count{Attributed: -1}, 0, "no owner of the client"}},
		"another container":                  {edit(3, func(r *Row) { r.Ends[Server].Container = cid }), want{wrongEnd, 0, "in container"}},
		"no container":                       {edit(3, func(r *Row) { r.Ends[Server].Container = "" }), want{wrongEnd, 0, "in container"}},
		"another namespace":                  {edit(3, func(r *Row) { r.Ends[Server].NetNS = 99 }), want{wrongEnd, 0, "in network namespace 12, not 99"}},
		"who accepted instead of who serves": {edit(11, func(r *Row) { r.Ends[Server].PID, r.Ends[Server].Start, r.Ends[Server].Creator = 200, 6e9, 0 }), want{wrongEnd, 0, "server is process 201, not 200"}},
		"who accepted is missing":            {edit(11, func(r *Row) { r.Ends[Server].Creator = 0 }), want{wrongEnd, 0, "was opened by process 200, not 0"}},
		"one octet too many":                 {edit(3, func(r *Row) { r.Octets[Server]++ }), want{Count{Off: 1}, 0, "103 octets to the server, not 104"}},
		"one octet too few":                  {edit(12, func(r *Row) { r.Octets[Client]-- }), want{Count{Off: 1}, 0, "8 octets to the client, not 7"}},
		"the translation missing":            {edit(12, func(r *Row) { r.Ends[Server].NAT = netip.AddrPort{} }), want{Count{Wrong: 1}, 0, "seen as 10.0.0.9:8080"}},
		"a translation that was none":        {edit(3, func(r *Row) { r.Ends[Client].NAT = at("10.9.9.9", 1) }), want{Count{Wrong: 1}, 0, "the row says"}},
		"a refusal that was none":            {edit(3, func(r *Row) { r.Cause = "refused" }), want{Count{Wrong: 1}, 0, `ended with "refused"`}},
		"a refusal told as success":          {edit(10, func(r *Row) { r.Cause = "normal" }), want{Count{Wrong: 1}, 0, `ended with "normal"`}},
		"a row missing": {func(rows []Row) []Row { return slices.Delete(rows, 11, 12) },
			want{Count{Seen: -1, Attributed: -2, Off: 15}, 0, "no row"}},
		"a row twice": {func(rows []Row) []Row { return append(rows, rows[3]) }, want{Count{}, 1, "row tcp both"}},
		"a row of no one": {func(rows []Row) []Row {
			r := rows[3]
			r.Ends[Client].Addr = at("10.0.0.1", 50000)
			return append(rows, r)
		}, want{Count{}, 1, "50000"}},
		"one row for two connections": {func(rows []Row) []Row {
			rows[3].Octets[Server] += rows[4].Octets[Server]
			rows[3].Octets[Client] += rows[4].Octets[Client]
			return slices.Delete(rows, 4, 5)
		}, want{Count{Seen: -1, Attributed: -2, Off: 2 * 1104}, 0, "no row"}},
		"client and server the wrong way round": {edit(11, func(r *Row) { r.Ends[0], r.Ends[1] = r.Ends[1], r.Ends[0] }),
			want{Count{Seen: -1, Attributed: -2, Off: 15}, 1, "no row"}},
		"the server on another port": {edit(11, func(r *Row) { r.Ends[Server].Addr = at("10.0.0.2", 83) }),
			want{Count{Seen: -1, Attributed: -2, Off: 15}, 1, "no row"}},
	} {
		t.Run(name, func(t *testing.T) {
			truths, rows := happened()
			right := check(testMix, truths, slices.Clone(rows), inTest).Total()
			l := check(testMix, truths, c.mutate(rows), inTest)
			right.add(c.want.count)
			if got := l.Total(); got != right || l.Extra != c.want.extra || l.OK() {
				t.Errorf("%+v and %d extra, want %+v and %d; ok %v", got, l.Extra, right, c.want.extra, l.OK())
			}
			said := fmt.Sprint(l.ExtraOf)
			failed := l.Extra
			for _, o := range l.Outcomes {
				said += fmt.Sprint(o.Why, o.Examples)
				if o.State == Failed {
					failed++
				}
			}
			if !strings.Contains(said, c.want.says) || failed == 0 {
				t.Errorf("%d failures, and no word of %q: %s", failed, c.want.says, said)
			}
		})
	}
}

// Two networks with the same addresses: a row is compared with the connection of
// its own namespace, and a mix-up is found.
func TestCheckSameTupleInTwoNamespaces(t *testing.T) {
	truths, rows := happened()
	truths, rows = truths[:2], rows[:1]
	for i := range 2 {
		other := truths[i]
		other.ID, other.NetNS, other.User.PID, other.Start = 99, other.NetNS+100, other.User.PID+100, other.Start+1
		truths = append(truths, other)
	}
	r := rows[0]
	for end := range r.Ends {
		r.Ends[end].NetNS += 100
		r.Ends[end].PID += 100
	}
	everybody := func(*Row) bool { return true }
	if c := check(testMix, truths, []Row{r, rows[0]}, everybody).Total(); c.Attributed != 4 || c.Wrong != 0 {
		t.Errorf("%+v", c)
	}
	r.Ends[Client], rows[0].Ends[Client] = rows[0].Ends[Client], r.Ends[Client]
	if c := check(testMix, truths, []Row{r, rows[0]}, everybody).Total(); c.Attributed != 2 || c.Wrong != 2 {
		t.Errorf("mixed up: %+v", c)
	}
}

// What the workload could not do is told, counted nowhere else, and proves nothing.
func TestCheckOfABrokenWorkload(t *testing.T) {
	truths, rows := happened()
	truths[0].Err, truths[0].Received = "i/o timeout", 3
	l := check(testMix, truths, rows, inTest)
	if c := l.Total(); c.Off != 0 || c.Seen != c.Made || len(l.Broken) != 1 || l.OK() {
		t.Errorf("%+v, broken %v", c, l.Broken)
	}
	_, rows = happened()
	truths, _ = happened()
	l = check(testMix, slices.Delete(truths, 1, 2), rows, inTest) // a server that never told
	if len(l.Broken) != 1 || l.OK() {
		t.Errorf("ok %v, broken %v", l.OK(), l.Broken)
	}
}

func TestAccounted(t *testing.T) {
	truths, rows := happened()
	l := check(testMix, truths, rows[2:], inTest)
	if l.Accounted() {
		t.Error("two rows are missing and nobody says that they were lost")
	}
	if l.Lost = []Loss{{"kernel", "lost", 1}, {"kernel", "lost_ring_full", 1}}; l.Accounted() {
		t.Error("a reason is not another loss")
	}
	if l.Lost = []Loss{{"kernel", "lost", 1}, {"sink", "log_suppressed", 1}}; !l.Accounted() || l.OK() {
		t.Error("two lost rows explain two missing ones, and are not all right")
	}
}
