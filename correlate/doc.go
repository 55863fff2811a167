// Package correlate joins the two views of the same traffic: flow records from
// packets and socket events from the kernel become one Record per connection
// that says who is behind each end and how that is known.
package correlate
