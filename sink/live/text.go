package live

import (
	"strconv"
	"strings"
	"unicode"
)

// fit makes s safe for a terminal and pads or cuts it to exactly width cells.
// A name can hold anything a process calls itself: what could move the cursor,
// change colours or reorder the line is replaced.
func fit(s string, width int) string {
	var b strings.Builder
	cells := 0
	for _, r := range s {
		r = harmless(r)
		w := cellsOf(r)
		if cells+w > width {
			return cutOff(b.String(), cells, width)
		}
		b.WriteRune(r)
		cells += w
	}
	return b.String() + strings.Repeat(" ", width-cells)
}

// cutOff marks that something is missing.
func cutOff(s string, cells, width int) string {
	if width <= 0 {
		return ""
	}
	for cells > width-1 {
		rs := []rune(s)
		cells -= cellsOf(rs[len(rs)-1])
		s = string(rs[:len(rs)-1])
	}
	return s + "…" + strings.Repeat(" ", width-1-cells)
}

// Safe makes s safe for a terminal, whatever a process calls itself.
func Safe(s string) string { return strings.Map(harmless, s) }

// harmless replaces what is not one visible character: controls, escape,
// bidirectional and zero-width formatting, combining marks, private use.
func harmless(r rune) rune {
	if r == ' ' || unicode.IsGraphic(r) && !unicode.In(r, unicode.Mn, unicode.Me, unicode.Mc, unicode.Zs) {
		return r
	}
	return '?'
}

// cellsOf is the width of a character in a terminal: 2 for the East Asian wide
// and emoji blocks, else 1.
func cellsOf(r rune) int {
	switch {
	case r < 0x1100:
		return 1
	case r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff,
		r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6,
		r >= 0x1f300 && r <= 0x1faff, r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

// human writes a quantity in at most 5 cells: 0, 999, 1.5K, 150M.
func human(v float64) string {
	if v < 0.05 {
		return "0"
	}
	if v < 9.95 {
		return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
	}
	unit := 0
	for v >= 999.5 && unit < len(units)-1 {
		v /= 1000
		unit++
	}
	prec := 0
	if unit > 0 && v < 9.95 {
		prec = 1
	}
	return strconv.FormatFloat(v, 'f', prec, 64) + units[unit]
}

var units = [...]string{"", "K", "M", "G", "T", "P", "E"}

// duration writes seconds in at most 6 cells.
func duration(s float64) string {
	switch {
	case s <= 0:
		return "-"
	case s < 0.9995e-3:
		return strconv.FormatFloat(s*1e6, 'f', 0, 64) + "us"
	case s < 0.9995:
		return strconv.FormatFloat(s*1e3, 'g', 3, 64) + "ms"
	}
	return strconv.FormatFloat(s, 'f', 1, 64) + "s"
}
