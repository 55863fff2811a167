package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/weir-probe/weir/sink"
)

// ipv6 says whether an end's address is IPv6, which has hooks of its own.
func (r *Row) ipv6(end int) bool {
	own, _ := r.addr(end)
	return own.Addr().Is6()
}

// side is what the steps of one end are made of.
type side struct {
	r   *Row
	end int
	tcp bool
}

func (s side) text(names [2]string) string { return s.r.Text(names[s.end]) }
func (s side) num(names [2]string) int64   { return s.r.Int(names[s.end]) }

// hook is where an owner event comes from.
func (s side) hook(event string) string {
	v := "4"
	if s.r.ipv6(s.end) {
		v = "6"
	}
	switch event {
	case "bootstrap":
		return "iter/task_file"
	case "listener":
		return "tp_btf/inet_sock_set_state"
	case "create":
		return "cgroup/sock_create"
	case "connect":
		if s.tcp {
			return "tp_btf/inet_sock_set_state"
		}
		return "cgroup/connect" + v
	case "accept":
		return "cgroup/getpeername" + v
	case "read":
		return "tp_btf/tcp_rcv_space_adjust"
	case "sent":
		return "tp_btf/sock_send_length"
	case "received":
		return "tp_btf/sock_recv_length"
	case "sendmsg", "recvmsg":
		return "cgroup/" + event + v
	}
	return event
}

// owner names the process of an end.
func (s side) owner() string { return process(s.text(sink.LogProcess), s.num(sink.LogPID)) }

func (s side) creator() string {
	if pid := s.num(sink.LogCreatorPID); pid != 0 {
		return process(s.text(sink.LogCreatorProcess), pid)
	}
	return s.owner()
}

func process(name string, pid int64) string {
	if pid == 0 {
		return "a process not known"
	}
	return fmt.Sprintf("%s (pid %d)", cmp.Or(name, "?"), pid)
}

func explainEnd(r *Row, end int) End {
	s := side{r, end, r.Tags[sink.TagProto] == "tcp"}
	own, nat := r.addr(end)
	e := End{Name: cmp.Or(r.Tags[sink.TagName[end]], "?"), Address: show(own), Owner: s.who(), Confidence: s.confidence()}
	if nat.IsValid() {
		e.NAT = show(nat)
	}
	for _, steps := range [][]Step{s.opened(), s.accepted(), s.owned(), s.identity()} {
		e.Steps = append(e.Steps, steps...)
	}
	slices.SortStableFunc(e.Steps, func(a, b Step) int {
		if a.Time == 0 || b.Time == 0 {
			return cmp.Compare(min(b.Time, 1), min(a.Time, 1))
		}
		return cmp.Compare(a.Time, b.Time)
	})
	return e
}

func show(a netip.AddrPort) string {
	if !a.IsValid() {
		return "?"
	}
	return a.String()
}

// anyContainer is the display name of a container whose own is not known.
const anyContainer = "container"

// who says in a line who the end is.
func (s side) who() string {
	var b strings.Builder
	if s.num(sink.LogPID) != 0 {
		fmt.Fprintf(&b, "%s (pid %d", cmp.Or(s.text(sink.LogProcess), "?"), s.num(sink.LogPID))
		if t := s.num(sink.LogProcessStart); t != 0 {
			fmt.Fprintf(&b, ", started %s", stamp(t))
		}
		if u := s.text(sink.LogUser); u != "" {
			fmt.Fprintf(&b, ", user %s", u)
		}
		b.WriteByte(')')
	}
	if c := s.container(); c != "" {
		if b.Len() > 0 {
			b.WriteString(" in ")
		}
		b.WriteString("container " + c)
	}
	name := s.r.Tags[sink.TagName[s.end]]
	if b.Len() == 0 {
		return cmp.Or(name, "?") + ", no process known"
	}
	if name != "" && name != s.text(sink.LogProcess) && name != s.container() && name != anyContainer {
		b.WriteString(", shown as " + name)
	}
	return b.String()
}

func (s side) container() string {
	return cmp.Or(s.text(sink.LogContainer), short(s.text(sink.LogContainerID)))
}

func short(id string) string { return id[:min(len(id), 12)] }

// confidence grades the owner and says by what.
func (s side) confidence() string {
	switch m := s.text(sink.LogMethod); m {
	case "cookie":
		return fmt.Sprintf("exact, by socket cookie %d", s.num(sink.LogCookie))
	case "tuple":
		return "exact, packets by the tuple: one socket had it"
	case "nat":
		return "exact, packets by the translated tuple: one socket had it"
	case "listener":
		return "inferred, from the listener"
	case "bootstrap":
		return "inferred, from the list of descriptors at the probe's start"
	case "address":
		return "inferred, from the address alone"
	default:
		return "none"
	}
}

// opened says who opened the socket, where that is not all there is to say.
func (s side) opened() []Step {
	var out []Step
	if s.num(sink.LogBaseline) != 0 {
		out = append(out, Step{Source: "probe", Text: "the socket is older than the probe: its opening was not seen"})
	}
	event, at := s.text(sink.LogCreatorEvent), s.num(sink.LogCreatorTime)
	if event == "" && at != 0 {
		event = [...]string{sink.ClientEnd: "connect", sink.ServerEnd: "listener"}[s.end]
		if s.text(sink.LogOwnerEvent) == "bootstrap" {
			event = "bootstrap" // found in two processes, one after the other
		}
	}
	if event == "" {
		return out
	}
	at = cmp.Or(at, s.num(sink.LogOwnerTime))
	who := s.creator()
	switch event {
	case "listener":
		return append(out, Step{at, s.hook(event), "listening socket owned by " + who + "; this connection came out of it"})
	case "connect":
		return append(out, Step{at, s.hook(event), "connect() by " + who + ": the socket is opened"})
	case "create":
		return append(out, Step{at, s.hook(event), "socket() by " + who})
	case "bootstrap":
		return append(out, Step{at, s.hook(event), "found among the descriptors of " + who})
	}
	return append(out, Step{at, s.hook(event), "who opened it was not seen; " + who + " used it first"})
}

func (s side) accepted() []Step {
	at := s.num(sink.LogAcceptTime)
	if at == 0 || s.text(sink.LogOwnerEvent) == "accept" {
		return nil
	}
	who := s.owner()
	if pid := s.num(sink.LogAcceptPID); pid != 0 {
		who = "pid " + fmt.Sprint(pid)
		if pid == s.num(sink.LogCreatorPID) {
			who = s.creator()
		}
	}
	return []Step{{at, s.hook("accept"), "accept() by " + who}}
}

// owned says what named the owner.
func (s side) owned() []Step {
	event, at := s.text(sink.LogOwnerEvent), s.num(sink.LogOwnerTime)
	if event == "" {
		return s.withoutSocket()
	}
	var text string
	switch who := s.owner(); event {
	case "bootstrap":
		text = "the oldest process that holds the descriptor is " + who
	case "listener":
		text = "nobody has read, written or accepted with an address yet: presumed to stay with " + who
	case "create":
		text = "socket() by " + who
	case "connect":
		text = "connect() by " + who + ": the owner"
	case "accept":
		text = "accept() by " + who + ": the owner, no data read or written yet"
	case "read", "received", "recvmsg":
		text = "first data read by " + who + ": the owner"
	case "sent", "sendmsg":
		text = "first data written by " + who + ": the owner"
	default:
		text = "first data read or written by " + who + ": the owner"
	}
	out := []Step{{at, s.hook(event), text}}
	if n := s.num(sink.LogSwitches); n > 0 {
		out = append(out, Step{0, s.hook(event), fmt.Sprintf("before that other processes read and wrote: the user changed %d times, and the last one counts", n)})
	}
	return out
}

// withoutSocket says what stands in for a socket that was not seen.
func (s side) withoutSocket() []Step {
	switch s.text(sink.LogMethod) {
	case "address":
		if s.container() != "" {
			return []Step{{0, "container engine", "no socket seen; the address was this container's then"}}
		}
		return []Step{{0, "addresses of this host", "no socket seen; the address is this host's, who on it is not known"}}
	case "none", "":
		if s.num(sink.LogCookie) != 0 {
			return []Step{{0, "socket", "a socket of this host, whose owner no event told: the kernel's own, or the events were lost"}}
		}
		return []Step{{0, "packets", "no socket on this host, no container with this address: known by its address only"}}
	}
	if s.old() {
		return []Step{{0, "row", "written by a version of weir that did not record events"}}
	}
	return nil
}

// old says whether a socket's row lacks what every row of this version has.
func (s side) old() bool {
	switch s.text(sink.LogMethod) {
	case "none", "address", "":
		return false
	}
	return s.text(sink.LogOwnerEvent) == ""
}

// identity says where names come from.
func (s side) identity() []Step {
	var out []Step
	if s.num(sink.LogPID) != 0 {
		source, text := "tp_btf/sched_process_*", "name and arguments as the process was started"
		switch s.text(sink.LogProcessSource) {
		case "proc":
			source, text = "/proc", "name and arguments; no event told of the process"
		case "socket":
			source, text = "socket", "nothing but pid, user and the kernel's short name: the process was gone before /proc could be asked"
		}
		if c := s.text(sink.LogCmdline); c != "" {
			text += ": " + c
		}
		out = append(out, Step{0, source, text})
	}
	if now := s.text(sink.LogCurrentProcess); now != "" {
		text := "the process runs " + now + " by now, and goes on with the connection"
		if c := s.text(sink.LogCurrentCmdline); c != "" {
			text += ": " + c
		}
		out = append(out, Step{0, "tp_btf/sched_process_exec", text})
	}
	group, version := s.text(sink.LogCgroup), "v2"
	if s.num(sink.LogCgroupVersion) == 1 {
		version = "v1"
	}
	id := s.text(sink.LogContainerID)
	switch {
	case group != "" && id != "":
		out = append(out, Step{0, "cgroup " + version, group + " → container " + short(id)})
	case group != "":
		out = append(out, Step{0, "cgroup " + version, group + ": no container"})
	}
	if name := s.text(sink.LogContainer); name != "" && id != "" && name != id {
		text := short(id) + " is " + name
		if img := s.text(sink.LogImage); img != "" {
			text += ", image " + img
		}
		out = append(out, Step{0, "container engine", text})
	}
	return out
}
