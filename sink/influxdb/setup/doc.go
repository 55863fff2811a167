// Package setup brings an InfluxDB server into the state in which Weir wants to
// find it: databases or buckets with retention, the mapping that lets InfluxQL
// read buckets, a token or user that may only write, downsampling, checks.
//
// It reads what is there, compares that with what is wanted (Plan), and does
// the difference (Plan.Apply). An object of ours says so in its description (on
// 1.x, which has none, in its name) with the version and a hash of its
// definition: a changed definition is put in place of an older one, the same one
// is left alone, edited by hand or not, and what does not say it is ours is
// never touched. A retention is only changed when it was asked for.
package setup
