// Package requests turns the payload that sockets and packets show into what the
// rows say of requests: how many, how they ended, how long they took. A Tracker
// keeps a conversation per TCP socket, per peer of a datagram socket, or per flow of
// a capture file, and adds to each correlate.Record what its conversation told.
package requests
