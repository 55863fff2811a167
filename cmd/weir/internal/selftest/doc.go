// Package selftest makes traffic whose truth it knows, in network namespaces of
// its own, lets a real `weir run` look at it, and compares what came out with
// what happened.
//
// The bed is a host of its own: a namespace with a bridge, NAT and the probe, and
// namespaces around it in which workers (this program again, see Work) talk to
// each other. Each worker writes down what it did (Truth): its process, tuple,
// octets and times. The checker pairs both ends of a connection by a number that
// its client sent as its first octets, finds the rows by tuple, namespace and
// time, and only then looks at what they say.
package selftest
