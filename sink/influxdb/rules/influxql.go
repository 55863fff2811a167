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
// condition says. Each field is asked for by itself: in one SELECT a sum with a field that
// is in no row would be nothing.
func (r *Rule) InfluxQL(times string) string {
	where := times
	if c := r.Condition(); c != "" {
		where += " AND " + c
	}
	by := " GROUP BY " + idents(r.By)
	of := func(field, as string) string {
		return fmt.Sprintf("SELECT %s(%s) AS %s FROM %s WHERE %s%s", r.Of, ident(field), ident(as), ident(r.From), where, by)
	}
	if !r.Share() && len(r.Top) == 1 {
		return of(r.Top[0], r.Field)
	}
	var parts []string
	for _, f := range r.Top {
		parts = append(parts, "("+of(f, "top")+")")
	}
	for _, f := range r.Bottom {
		parts = append(parts, "("+of(f, "bottom")+")")
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
