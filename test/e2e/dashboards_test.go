package e2e

// withoutData are the queries that may find nothing here, "page: panel", and what of
// it this run does not make. Elsewhere they have data: dashboards runs all queries
// on rows with every field. Absent means zero in the sparse rows, so that most pages
// of a run without failures find something.
var withoutData = map[string]string{}
