package dashboards

// Units and colours of cells.

// axes have the unit of the values where Chronograf can write it.
func axes(unit string) map[string]axis {
	y := axis{Base: "10", Scale: "linear"}
	switch unit {
	case "Bps":
		y.Suffix, y.Base = "B/s", "2"
	case "bytes", traffic:
		y.Suffix, y.Base = "B", "2"
	case "s":
		y.Suffix = " s"
	case "percentunit":
		y.Label = "of 1"
	case "pps", "cps", "reqps":
		y.Suffix = "/s"
	}
	plain := axis{Base: "10", Scale: "linear"}
	return map[string]axis{"x": plain, "y": y, "y2": plain}
}

func textColors() []color {
	return []color{{"base", "text", "#00C9FF", "laser", "-1000000000000000000"}}
}

func lineColors() []color {
	return []color{
		{"scale-0", "scale", "#31C0F6", "Nineteen Eighty Four", "0"},
		{"scale-1", "scale", "#A500A5", "Nineteen Eighty Four", "0"},
		{"scale-2", "scale", "#FF7E27", "Nineteen Eighty Four", "0"},
	}
}
