package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// transformation is what Grafana does to the answers before it shows them: what
// InfluxQL has no words for.
type transformation = dashboard.DataTransformerConfig

func sorted(by string) transformation {
	return transformation{Id: "sortBy", Options: map[string]any{"sort": []map[string]any{{"field": by, "desc": true}}}}
}

func limited(rows int) transformation {
	return transformation{Id: "limit", Options: map[string]any{"limitField": rows}}
}

// ordered puts columns first, in their order.
func ordered(columns ...string) transformation {
	index := map[string]any{}
	for i, c := range columns {
		index[c] = i
	}
	return transformation{Id: "organize", Options: map[string]any{"indexByName": index}}
}

// added is a new column, the sum of others; one that is absent counts nothing.
func added(name string, columns ...string) transformation {
	return transformation{Id: "calculateField", Options: map[string]any{
		"mode": "reduceRow", "alias": name,
		"reduce": map[string]any{"reducer": "sum", "include": columns},
	}}
}

// merged joins the rows of all queries that agree in the columns they share.
func merged() transformation { return transformation{Id: "merge", Options: map[string]any{}} }

// numbered is a new column with the number of the row.
func numbered(name string) transformation {
	return transformation{Id: "calculateField", Options: map[string]any{
		"mode": "index", "alias": name, "index": map[string]any{"asPercentile": false},
	}}
}

// grouped adds columns up per value of others.
func grouped(by []string, sums ...string) transformation {
	fields := map[string]any{}
	for _, n := range by {
		fields[n] = map[string]any{"operation": "groupby", "aggregations": []string{}}
	}
	for _, n := range sums {
		fields[n] = map[string]any{"operation": "aggregate", "aggregations": []string{"sum"}}
	}
	return transformation{Id: "groupBy", Options: map[string]any{"fields": fields}}
}

// newest keeps one row per values of some columns, out of rows of which the newest
// come first; what that one lacks is taken of an older one.
func newest(of []string, columns ...string) transformation {
	fields := map[string]any{}
	for _, n := range of {
		fields[n] = map[string]any{"operation": "groupby", "aggregations": []string{}}
	}
	for _, n := range columns {
		fields[n] = map[string]any{"operation": "aggregate", "aggregations": []string{newestOf}}
	}
	return transformation{Id: "groupBy", Options: map[string]any{"fields": fields}}
}

// newestOf is the reducer of newest; the columns are then called NAME (newestOf).
const newestOf = "firstNotNull"

// renamed gives columns of newest their names back.
func renamed(columns ...string) transformation {
	names := map[string]any{}
	for _, n := range columns {
		names[n+" ("+newestOf+")"] = n
	}
	return transformation{Id: "organize", Options: map[string]any{"renameByName": names}}
}

// only keeps the rows with a value in a column, above those with more than one.
func only(column, value string) transformation      { return where(column, "equal", value) }
func above(column string, x float64) transformation { return where(column, "greater", x) }

func where(column, comparison string, value any) transformation {
	return transformation{Id: "filterByValue", Options: map[string]any{
		"type": "include", "match": "all",
		"filters": []map[string]any{{"fieldName": column, "config": map[string]any{"id": comparison, "options": map[string]any{"value": value}}}},
	}}
}

// turned makes a row of each column: its name (Field) and what its values come to.
func turned(reducer string) transformation {
	return transformation{Id: "reduce", Options: map[string]any{
		"mode": "seriesToRows", "reducers": []string{reducer}, "includeTimeField": false,
	}}
}

// onlyOf narrows a transformation to the answers of some queries.
func onlyOf(refs string, t transformation) transformation {
	t.Filter = &dashboard.MatcherConfig{Id: "byRefId", Options: refs}
	return t
}
