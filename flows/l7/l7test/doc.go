// Package l7test feeds parsers of application protocols in tests: a conversation
// written down as Pieces, or read from a pcap file, whole, cut at every octet,
// truncated, with holes; and compares what they tell with golden files.
//
//	streams := l7test.Pcap(t, "testdata/keepalive.pcap")
//	l7test.Golden(t, "testdata/keepalive.golden.jsonl", l7test.All(Spec, streams), update)
//	for _, s := range streams {
//		l7test.Properties(t, Spec, s)
//	}
//
// Package conversation is for scripts of TCP; this one is also for datagrams and
// tells every field of a Message.
package l7test
