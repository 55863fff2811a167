package explain

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/weir-probe/weir/sink"
)

// Explanation is the evidence for one connection.
type Explanation struct {
	Host    string   `json:"host"`
	Proto   string   `json:"proto"`
	Client  End      `json:"client"`
	Server  End      `json:"server"`
	Start   int64    `json:"start"` // unix ns
	Seen    int64    `json:"seen"`  // unix ns: its end, or the newest that is known of it
	Open    bool     `json:"open"`
	Outcome string   `json:"outcome"`
	Joined  string   `json:"joined"`
	Packets string   `json:"packets"`
	NAT     string   `json:"nat,omitempty"`
	Rivals  []string `json:"rivals,omitempty"`
	Row     *Row     `json:"row"`
}

// End is one end of it.
type End struct {
	Name       string `json:"name"`
	Address    string `json:"address"`
	NAT        string `json:"nat_address,omitempty"`
	Owner      string `json:"owner"`
	Confidence string `json:"confidence"`
	Steps      []Step `json:"steps"` // in the order of time, those without one last
}

// Step is one piece of evidence.
type Step struct {
	Time   int64  `json:"time,omitempty"` // unix ns, 0 for what has no time of its own
	Source string `json:"source"`         // the hook, or what else tells
	Text   string `json:"text"`
}

// Explain tells what c's rows hold; rivals are other connections of the log with
// the same tuple.
func Explain(c *Connection, rivals []*Connection) *Explanation {
	r := c.Last()
	x := &Explanation{
		Host: r.Tags[sink.TagHost], Proto: r.Tags[sink.TagProto], Start: r.start(), Seen: r.Time, Open: r.open(),
		Outcome: outcome(r), Joined: joined(r), Packets: packets(r), NAT: translation(r), Row: r,
	}
	x.Client, x.Server = explainEnd(r, sink.ClientEnd), explainEnd(r, sink.ServerEnd)
	x.Rivals = rivalry(r, rivals)
	return x
}

func outcome(r *Row) string {
	if r.open() {
		return "open"
	}
	if c := r.Text(sink.LogCloseCause); c != "" {
		return c
	}
	return cmp.Or(r.Tags[sink.TagEndReason], "unknown")
}

func joined(r *Row) string {
	switch r.Text(sink.LogJoinedBy) {
	case "sequence":
		return "joined by their initial sequence numbers, which both sockets know"
	case "nat":
		return "joined by the translated tuple"
	case "tuple":
		return "joined by address and port: each has the other's"
	}
	if r.Int(sink.LogCookie[sink.ClientEnd]) == 0 && r.Int(sink.LogCookie[sink.ServerEnd]) == 0 {
		return "neither has a socket that is known here"
	}
	return "one socket is known, the other end is elsewhere or has none"
}

func packets(r *Row) string {
	if r.Int(sink.LogRedirected) == 1 {
		return matched(r) + "; a BPF program passed payload from socket to socket besides (sockmap), in no packet"
	}
	return matched(r)
}

// matched says how packets and sockets found each other.
func matched(r *Row) string {
	if !r.Has(sink.FieldToServerPackets) {
		return "none seen: counts are the sockets' own"
	}
	switch r.Text(sink.LogPacketsBy) {
	case "cookie":
		return "found the socket by its cookie"
	case "tuple":
		return "found the socket by its tuple: no other had it then"
	case "nat":
		return "found the socket by its tuple after translation"
	}
	if r.Int(sink.LogRivals[4]) > 0 {
		return "given to no socket: several had this tuple"
	}
	return "no socket found for them"
}

func translation(r *Row) string {
	var parts []string
	for end, who := range []string{"client", "server"} {
		if own, nat := r.addr(end); nat.IsValid() {
			parts = append(parts, fmt.Sprintf("the %s %s is %s to the other side", who, show(own), show(nat)))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	text := strings.Join(parts, ", ")
	switch r.Text(sink.LogNATSource) {
	case "conntrack":
		text += "; told by the packets' conntrack entry"
	case "sockets":
		text += "; told by the two sockets, which call each other differently"
	}
	return text
}

// rivalCauses is indexed like sink.LogRivals.
var rivalCauses = [...]string{
	"over before this one began", "begun after this one", "in another network namespace",
	"another socket at the same time: cookie and sequence numbers tell them apart",
	"at the same time with nothing to tell them apart: packets were given to neither",
}

func rivalry(r *Row, others []*Connection) []string {
	var out []string
	for i, cause := range rivalCauses {
		if n := r.Int(sink.LogRivals[i]); n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, cause))
		}
	}
	if len(out) == 0 {
		if (side{r: r, end: sink.ClientEnd}).old() || (side{r: r, end: sink.ServerEnd}).old() {
			return []string{"not known"}
		}
		return nil
	}
	for _, o := range others {
		out = append(out, "in the log: "+summary(o))
	}
	return out
}
