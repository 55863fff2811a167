// Package selftest runs `weir selftest` as its user does: alone, and through
// each real InfluxDB.
package selftest
