// Package capture is where frames come from in user space: a Source delivers
// them in batches from an AF_PACKET ring (Live) or from a capture file (File),
// and Metered runs a Source through the decoder and the flow meter, so that it
// can stand in for the in-kernel meter (capture/tcx).
//
// What a Source cannot deliver it counts: SourceStats. What Metered could not
// make a flow of (not IP, malformed, cut short) it counts too: MeteredStats.
package capture
