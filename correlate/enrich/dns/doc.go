// Package dns knows what addresses elsewhere are called, by the DNS answers that
// the sockets of this host were given: per network namespace, for as long as the
// answer holds, and no more of them than fit.
package dns
