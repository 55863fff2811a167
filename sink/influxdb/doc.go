// Package influxdb writes rows to InfluxDB 1.8+, 2.x and 3 through the v2 write
// endpoint, /api/v2/write, that all of them have.
//
// It stands on influxdb-client-go's HTTP service and sends each batch in one
// blocking request. It never uses that module's asynchronous writer, which drops
// batches after 10 s of outage and takes "partial write" for success; and it
// reads the answers itself rather than through WriteAPIBlocking, which is sound
// on that point (its path does not come by isIgnorableError) but loses the body
// of JSON answers that it has no field for (1.x, InfluxDB 3), takes any 2xx, the
// login page of a proxy included, for success, and follows redirects with a GET
// that carries no rows. Batching, retry and durability are sink.Deliverer's and
// the journal's.
package influxdb
