package rules

import (
	"fmt"
	"strings"
)

// Condition is what rows have to be, in InfluxQL; "" for any.
func (r *Rule) Condition() string {
	all := make([]string, len(r.Where))
	for i, any := range r.Where {
		one := make([]string, len(any))
		for j, is := range any {
			operator := "="
			if is.Not {
				operator = "!="
			}
			one[j] = fmt.Sprintf("%s %s '%s'", ident(is.Tag), operator, is.Value)
		}
		all[i] = strings.Join(one, " OR ")
		if len(one) > 1 {
			all[i] = "(" + all[i] + ")"
		}
	}
	return strings.Join(all, " AND ")
}

// InfluxQL asks for the figure, one number for each value of By, of the times that a
// condition says. Fields that are added up are of a subquery each: in one SELECT a sum with
// a field that is in no row would be nothing. The first subquery has the column of the
// bottom, too, because it is the one by which the server knows what there is.
func (r *Rule) InfluxQL(times string) string {
	where := times
	if c := r.Condition(); c != "" {
		where += " AND " + c
	}
	by := " GROUP BY " + idents(r.By)
	from := func(columns ...string) string {
		return fmt.Sprintf("SELECT %s FROM %s WHERE %s%s", strings.Join(columns, ", "), ident(r.From), where, by)
	}
	if r.Of == Changes {
		// Also of what does not change there is a figure: in InfluxQL 0 / 0 is 0.
		steps := from(fmt.Sprintf(`difference(%s) AS "step"`, ident(r.Top[0])))
		return fmt.Sprintf(`SELECT sum("change") AS %s FROM (SELECT "step" / "step" AS "change" FROM (%s) WHERE %s%s) WHERE %s%s`, ident(r.Field), steps, times, by, times, by)
	}
	of := func(field, as string) string { return fmt.Sprintf("%s(%s) AS %s", r.Of, ident(field), ident(as)) }
	if !r.Share() {
		return from(of(r.Top[0], r.Field))
	}
	var parts []string
	for i := range max(len(r.Top), len(r.Bottom)) {
		var columns []string
		if i < len(r.Top) {
			columns = append(columns, of(r.Top[i], "top"))
		}
		if i < len(r.Bottom) {
			columns = append(columns, of(r.Bottom[i], "bottom"))
		}
		parts = append(parts, "("+from(columns...)+")")
	}
	sums := fmt.Sprintf(`SELECT sum("top") AS "top", sum("bottom") AS "bottom" FROM %s WHERE %s%s`, strings.Join(parts, ", "), times, by)
	return fmt.Sprintf(`SELECT "top" / "bottom" AS %s FROM (%s) WHERE %s AND "bottom" >= %.0f%s`, ident(r.Field), sums, times, r.AtLeast, by)
}

// ident quotes a name; those of the schema have nothing to be escaped in them.
func ident(s string) string { return `"` + s + `"` }

func idents(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = ident(s)
	}
	return strings.Join(quoted, ", ")
}
