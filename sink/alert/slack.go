package alert

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/weir-probe/weir/sink"
)

// slack is an incoming webhook of Slack's: {"text": …} in mrkdwn. Mattermost and others
// take the same. What comes from the host stands in code spans, in which none of them
// finds mentions, links or formatting.
type slack struct{}

// shown is how many alerts a message has words for; of the others it has the number.
// maxText is the length, octets, from which on there is no other: Slack takes 40 000.
const (
	shown   = 20
	maxText = 30000
)

func (slack) endpoint(u *url.URL) *url.URL { return u }
func (slack) perMessage() int              { return maxKnown }
func (slack) refreshes() bool              { return false }

var signs = map[sink.Severity]string{sink.SeverityInfo: ":information_source:", sink.SeverityWarning: ":warning:", sink.SeverityError: ":red_circle:"}

func (slack) encode(m *message) ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*Weir on* %s", code(m.host, maxName))
	for i := range m.items {
		if i == shown || b.Len() > maxText {
			fmt.Fprintf(&b, "\n… and %d more", len(m.items)-i)
			break
		}
		b.WriteByte('\n')
		slackLine(&b, &m.items[i])
		if link := m.link(&m.items[i]); link != "" { // which is percent-encoded
			fmt.Fprintf(&b, " <%s|Grafana>", escape.Replace(link))
		}
	}
	if m.lost > 0 {
		fmt.Fprintf(&b, "\n_%d alerts could not be told since the start_", m.lost)
	}
	return encodeJSON(map[string]string{"text": b.String()})
}

func slackLine(b *strings.Builder, it *item) {
	sign := signs[it.Severity]
	if it.Resolved {
		sign = ":white_check_mark: resolved:"
	}
	fmt.Fprintf(b, "%s *%s*", sign, it.Type)
	if about := it.about(); about != "" {
		b.WriteString(" " + code(about, 2*maxName))
	}
	if it.Message != "" {
		b.WriteString(" " + code(it.Message, 500))
	}
	if it.Evidence != "" {
		b.WriteString(" " + code(it.Evidence, 500))
	}
	for i, end := range [...]string{"client", "server"} {
		if who := it.Actors[i]; who != (sink.Actor{}) {
			fmt.Fprintf(b, " %s %s", end, code(inWords(&who), 500))
		}
	}
	fmt.Fprintf(b, " since %s", it.began.UTC().Format(time.RFC3339))
	if it.Resolved {
		fmt.Fprintf(b, ", for %s", it.changed.Sub(it.began).Round(time.Second))
	}
	if it.once() && it.count > 1 {
		fmt.Fprintf(b, ", %d times", it.count)
	}
}

// inWords names who did it: nginx (pid 7, user www, in shop-web-1): nginx -g …
func inWords(a *sink.Actor) string {
	var of []string
	if a.PID != 0 {
		of = append(of, fmt.Sprintf("pid %d", a.PID))
	}
	if a.User != "" {
		of = append(of, "user "+a.User)
	}
	if a.Container != "" {
		of = append(of, "in "+a.Container)
	}
	s := a.Process
	if len(of) > 0 {
		s += " (" + strings.Join(of, ", ") + ")"
	}
	if a.Cmdline != "" {
		s += ": " + a.Cmdline
	}
	return strings.TrimSpace(s)
}

// code is a code span of s, escaped as Slack wants it.
func code(s string, limit int) string {
	s = clean(s, limit)
	if s == "" {
		return ""
	}
	return "`" + escape.Replace(strings.ReplaceAll(s, "`", "ʹ")) + "`"
}

// escape is what Slack wants of everything that is no formatting.
var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
