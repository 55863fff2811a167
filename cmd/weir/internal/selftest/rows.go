package selftest

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/weir-probe/weir/sink"
	"github.com/weir-probe/weir/sink/decode"
)

// Row is what a row of flow_log says that can be compared.
type Row struct {
	Proto, Reporter, Cause string
	Ends                   [2]RowEnd // by Role
	Start                  int64
	Octets                 [2]int64 // payload, by the Role that receives
	Final                  bool
}

// RowEnd is one end of a row. What the row does not say is zero.
type RowEnd struct {
	Addr, NAT  netip.AddrPort
	PID, Start int64
	Creator    int64
	NetNS      uint32
	Container  string
	Method     string
}

// newRow reads tags and fields of flow_log, from wherever they come.
func newRow(str func(string) string, num func(string) int64) Row {
	r := Row{
		Proto: str(sink.TagProto), Reporter: str(sink.TagReporter), Cause: str(sink.LogCloseCause), Start: num(sink.LogStart),
		Final: str(sink.TagEndReason) != "active",
	}
	r.Octets[Server], r.Octets[Client] = num(sink.FieldToServerBytes), num(sink.FieldToClientBytes)
	for end := range r.Ends {
		e := &r.Ends[end]
		e.Addr = rowAddr(str(sink.LogAddress[end]), num(sink.LogPort[end]))
		e.NAT = rowAddr(str(sink.LogNATAddress[end]), num(sink.LogNATPort[end]))
		e.PID, e.Start, e.Creator = num(sink.LogPID[end]), num(sink.LogProcessStart[end]), num(sink.LogCreatorPID[end])
		e.NetNS, e.Container, e.Method = uint32(num(sink.LogNetNS[end])), str(sink.LogContainerID[end]), str(sink.LogMethod[end])
	}
	return r
}

func rowAddr(addr string, port int64) netip.AddrPort {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Unmap().WithZone(""), uint16(port))
}

// Loss is what the probe says about its own losses.
type Loss struct {
	Stage string `json:"stage"`
	What  string `json:"what"` // field of weir_self
	Count int64  `json:"count"`
}

// lossFields are the fields of weir_self that count something given up; the
// first few count what can be missing as a row, the others say why.
var lossFields = []sink.SelfInt{
	sink.SelfLost, sink.SelfLogSuppressed, sink.SelfDroppedRows, sink.SelfOverflow, sink.SelfOverflowPackets,
	sink.SelfLostRingFull, sink.SelfLostMapFull, sink.SelfLostDecode, sink.SelfLostTableFull, sink.SelfLostQueueFull,
	sink.SelfNoStorage, sink.SelfNoContext, sink.SelfUnparsed, sink.SelfTruncated, sink.SelfProgramMisses,
	sink.SelfAmbiguous, sink.SelfBuried,
}

const rowLosses = 5

// lostRows is how many rows the losses can explain.
func lostRows(all []Loss) (n int64) {
	for _, l := range all {
		if slices.Contains(lossFields[:rowLosses], sink.SelfInt(l.What)) {
			n += l.Count
		}
	}
	return n
}

// Found is what came out of the pipeline.
type Found struct {
	Rows []Row
	Wire int64 // octets of all packets, by the rows of flow
	lost map[Loss]int64
}

// Measurements are those that a Found is made of.
var Measurements = []string{sink.MeasurementFlowLog, sink.MeasurementFlow, sink.MeasurementSelf}

// Add takes one row, tags and fields under their names, from wherever it comes.
// What a row does not have is "" or 0.
func (f *Found) Add(measurement string, str func(string) string, num func(string) int64) {
	switch measurement {
	case sink.MeasurementFlowLog:
		f.Rows = append(f.Rows, newRow(str, num))
	case sink.MeasurementFlow:
		f.Wire += num(sink.FieldToServerWireBytes) + num(sink.FieldToClientWireBytes)
	case sink.MeasurementSelf:
		if f.lost == nil {
			f.lost = map[Loss]int64{}
		}
		for _, name := range lossFields {
			if n := num(string(name)); n != 0 {
				f.lost[Loss{Stage: str(sink.TagStage), What: string(name)}] += n
			}
		}
	}
}

// Lost is what the probe says it lost, stage by stage.
func (f *Found) Lost() (all []Loss) {
	for l, n := range f.lost {
		all = append(all, Loss{l.Stage, l.What, n})
	}
	slices.SortFunc(all, func(a, b Loss) int { return cmp.Or(cmp.Compare(a.Stage, b.Stage), cmp.Compare(a.What, b.What)) })
	return all
}

// readRows reads what the probe has written to a file.
func readRows(path string) (*Found, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the probe's rows: %w", err)
	}
	defer f.Close()
	found := &Found{}
	err = decode.Read(f, func(r *decode.Row) error {
		found.Add(r.Measurement, func(k string) string {
			if v, ok := r.Tags[k]; ok {
				return v
			}
			s, _ := r.Fields[k].(string)
			return s
		}, func(k string) int64 { n, _ := r.Fields[k].(int64); return n })
		return nil
	}, Measurements...)
	return found, err
}
