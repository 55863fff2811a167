// Package anomaly learns what is usual between the services of a host, and tells
// what is not: a Detector is fed with the correlate.Records of every interval and
// returns the anomalies that began or ended in it. It has no goroutine, no clock and
// does no I/O (but for the functions of file.go, which its caller runs wherever it
// may wait); what it keeps is bounded and can be written to a file and read back.
//
// What is learnt is a graph of edges (client, server, server port, protocol), and for
// each edge what each minute of an hour of the day looks like: median, MAD, most and
// least, forgotten over days.
package anomaly
