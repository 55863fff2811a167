package explain

import (
	"net/netip"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/decode"
)

// Row is one row of flow_log; its time is the end of the connection, or of a
// heartbeat's interval.
type Row struct{ decode.Row }

// logPrefix begins the lines of flow_log, which always has tags.
var logPrefix = []byte(sink.MeasurementFlowLog + ",")

// ParseRow reads one line.
func ParseRow(line []byte) (*Row, error) {
	r, err := decode.Parse(line)
	if err != nil {
		return nil, err
	}
	return &Row{*r}, nil
}

// start is when the connection began.
func (r *Row) start() int64 { return min(r.Int(sink.LogStart), r.Time) }

// open says whether the connection lived on after this row.
func (r *Row) open() bool { return r.Tags[sink.TagEndReason] == "active" }

// addr is an end's address and port; nat as the other side sees them, where NAT
// changed them.
func (r *Row) addr(end int) (own, nat netip.AddrPort) {
	return addrPort(r.Text(sink.LogAddress[end]), r.Int(sink.LogPort[end])),
		addrPort(r.Text(sink.LogNATAddress[end]), r.Int(sink.LogNATPort[end]))
}

func addrPort(addr string, port int64) netip.AddrPort {
	a, err := netip.ParseAddr(addr)
	if err != nil || port < 0 || port > 65535 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(port))
}
