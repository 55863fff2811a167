package dashboards

import (
	"time"

	"github.com/weir-probe/weir/sink"
)

// expiresSoon is how long before its end a certificate is told of, in seconds: what
// renews itself has done so by then.
const expiresSoon = 7 * 86400

// checksOfCertificates look at what servers show in their handshakes.
func checksOfCertificates() []check {
	return []check{{
		uid: "weir-certificate", title: "A certificate expires", severity: warning,
		summary:     `{{ .Labels.server }} on {{ .Labels.host }}: its certificate for {{ or .Labels.server_name "any name" }} expires within a week, or has expired`,
		description: "Of a handshake of TLS 1.2 or older within the last hour; those of TLS 1.3 are encrypted. The TLS dashboard has the day.",
		query: stmt{fields: []string{as("min("+ident(sink.FieldCertificateLeft)+")", "left")}, from: sink.MeasurementL7,
			by: idents(sink.TagHost, serverTag, sink.TagServerName)}.String(),
		reach: time.Hour, below: true, limit: expiresSoon, absent: "OK",
	}}
}
